"""Which columns and rows a model cannot work with, found by trying: one column at a time, in a row that works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.serve.columns import finding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from interlock.core.errors import Finding
    from interlock.serve.columns import Columns, Value

_MOST_TRIES: Final = 200
_MISSING: Final = "is missing, and this model does not work without"
_STRANGE: Final = "is one that the model cannot work with"


class Blame:
    """Tries values in the place of a good row's.

    Args:
        good: one row that the model answers, by column.
        probe: asks the model: the indices of rows without a sound answer, or None when the whole batch fails.
    """

    def __init__(self, good: Mapping[str, Value], probe: Callable[[Columns], list[int] | None]) -> None:
        self._good = good
        self._probe = probe
        self._left = _MOST_TRIES

    def find(self, columns: Columns) -> list[Finding]:
        """Return what is wrong with single values; nothing when no value alone is to blame.

        Args:
            columns: the rows that failed, one list a column, all of one length.

        Cost: one call of the model a column, and some for each bad value; at most 200.
        """
        found: list[Finding] = []
        for name, values in columns.items():
            distinct = list(dict.fromkeys(map(_key, values)))
            bad = self._bad(name, distinct)
            for missing, trouble, rule in ((True, _MISSING, "missing"), (False, _STRANGE, "value")):
                guilty = {value for value in bad if (value is None) is missing}
                rows = [row for row, value in enumerate(values) if _key(value) in guilty] if guilty else []
                if rows:
                    found.append(finding(rule, name, rows, trouble))
        return found

    def _bad(self, name: str, values: Sequence[Value]) -> list[Value]:
        """Return the values that fail in the good row; halves are tried apart where a batch fails as a whole."""
        if self._left <= 0 or not values:
            return []
        self._left -= 1
        batch: dict[str, Sequence[Value]] = {column: [value] * len(values) for column, value in self._good.items()}
        failed = self._probe({**batch, name: values})
        if failed is not None:
            return [values[i] for i in failed]
        if len(values) == 1:
            return [values[0]]
        half = len(values) // 2
        return self._bad(name, values[:half]) + self._bad(name, values[half:])


def _key(value: Value) -> Value:
    """Return a value as it is compared: NaN is a missing value."""
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124 - NaN is not itself

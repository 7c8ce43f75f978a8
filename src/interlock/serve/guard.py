"""What an answer says about itself: rows outside of what training saw, values nobody expected, one score for all.

A warning is a header and never a value of somebody's row: it names columns. Looking costs about a microsecond for one
row of 30 columns, and next to nothing for a model whose ranges were not recorded.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from interlock.core.errors import Finding, Invalid, Unavailable
from interlock.serve.model import Scores
from interlock.serve.prepared import FAR

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from interlock.core.bundles import Bundle, Range, Serving
    from interlock.serve.columns import Value
    from interlock.serve.model import LoadedModel
    from interlock.serve.prepared import Prepared

HEADER: Final = b"interlock-warning"
CONSTANT_ROWS: Final = 500
_EVERY: Final = 8  # rows of equal scores, one of which is looked at: telling rows apart costs half a microsecond
_MARGIN: Final = 0.5  # of the span between the lowest and the highest value that were seen
_FEW: Final = 8  # rows whose values are cheaper one by one
_SHOWN: Final = 10
_PLAIN: Final = "!#$&'()*+-./:;<=>?@[]^_`{|}~ "  # what a quoted string holds as it is; a comma parts the columns


class Warned(NamedTuple):
    """What is strange about the answers of one route.

    Attributes:
        outside: rows outside of what training saw, by column.
        unusual: values of a regression far from all that were seen.
        garbage: scores that are no probability.
        constant: whether the last rows, though different, all got this score.
    """

    outside: dict[str, int]
    unusual: int
    garbage: int
    constant: bool

    @property
    def kinds(self) -> list[str]:
        """The warnings, by the names that headers and metrics have for them."""
        given = (
            ("out-of-range", self.outside),
            ("unusual-output", self.unusual),
            ("garbage-output", self.garbage),
            ("constant-output", self.constant),
        )
        return [kind for kind, found in given if found]


class Guard:
    """Looks at what one route takes and gives; its answers may be looked at in any thread.

    Args:
        model: the model.
        serving: what becomes of what is strange.

    Attributes:
        constant: whether the last `CONSTANT_ROWS` rows or more all got the same score, although an eighth of them, or
            more, were each another.
        gives_garbage: whether scores that are no probabilities are given, with a warning.
    """

    def __init__(self, model: LoadedModel, serving: Serving) -> None:
        self._model = model
        self._bundle: Bundle = model.bundle
        self._block = serving.out_of_range == "block"
        self.gives_garbage = serving.garbage == "flag" and bool(model.bundle.classes)
        self.constant = False
        self._last = math.nan
        self._run = 0
        self._seen: set[int] = set()
        watched = serving.out_of_range != "ignore"
        ranges = model.bundle.ranges if watched else {}
        known = [(i, c.name, found) for i, c in enumerate(model.bundle.inputs) if (found := ranges.get(c.name))]
        self._bounds = [(i, name, *_bounds(found)) for i, name, found in known if found.lowest is not None]
        self._lows = [low for _, _, low, _ in self._bounds]
        self._highs = [high for _, _, _, high in self._bounds]
        self._all = len(self._bounds) == len(model.bundle.inputs)  # then no column has to be picked
        # Where training had rows without a text, "" is what became of them.
        self._texts = [
            (i, name, frozenset(found.categories) | ({""} if model.bundle.inputs[i].nulls else set()))
            for i, name, found in known
            if found.categories
        ]
        self._span = _span(model.bundle) if watched else None
        self._matrix = model.bundle.layout == "matrix"
        self._quiet = not (self._bounds or self._texts)

    def look(self, prepared: Prepared, found: Scores) -> Warned | None:
        """Return what is strange about some rows and their answers; None when nothing is.

        Raises:
            Invalid: rows are outside of what training saw, which this deployment does not answer.
            Unavailable: values are, which it does not give.
        """
        scores = found.scores
        if len(scores) == 1:
            score = scores[0]
            if score != self._last:
                self._last = score
                self._run = 1
                if self._seen:
                    self._begin()
            else:
                self._run = run = self._run + 1
                if not run % _EVERY:
                    self._add(_key(prepared) if self._matrix else _keys(prepared, (0,))[0])
            outside = None if self._quiet or self._inside(prepared) else self._outside(prepared)
        else:
            self._follow(prepared, scores)
            outside = None if self._quiet else self._outside(prepared)
        unusual = garbage = 0
        if self._span is not None:
            low, high = self._span
            unusual = sum(not low <= value <= high for value in scores)
        elif self.gives_garbage:
            garbage = sum(abs(p - 0.5) > FAR for p in scores)
        if not (outside or unusual or garbage or self.constant):
            return None
        if self._block:
            self._refuse(outside, unusual)
        return Warned(outside or {}, unusual, garbage, self.constant)

    def as_is(self, prepared: Prepared) -> Scores | None:
        """Return scores that are numbers, and no probabilities, where this deployment gives them; else None."""
        if not self.gives_garbage:
            return None
        try:
            table = self._model.engine.run(prepared.feeds)
        except Exception:  # noqa: BLE001 - the engine's own kinds; the first error is told
            return None
        rows: list[list[float]] = table.tolist()
        if not all(math.isfinite(p) for row in rows for p in row):
            return None
        classes = self._bundle.classes
        if len(classes) == 2:
            best, scores = [int(row[-1] > 0.5) for row in rows], [row[-1] for row in rows]
        else:
            best = [row.index(max(row)) for row in rows]
            scores = [max(row) for row in rows]
        labels = [classes[i] for i in best]
        texts = any(isinstance(label, str) for label in classes)
        codes = best if texts else [int(label) for label in labels]
        return Scores(scores, labels, codes, table)

    def _inside(self, prepared: Prepared) -> bool:
        """Return whether the only row is what training saw; where something is missing, `_outside` has to look."""
        if prepared.missing:
            return False
        values: Sequence[Any] = prepared.values
        numbers = values if self._all else [values[i] for i, _, _, _ in self._bounds]
        for (value,), low, high in zip(numbers, self._lows, self._highs, strict=True):
            if not low <= value <= high:
                return False
        return not self._texts or all(values[i][0] in known for i, _, known in self._texts)

    def _outside(self, prepared: Prepared) -> dict[str, int]:
        """Return how many rows are outside of what training saw, by column; what is missing is not outside."""
        counts = self._counts(prepared, prepared.values if prepared.rows <= _FEW else None)
        found = {bound[1]: count for bound, count in zip(self._bounds, counts, strict=True) if count}
        for i, name, known in self._texts:
            column: Sequence[Any] = prepared.values[i]
            if count := sum(v not in known for v in column if v is not None):
                found[name] = count
        return found

    def _counts(self, prepared: Prepared, values: Sequence[Sequence[Value]] | None) -> list[int]:
        if not self._bounds:
            return []
        if values is not None:
            return [sum(_is_off(v, low, high) for v in values[i]) for i, _, low, high in self._bounds]
        import numpy as np

        names = [column.name for column in self._bundle.inputs]
        if self._matrix:
            (matrix,) = prepared.feeds.values()
            arrays: Any = matrix if self._all else matrix[:, [i for i, _, _, _ in self._bounds]]
            real = arrays.dtype if arrays.dtype.kind == "f" else np.float64
            # Rounded as the rows were: what is inside stays inside.
            low, high = np.asarray(self._lows).astype(real), np.asarray(self._highs).astype(real)
            counts: list[int] = np.count_nonzero((arrays < low) | (arrays > high), axis=0).tolist()
            return counts
        return [_off(prepared.feeds[names[i]], low, high) for i, _, low, high in self._bounds]

    def _refuse(self, outside: dict[str, int] | None, unusual: int) -> None:
        if outside:
            findings = [
                Finding("out_of_range", f"Column {name!r}: outside of what training saw.", name, count=count)
                for name, count in outside.items()
            ]
            more = f" {len(findings) - 1} more columns are." if len(findings) > 1 else ""
            hint = "This deployment answers rows like those that its model was trained on only."
            raise Invalid(findings[0].message + more, hint=hint, findings=findings)
        if unusual:
            raise Unavailable(
                "The model's answer is far from every value that it was made from.",
                about="model",
                hint="Nothing was recorded. Look at the deployment's status, or roll back.",
                model=self._model.digest,
            )

    def _follow(self, prepared: Prepared, scores: list[float]) -> None:
        """Count rows of equal scores, where there are several rows: those after the last other score."""
        last, end = scores[-1], len(scores)
        first = end
        while first and scores[first - 1] == last:
            first -= 1
        if first or last != self._last:
            self._last = last
            self._run = 0
            self._begin()
        self._run += end - first
        if end - first >= _EVERY:
            self._add(*_keys(prepared, range(first, end, _EVERY)[:CONSTANT_ROWS]))

    def _begin(self) -> None:
        self._seen.clear()
        self.constant = False

    def _add(self, *keys: int) -> None:
        if not self.constant:
            self._seen.update(keys)
            self.constant = self._run >= CONSTANT_ROWS and len(self._seen) >= CONSTANT_ROWS // _EVERY


def header_of(warned: Sequence[Warned]) -> tuple[bytes, bytes]:
    """Return a header with the warnings about one answer, parted by commas (RFC 9110, 5.6.1).

    Args:
        warned: what is strange, one a route that answered.
    """
    columns = list(dict.fromkeys(name for one in warned for name in one.outside))
    kinds = dict.fromkeys(kind for one in warned for kind in one.kinds)
    shown = ",".join(quote(name, safe=_PLAIN) for name in columns[:_SHOWN])
    more = f"; more={len(columns) - _SHOWN}" if len(columns) > _SHOWN else ""
    texts = [f'{kind}; columns="{shown}"{more}' if kind == "out-of-range" else kind for kind in kinds]
    return HEADER, ", ".join(texts).encode("ascii")


def stale_header(age_s: float) -> tuple[bytes, bytes]:
    """Return the header that says how old a version is."""
    return HEADER, f"stale-model; age-days={int(age_s // 86_400)}".encode()


def _bounds(found: Range) -> tuple[float, float]:
    low = -math.inf if found.lowest is None else found.lowest
    return low, math.inf if found.highest is None else found.highest


def _span(bundle: Bundle) -> tuple[float, float] | None:
    """Return the values that a regression may give without a word; None where it is none, or nothing was recorded."""
    seen = bundle.answers
    if bundle.task != "regression" or seen is None or seen.lowest is None or seen.highest is None:
        return None
    room = (seen.highest - seen.lowest) * _MARGIN
    return seen.lowest - room, seen.highest + room


def _is_off(value: Any, low: float, high: float) -> bool:
    return value is not None and (value < low or value > high)


def _off(column: Any, low: float, high: float) -> int:
    import numpy as np

    if column.dtype.kind == "f":
        low, high = column.dtype.type(low), column.dtype.type(high)
    return int(np.count_nonzero((column < low) | (column > high)))


def _key(prepared: Prepared) -> int:
    """Return a number for the only row, where all columns are numbers of one array."""
    (block,) = prepared.feeds.values()
    return hash(block.tobytes())


def _keys(prepared: Prepared, rows: Iterable[int]) -> list[int]:
    """Return a number for each row, the same for the same values."""
    block = next(iter(prepared.feeds.values()))
    if len(prepared.feeds) == 1 and block.dtype.kind != "O":  # the bytes of objects are their addresses
        return [hash(block[row].tobytes()) for row in rows]
    values = prepared.values
    return [hash(tuple([column[row] for column in values])) for row in rows]

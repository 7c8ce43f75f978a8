"""Rows as objects, by column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from interlock.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CELLS: Final = 10_000_000


def by_column(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return a list of values a name, None where a row lacks it.

    Args:
        records: the rows.

    Raises:
        Invalid: so many rows have so many names that the lists would be far larger than the body.

    Cost: 50 ns a cell.
    """
    names = dict.fromkeys(name for record in records for name in record)
    if len(names) * len(records) > _CELLS:
        raise Invalid(
            f"{len(records)} rows have {len(names)} different names between them.",
            hint="Send the same columns in every row, or fewer rows at a time.",
        )
    return {name: [record.get(name) for record in records] for name in names}

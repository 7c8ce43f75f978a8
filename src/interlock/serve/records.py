"""Rows as objects or as lists, by column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from interlock.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interlock.serve.revision import View

_CELLS: Final = 10_000_000
_NUMBERS: Final = frozenset({"integer", "float"})


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


def order_of(view: View) -> tuple[str, ...]:
    """Return the columns in the order in which rows may come without their names, () where they may not.

    They may where all columns are numbers, as in an array that was made of a table, and all routes have one order.
    """
    if view.one is None or not _NUMBERS.issuperset(column.type for column in view.columns):
        return ()
    return tuple(column.name for column in view.columns)


def by_place(rows: Sequence[Sequence[Any]], names: Sequence[str], what: str) -> dict[str, list[Any]]:
    """Return a list of values a name, of rows that have a value for each in their order.

    Args:
        rows: the rows.
        names: the columns.
        what: what the rows are called where one is refused.

    Raises:
        Invalid: a row has more or fewer values.
    """
    for number, row in enumerate(rows):
        if len(row) != len(names):
            shown = f"{', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
            raise Invalid(
                f"Row {number} of {what} has {len(row)} values for {len(names)} columns.",
                hint=f"A list has them in this order: {shown}.",
            )
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}

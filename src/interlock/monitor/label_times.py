"""The columns of instants in a file of labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from interlock.core.errors import Invalid
from interlock.store.label_times import DAY, parse_case, parse_observed

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    from interlock.data.read import Rows

T = TypeVar("T")


def observed_of(rows: Rows, column: str, now: int) -> list[int | None]:
    """Return when the truth of each row was observed, in microseconds; nothing when there is no such column.

    Raises:
        Invalid: a value is no instant, or lies ahead.
    """
    found = _each(rows, column, parse_observed, whole_days=False)
    for number, at in enumerate(found):
        if at is not None and at > now + DAY:
            raise _wrong(rows, column, number, "lies ahead")
    return found


def cases_of(rows: Rows, column: str) -> list[tuple[int, int] | None]:
    """Return the span of time of the cases that each row is about; nothing when there is no such column.

    Raises:
        Invalid: a value is neither an instant nor a span.
    """
    return _each(rows, column, parse_case, whole_days=True)


def _each(rows: Rows, column: str, parse: Callable[[str], T], *, whole_days: bool) -> list[T | None]:
    if column not in rows.frame.columns:
        return []
    found: list[T | None] = []
    for number, text in enumerate(_texts(rows.frame[column], whole_days=whole_days)):
        try:
            found.append(parse(text) if text else None)
        except ValueError:
            raise _wrong(rows, column, number, "is no instant") from None
    return found


def _texts(column: pl.Series, *, whole_days: bool) -> list[str | None]:
    """Return instants as ISO 8601 texts, whatever type a file gave them."""
    import polars as pl

    if isinstance(column.dtype, pl.Datetime):
        return [None if at is None else at.isoformat() for at in column.to_list()]
    if column.dtype == pl.Date and not whole_days:
        column = column.cast(pl.Datetime("us"))
        return [None if at is None else at.isoformat() for at in column.to_list()]
    return column.cast(pl.String).to_list()


def _wrong(rows: Rows, column: str, number: int, what: str) -> Invalid:
    where = rows.place(number) or f"row {number + 1}"
    return Invalid(
        f"{column!r} {what} in {where}.",
        about="labels",
        hint="Write for example 2026-03-01T12:00:00Z; for occurred_at a day will do, or two instants with a / between.",
        rows=[number],
    )

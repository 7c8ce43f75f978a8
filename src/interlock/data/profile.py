"""Profiles: what is in a table, column by column, in one pass of aggregates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    import polars as pl

Kind = Literal["integer", "float", "boolean", "category", "text", "instant"]
CATEGORIES = 200
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_TOP = 10


class ColumnProfile(msgspec.Struct, frozen=True):
    """What one column holds.

    Attributes:
        name: the column.
        kind: its logical type; text of at most 200 distinct values is a category.
        nulls: how many rows have no value.
        distinct: how many different values there are.
        minimum: the smallest value of a number, or None.
        maximum: the largest value of a number, or None.
        mean: the mean of a number, or None.
        deviation: the standard deviation of a number, or None.
        quantiles: the 5, 25, 50, 75 and 95 % quantiles of a number.
        top: the most frequent values with their counts, for all but floats; every value of a category.
    """

    name: str
    kind: Kind
    nulls: int
    distinct: int
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    deviation: float | None = None
    quantiles: tuple[float, ...] = ()
    top: tuple[tuple[str, int], ...] = ()


class Profile(msgspec.Struct, frozen=True):
    """What a table holds."""

    rows: int
    columns: tuple[ColumnProfile, ...]


def profile(frame: pl.DataFrame) -> Profile:
    """Return the profile of a table.

    Cost: one scan for all aggregates, and one count of values for each column that is no float.
    """
    import polars as pl
    from polars import selectors as cs

    numbers = frame.select(cs.numeric()).columns
    wanted: list[pl.Expr] = []
    for name in frame.columns:
        column = pl.col(name)
        wanted += [column.null_count().alias(f"{name}\0nulls"), column.n_unique().alias(f"{name}\0distinct")]
    for name in numbers:
        column = pl.col(name).cast(pl.Float64)
        wanted += [
            column.min().alias(f"{name}\0minimum"),
            column.max().alias(f"{name}\0maximum"),
            column.mean().alias(f"{name}\0mean"),
            column.std().alias(f"{name}\0deviation"),
            *(column.quantile(q).alias(f"{name}\0q{q}") for q in _QUANTILES),
        ]
    facts = frame.lazy().select(wanted).collect().row(0, named=True)
    return Profile(frame.height, tuple(_column(frame, name, facts, number=name in numbers) for name in frame.columns))


def _column(frame: pl.DataFrame, name: str, facts: dict[str, Any], *, number: bool) -> ColumnProfile:
    nulls = facts[f"{name}\0nulls"]
    distinct = facts[f"{name}\0distinct"] - (1 if nulls else 0)
    kind = kind_of(frame.schema[name], distinct)
    top: tuple[tuple[str, int], ...] = ()
    if kind != "float":
        counts = frame[name].drop_nulls().value_counts(name="\0count").sort(["\0count", name], descending=[True, False])
        top = tuple(
            (str(value), int(count)) for value, count in counts.head(CATEGORIES if kind == "category" else _TOP).rows()
        )
    if not number:
        return ColumnProfile(name, kind, nulls, distinct, top=top)
    return ColumnProfile(
        name,
        kind,
        nulls,
        distinct,
        facts[f"{name}\0minimum"],
        facts[f"{name}\0maximum"],
        facts[f"{name}\0mean"],
        facts[f"{name}\0deviation"],
        tuple(facts[f"{name}\0q{q}"] for q in _QUANTILES if facts[f"{name}\0q{q}"] is not None),
        top,
    )


def kind_of(dtype: pl.DataType, distinct: int) -> Kind:
    """Return the logical type of a column of this Polars type with so many distinct values."""
    import polars as pl

    if dtype.is_integer():
        return "integer"
    if dtype.is_numeric():
        return "float"
    if dtype == pl.Boolean:
        return "boolean"
    if dtype.is_temporal():
        return "instant"
    return "category" if distinct <= CATEGORIES else "text"

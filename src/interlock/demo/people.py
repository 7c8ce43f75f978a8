"""The people of the demo: which of the real rows arrive in which month is chosen here, and nothing else is.

The rows of a year are dealt to its twelve months by a hash of `person`; of a month's people of the right age, the
first `PEOPLE` by another hash come to be scored.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

PEOPLE: Final = 700
AGES: Final = {2016: (18, 54), 2017: (16, 94), 2018: (16, 94)}
AUDIT: Final = ("SEX", "RAC1P")
SIZES: Final = (1, 1, 2, 40, 8, 1, 90, 3, 25, 1, 5, 60)
_SPAN: Final = 1 << 64


class Month(msgspec.Struct, frozen=True):
    """A month of the story."""

    year: int
    month: int

    @property
    def name(self) -> str:
        """What people call it, `2017-01`."""
        return f"{self.year}-{self.month:02}"

    @property
    def start(self) -> datetime:
        """Its first instant."""
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """The first instant after it."""
        return datetime(self.year + self.month // 12, self.month % 12 + 1, 1, tzinfo=UTC)

    def moment(self, share: float) -> datetime:
        """Return the instant at which this share (0-1) of the month is over."""
        return self.start + share * (self.end - self.start - timedelta(seconds=1))


def months() -> list[Month]:
    """Return the thirty-six months of the story, in order."""
    return [Month(year, month) for year in AGES for month in range(1, 13)]


def arrivals(folder: Path, month: Month, people: int = PEOPLE) -> pl.DataFrame:
    """Return the rows of the people who come in a month, in the order in which they come."""
    import polars as pl

    rows = pl.read_parquet(folder / "data" / f"employment-{month.year}.parquet")
    low, high = AGES[month.year]
    rows = rows.filter(pl.col("AGEP").is_between(low, high))
    dealt = [place("month", person) * 12 // _SPAN == month.month - 1 for person in rows["person"]]
    rows = rows.filter(pl.Series(dealt))
    order = pl.Series("order", [place("draw", person) for person in rows["person"]], pl.UInt64)
    return rows.with_columns(order).sort("order").head(people).drop("order")


def place(salt: str, person: int) -> int:
    """Return the fixed place of a person, evenly spread over 0 to 2**64 - 1."""
    return int.from_bytes(hashlib.sha256(f"{salt}:{person}".encode()).digest()[:8], "big")


def as_inputs(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the columns that a request carries: all but the key, the year, the truth, and what only audits may see."""
    import polars as pl

    return rows.drop("person", "year", "employed", *AUDIT).with_columns(pl.all().cast(pl.String).cast(pl.Int64))


def as_labels(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the truth about people, with the columns that audits need."""
    return rows.select("person", "year", "employed", *AUDIT)


def corrupted(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows as a broken export might hand them over: a column renamed, ages of 400, an unknown code."""
    import polars as pl

    number = pl.int_range(pl.len())
    broken = rows.with_columns(
        AGEP=pl.when(number.is_in([3, 14, 15])).then(400).otherwise(pl.col("AGEP")),
        DIS=pl.when(number == 92).then(pl.lit("7")).otherwise(pl.col("DIS").cast(pl.String)),
    )
    return broken.rename({"SCHL": "SCHOOL"})

"""Splits that stay: the same person is held out in every version of the data, on every machine.

The side a row falls on depends on its id and on nothing else: not on the order of the rows, the other rows, the
library's version or a seed that somebody may forget.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, TypeVar

from interlock.core.errors import Invalid, NotFound
from interlock.train.frames import library, to_polars

if TYPE_CHECKING:
    import polars as pl

Frame = TypeVar("Frame")
_SPAN = 1 << 64


def holdout(frame: Frame, by: str, share: float, salt: str = "") -> tuple[Frame, Frame]:
    """Return the frame's rows in two frames: for training, and held out.

    Args:
        frame: a Polars or pandas frame.
        by: the column of ids; all rows of one id fall on the same side.
        share: the share of ids to hold out, 0-1.
        salt: another text gives another split.

    Raises:
        Invalid: the share is not 0-1, or an id is missing.
        NotFound: there is no such column.

    Cost: one SHA-256 for each different id (about 1 us).
    """
    if not 0 <= share <= 1:
        raise Invalid(f"share is {share}; it lies between 0 and 1.", about="holdout", hint="Write 0.2 for 20 %.")
    limit = round(share * _SPAN)
    held = _spread(frame, by, salt, lambda place: place < limit)
    if library(frame) == "pandas":
        mask = held.to_numpy()
        return frame[~mask], frame[mask]  # type: ignore[index]
    whole: Any = to_polars(frame)
    return whole.filter(~held), whole.filter(held)


def bucket(frame: Any, by: str, n: int, salt: str = "") -> pl.Series:
    """Return for each row the bucket (0 to n-1) of its id, for folds that stay.

    Args:
        frame: a Polars or pandas frame.
        by: the column of ids.
        n: how many buckets.
        salt: another text gives other buckets.

    Raises:
        Invalid: there is no bucket, or an id is missing.
        NotFound: there is no such column.
    """
    if n < 1:
        raise Invalid(f"{n} buckets cannot hold anything.", about="bucket", hint="Ask for one or more.")
    return _spread(frame, by, salt, lambda place: place * n >> 64).alias("bucket")


def place_of(value: object, salt: str = "") -> int:
    """Return the fixed place of an id, evenly spread over 0 to 2**64 - 1. The number 5 and the text "5" are one id.

    Source: the first 8 bytes, big end first, of SHA-256 over the UTF-8 bytes of salt, NUL, id.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # ids become floats where some library met a missing one
    return int.from_bytes(hashlib.sha256(f"{salt}\0{value}".encode()).digest()[:8], "big")


def _spread(frame: Any, by: str, salt: str, choose: Any) -> pl.Series:
    import polars as pl

    columns = [str(name) for name in getattr(frame, "columns", ())]
    if by not in columns:
        raise NotFound.named("column", by, columns)
    ids = to_polars(frame[[by]])[by]
    missing = ids.null_count() + (int(ids.is_nan().sum()) if ids.dtype.is_float() else 0)
    if missing:
        raise Invalid(
            f"{missing} rows have no {by!r}, so they cannot be held out by it.",
            about="holdout",
            hint="Drop these rows or split by another column.",
        )
    known = pl.DataFrame({"id": ids.unique()})
    chosen = pl.Series("choice", [choose(place_of(value, salt)) for value in known["id"]])
    rows = pl.DataFrame({"id": ids})
    return rows.join(known.with_columns(chosen), on="id", how="left", maintain_order="left")["choice"]

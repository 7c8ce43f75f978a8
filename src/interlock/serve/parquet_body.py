"""Rows that come as a Parquet file in a request's body.

It is read in a process apart: a file of some thousand bytes ends the process that reads it, by Polars as by pyarrow,
and what a file says of its own size may be a lie (docs/decisions/0013).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from interlock.core.errors import Invalid, MissingExtra
from interlock.serve.engine import Ask
from interlock.serve.turns import MAX_ROWS
from interlock.store import apart

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    import polars as pl

_LARGEST: Final = 256 * 1024 * 1024  # bytes of the columns, unpacked: a small file may stand for very much


def read_parquet(body: bytes, names: Collection[str]) -> Ask:
    """Return the rows of a file; columns of other names are only named, not read.

    Args:
        body: the file.
        names: the columns that the models know.

    Raises:
        Invalid: it is no Parquet file, has too many rows or bytes, or a column of a type that no model takes.
        MissingExtra: polars is not installed.

    Cost: some 5 ms a file and 0.05 us a value; 0.2 s for a process when none waits.
    """
    try:
        import polars as pl
    except ImportError:
        raise MissingExtra.named("data", "polars") from None
    try:
        with apart.resting(body) as path:
            return _read(pl, path, names)
    except (apart.Unreadable, OSError) as error:
        if "uplicate" in str(getattr(error, "error", "")):
            raise Invalid("The Parquet file names a column twice.") from None
        # What the reader says may repeat what is in the file.
        raise Invalid("The body is no Parquet file that can be read.", hint="Send the whole file as it is.") from None


def _read(pl: Any, path: Path, names: Collection[str]) -> Ask:
    schema = apart.columns(path, "parquet").schema
    known = [name for name in schema if name in names]
    for name in known:
        if not _taken(pl, schema[name]):
            raise Invalid(
                f"Column {name!r} of the Parquet file has a type that no model takes.",
                hint="Send text, whole numbers, numbers, or true and false.",
            )
    if (claimed := apart.count(path, "parquet")) > MAX_ROWS:
        raise _too_many(claimed)
    frames: list[pl.DataFrame] = []
    rows = size = 0
    for frame in apart.rows(path, "parquet", known or list(schema)[:1]) if schema else ():
        rows, size = rows + frame.height, size + int(frame.estimated_size())
        if rows > MAX_ROWS:
            raise _too_many(rows)
        if size > _LARGEST:
            raise Invalid(f"The Parquet file holds more than {_LARGEST} bytes.", hint="Send fewer rows at a time.")
        frames.append(frame)
    columns: dict[str, Any] = {name: _values(pl, frames, name) for name in known}
    unread = [None] * rows
    columns.update({name: unread for name in schema if name not in columns})
    return Ask(columns, rows)


def _taken(pl: Any, kind: Any) -> bool:
    texts = (pl.String, pl.Categorical, pl.Enum)
    return bool(kind.is_integer() or kind.is_float() or kind in (pl.Boolean, pl.Null) or kind in texts)


def _values(pl: Any, frames: Sequence[pl.DataFrame], name: str) -> list[Any]:
    values: list[Any] = []
    for frame in frames:
        column = frame[name]
        coded = column.dtype in (pl.Categorical, pl.Enum)
        values += (column.cast(pl.String) if coded else column).to_list()
    return values


def _too_many(rows: int) -> Invalid:
    return Invalid(
        f"The Parquet file has {rows} rows, a request may have {MAX_ROWS}.",
        hint="Send fewer rows at a time, or score the file: interlock predict.",
    )

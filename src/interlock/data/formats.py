"""File formats: how a table comes out of a file. These two come in through the same door as anybody's."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Final

from interlock.core.errors import Invalid, MissingExtra
from interlock.core.plugins import load_all

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from interlock.core.ports import DataFormat


_SEPARATORS: Final = (";", "\t", "|")


class Parquet:
    """Apache Parquet."""

    name = "parquet"
    suffixes = (".parquet", ".pq")
    typed = True

    def read(self, path: Path) -> pl.DataFrame:
        """Return the table of a Parquet file, which is read in a process apart: a damaged one may end the reader."""
        from interlock.store.apart import table

        return table(path, "parquet")


class Csv:
    """Comma-separated values: UTF-8, a header line. Columns are read as text and typed afterwards."""

    name = "csv"
    suffixes = (".csv",)
    typed = False

    def read(self, path: Path) -> pl.DataFrame:
        """Return the table of a CSV file, every column as text; empty fields are nulls."""
        import polars as pl

        with path.open(encoding="utf-8-sig", newline="") as file:
            names = next(csv.reader(file), [])
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"column {twice[0]!r} is there {names.count(twice[0])} times")
        other = next((mark for mark in _SEPARATORS if len(names) == 1 and mark in names[0]), "")
        if other:
            raise ValueError(f"its fields are separated by {other!r}; save it with commas")
        try:
            frame = pl.read_csv(path, infer_schema=False)
        except pl.exceptions.PolarsError:
            _refuse_ragged(path, len(names))
            raise
        if len(names) > 1 and frame[names[-1]].null_count():  # a row that is too short lacks its last fields
            _refuse_ragged(path, len(names))
        return frame


def _refuse_ragged(path: Path, width: int) -> None:
    """Accept a CSV file whose rows are empty or have so many fields.

    Raises:
        ValueError: one has not; its line is named, counted from 1 with the header.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        for row in reader:
            if row and len(row) != width:
                raise ValueError(f"line {reader.line_num} has {len(row)} fields where the header has {width}")


def read_table(path: Path, name: str) -> tuple[pl.DataFrame, bool]:
    """Return the table of a file, by the format that its name's ending says, and whether its columns have types.

    Args:
        path: where the bytes are.
        name: what the user calls the file; errors name it, and its ending decides the format.

    Raises:
        Invalid: no format reads such files, the bytes are not of that format, or the table has no rows or no columns.
        MissingExtra: Polars is not installed.
    """
    try:
        import polars as pl
    except ImportError:
        raise MissingExtra.named("data", "polars") from None
    reader = _format(name)
    try:
        frame: pl.DataFrame = reader.read(path)
    except UnicodeDecodeError as error:
        raise Invalid(
            f"{name} is not UTF-8 (byte {error.start}).", about="file", hint="Save it as UTF-8.", file=name
        ) from None
    except (pl.exceptions.PolarsError, ValueError, OSError, csv.Error) as error:
        why = str(error).split("\n", 1)[0].rstrip(".")
        hint = "" if "utf-8" not in why.lower() else "Save it as UTF-8."
        raise Invalid(f"{name} cannot be read as {reader.name}: {why}.", about="file", hint=hint, file=name) from None
    if frame.width == 0 or frame.height == 0:
        raise Invalid(f"{name} has no {'columns' if frame.width == 0 else 'rows'}.", about="file", file=name)
    nameless = [column for column in frame.columns if not column.strip() or not column.isprintable()]
    if nameless:
        raise Invalid(
            f"{name}: {nameless[0]!r} cannot be the name of a column.",
            about="file",
            hint="Give every column a name without control characters or line breaks.",
            file=name,
            columns=nameless,
        )
    empty = [column for column in frame.columns if frame[column].null_count() == frame.height]
    if empty:
        raise Invalid(
            f"{name}: column {empty[0]!r} holds no value in any row.",
            about="file",
            hint="Drop the column, or mend the export that made the file.",
            file=name,
            columns=empty,
        )
    return frame, reader.typed


def _format(name: str) -> DataFormat:
    suffixes: dict[str, DataFormat] = {}
    for block in load_all("interlock.data_format").values():
        suffixes.update(dict.fromkeys(block.suffixes, block()))
    for suffix, reader in suffixes.items():
        if name.lower().endswith(suffix):
            return reader
    raise Invalid(
        f"{name} is of no format that is known here.",
        about="file",
        hint=f"Known endings: {', '.join(sorted(suffixes))}.",
        file=name,
    )

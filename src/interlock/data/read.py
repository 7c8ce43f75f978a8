"""From stored files to one table: formats, types, conditions."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from interlock.core.errors import Invalid
from interlock.data.condition import condition
from interlock.data.formats import read_table
from interlock.data.validate import conform

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from interlock.core.errors import Finding
    from interlock.core.files import StoredFile
    from interlock.data.contract import Contract
    from interlock.store.uploads import Uploads


class Rows(NamedTuple):
    """The rows of files, and which they were there.

    Attributes:
        frame: those that satisfy the condition.
        kept: their numbers among all rows; None when no condition was asked.
        files: name of each file, how many rows it has, and whether they are lines of text, one a row.
    """

    frame: pl.DataFrame
    kept: pl.Series | None
    files: tuple[tuple[str, int, bool], ...]

    def place(self, row: int) -> str:
        """Return where a row stands as people count, such as "line 3 of people.csv"; "" where rows are no lines."""
        number = row if self.kept is None else int(self.kept[row])
        for name, height, lines in self.files:
            if number < height:
                return f"line {number + 2} of {name}" if lines else ""
            number -= height
        return ""

    def told(self, findings: Sequence[Finding]) -> list[Finding]:
        """Return findings whose sentences end with the place of their first row."""
        return [
            msgspec.structs.replace(found, message=f"{found.message} ({'first in ' * (found.count > 1)}{place})")
            if found.rows and (place := self.place(found.rows[0]))
            else found
            for found in findings
        ]


def read_files(uploads: Uploads, files: Sequence[StoredFile], where: str, contract: Contract | None) -> Rows:
    """Return the rows of stored files, one after the other, that satisfy a condition.

    Args:
        uploads: where the files' bytes are.
        files: Parquet or CSV.
        where: a condition such as "age > 20", or "".
        contract: types untyped text; None: its values do.

    Raises:
        Invalid: no file is given, one is no table, or the condition makes no sense.
    """
    with tempfile.TemporaryDirectory(prefix="interlock-") as folder:
        paths = []
        for number, file in enumerate(files):
            paths.append((Path(folder) / str(number), file.name))
            uploads.fetch(file.digest, paths[-1][0])
        return read_paths(paths, where, contract)


def read_paths(paths: Sequence[tuple[Path, str]], where: str, contract: Contract | None) -> Rows:
    """Return the rows of files of this machine, as `read_files` does.

    Args:
        paths: where each file is, and what it is called.
        where: a condition, or "".
        contract: types untyped text; None: its values do.

    Raises:
        Invalid: as `read_files`.
    """
    import polars as pl

    if not paths:
        raise Invalid("No file was given.", about="file", hint="Name one or more Parquet or CSV files.")
    frames, files = [], []
    for path, name in paths:
        frame, typed = read_table(path, name)
        files.append((name, frame.height, not typed and has_a_line_a_row(path, frame.height)))
        frames.append(_shaped(frame, typed, contract))
    try:
        frame = pl.concat(frames, how="vertical_relaxed")
        kept = frame.select(pl.arg_where(condition(where))).to_series() if where else None
    except pl.exceptions.PolarsError as error:
        what = f"condition {where!r}" if where else "files"
        why = str(error).splitlines()[0].rstrip(".")
        raise Invalid(f"The {what} cannot be applied: {why}.", about="dataset_version") from None
    found = frame if kept is None else frame[kept]
    if not found.height:
        raise Invalid(f"No row satisfies {where!r}.", about="dataset_version", hint="Look at the condition.")
    return Rows(found, kept, tuple(files))


def has_a_line_a_row(path: Path, rows: int) -> bool:
    """Return whether a text file has a header and one line a row: none of its fields goes over several lines."""
    return path.read_bytes().rstrip(b"\r\n").count(b"\n") == rows


def _shaped(frame: pl.DataFrame, typed: bool, contract: Contract | None) -> pl.DataFrame:
    """Return a file's table: dictionary-coded text as text, untyped text typed as the contract or its values say."""
    import polars as pl

    frame = frame.with_columns(pl.col(pl.Categorical).cast(pl.String), pl.selectors.by_dtype(pl.Enum).cast(pl.String))
    if contract is not None:
        return conform(frame, contract)
    return frame if typed else pl.DataFrame([_guessed(column) for column in frame.get_columns()])


def _guessed(column: pl.Series) -> pl.Series:
    import polars as pl

    for target in (pl.Int64, pl.Float64):
        cast = column.cast(target, strict=False)
        if cast.null_count() == column.null_count():
            return cast
    return column

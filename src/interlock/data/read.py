"""From stored files to one table: formats, types, conditions."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.core.errors import Invalid
from interlock.data.condition import condition
from interlock.data.formats import read_table
from interlock.data.validate import conform

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from interlock.core.files import StoredFile
    from interlock.data.contract import Contract
    from interlock.store.uploads import Uploads


def read_files(uploads: Uploads, files: Sequence[StoredFile], where: str, contract: Contract | None) -> pl.DataFrame:
    """Return the rows of files, one after the other, that satisfy a condition.

    Args:
        uploads: where the files' bytes are.
        files: Parquet or CSV.
        where: a condition such as "age > 20", or "".
        contract: types untyped text; None: its values do.

    Raises:
        Invalid: no file is given, one is no table, or the condition makes no sense.
    """
    import polars as pl

    if not files:
        raise Invalid("No file was given.", about="file", hint="Name one or more Parquet or CSV files.")
    frames = []
    with tempfile.TemporaryDirectory(prefix="interlock-") as folder:
        for file in files:
            path = Path(folder) / "table"
            uploads.fetch(file.digest, path)
            frames.append(_shaped(*read_table(path, file.name), contract))
    try:
        frame = pl.concat(frames, how="vertical_relaxed")
        found = frame.filter(condition(where)) if where else frame
    except pl.exceptions.PolarsError as error:
        what = f"condition {where!r}" if where else "files"
        raise Invalid(f"The {what} cannot be applied: {str(error).splitlines()[0]}.", about="dataset_version") from None
    if not found.height:
        raise Invalid(f"No row satisfies {where!r}.", about="dataset_version", hint="Look at the condition.")
    return found


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

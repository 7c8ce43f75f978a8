"""Who answered the predictions that labels are about: a look-up by id, which opens only files of the right time."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from interlock.store.prediction_files import ParquetFile
from interlock.store.prediction_rows import Filter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.store.prediction_files import LogFile

_FEW: Final = 16


def owners(file: LogFile | ParquetFile, wanted: Sequence[str]) -> dict[str, str]:
    """Return the deployments that answered predictions of one file, by id.

    Args:
        file: a file of the prediction log.
        wanted: ids, ascending.

    Cost: nothing but the file's facts where none of the ids is within them; else, for many ids, one pass over it.
    """
    near: dict[str, None] = {}
    for facts in file.facts():
        start = bisect_left(wanted, facts.first_id)
        while start < len(wanted) and wanted[start] <= facts.last_id:
            near[wanted[start]] = None
            start += 1
    if not near:
        return {}
    if isinstance(file, ParquetFile):
        return _of_parquet(file, list(near))
    if len(near) <= _FEW:
        return {row.id: row.deployment for name in near for row in file.rows(Filter(id=name))}
    return {row.id: row.deployment for row in file.rows(Filter()) if row.id in near}


def _of_parquet(file: ParquetFile, ids: list[str]) -> dict[str, str]:
    """Return them from a compacted file, of which only two columns of the row groups in question are read."""
    import polars as pl

    rows = pl.scan_parquet(file.path, glob=False).filter(
        (pl.col("id") >= min(ids)) & (pl.col("id") <= max(ids)) & pl.col("id").is_in(ids)
    )
    found = rows.select(pl.col("id"), pl.col("deployment").cast(pl.String)).collect()
    return dict(found.iter_rows())

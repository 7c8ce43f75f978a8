"""The files of the prediction log: `ID.log`, which becomes `ID.parquet`.

From the moment that the Parquet file has its name, it alone counts. Parquet does not check its bytes, so ours carry a
checksum of the whole file in their metadata, patched in after the file is written.
"""

from __future__ import annotations

import os
import threading
import zlib
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.errors import Corrupt
from interlock.core.ids import is_ulid
from interlock.store.blocklog import START, SUFFIX, BlockReader, corrupt
from interlock.store.objects import sync_folder
from interlock.store.prediction_frames import need_polars, to_frame, to_rows
from interlock.store.prediction_rows import Facts, Filter, Span, decode, facts_of

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from interlock.store.prediction_rows import Prediction

PARQUET: Final = ".parquet"
TEMPORARY: Final = ".parquet.tmp"
_ROW_GROUP: Final = 16_384
_FACTS: Final = "interlock.facts"
_CHECK: Final = "interlock.check"
_MARK: Final = b"crc32-of-this-file-with-zeros-here="
_ZEROS: Final = b"0" * 8


def stems(folder: Path) -> list[str]:
    """Return the names of the log's files without their endings, oldest first."""
    return sorted({path.stem for path in folder.iterdir() if path.suffix in {SUFFIX, PARQUET} and is_ulid(path.stem)})


class LogFile:
    """A block log of predictions, of which each block's facts are remembered once it was read.

    Args:
        path: the file; its writer may go on.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._blocks: list[tuple[int, Facts]] = []
        self._end = START

    def facts(self) -> list[Facts]:
        """Return the facts of each block that is written by now.

        Raises:
            FileNotFoundError: it is gone.
            Corrupt: a block is damaged and something follows it.

        Cost: reads what was added since the last call.
        """
        with self._lock:
            with BlockReader(self.path) as reader:
                for block in reader.blocks(self._end, len(self._blocks)):
                    rows = _decode(self.path, block.offset, block.payload)
                    self._blocks.append((block.offset, facts_of(rows)))
                    self._end = block.end
            return [facts for _, facts in self._blocks]

    def rows(self, wanted: Filter) -> list[Prediction]:
        """Return the wanted predictions in the order of their writing."""
        found: list[Prediction] = []
        matching = [number for number, facts in enumerate(self.facts()) if facts.may_match(wanted)]
        with BlockReader(self.path) as reader:
            for number in matching:
                offset, _ = self._blocks[number]
                block = next(reader.blocks(offset, number), None)
                if block is None:
                    raise corrupt(self.path, offset, "its block was sound and is no longer")
                found += filter(wanted.matches, _decode(self.path, offset, block.payload))
        return found

    def frame(self, wanted: Filter) -> pl.DataFrame:
        """Return the wanted predictions as a frame."""
        return to_frame(self.rows(wanted))

    def request_ids(self, wanted: Filter) -> set[str]:
        """Return the request ids of the wanted predictions."""
        return {row.request_id for row in self.rows(wanted)}


class ParquetFile:
    """A compacted file; its bytes are checked before the first read.

    Args:
        path: the file, which never changes (an erasure puts another in its place).

    Raises:
        FileNotFoundError: it is gone.
        Corrupt: it is no sound Parquet file of ours.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.identity = identity(path)
        need_polars()
        self._facts = _read_facts(path)
        self._checked = False

    def facts(self) -> list[Facts]:
        """Return what the file says about itself."""
        return [self._facts]

    def rows(self, wanted: Filter) -> list[Prediction]:
        """Return the wanted predictions by id."""
        return list(to_rows(self.frame(wanted))) if self._facts.may_match(wanted) else []

    def frame(self, wanted: Filter) -> pl.DataFrame:
        """Return the wanted predictions by id, as a frame.

        Raises:
            FileNotFoundError: it is gone.
            Corrupt: its bytes are not what was written.
        """
        return self._scan(wanted).collect()

    def request_ids(self, wanted: Filter) -> set[str]:
        """Return the request ids of the wanted predictions."""
        return set(self._scan(wanted).select("request_id").collect()["request_id"])

    def _scan(self, wanted: Filter) -> pl.LazyFrame:
        import polars as pl

        if not self._checked:
            _verify(self.path)
            self._checked = True
        return pl.scan_parquet(self.path, glob=False).filter(_expression(wanted))


def identity(path: Path) -> tuple[int, int, int]:
    """Return what tells a file from another that took its name."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


def write_parquet(frame: pl.DataFrame, target: Path) -> int:
    """Return the size of a file of predictions that has its name only when it is whole, on disk and was read back.

    Raises:
        Corrupt: what was read back is not what was written.
        OSError: it cannot be written.
    """
    import polars as pl

    facts = msgspec.json.encode(_facts(frame))
    metadata = {_FACTS: f"{zlib.crc32(facts):08x}{facts.decode()}", _CHECK: (_MARK + _ZEROS).decode()}
    temporary = target.with_suffix(TEMPORARY)
    try:
        frame.write_parquet(temporary, compression="zstd", row_group_size=_ROW_GROUP, metadata=metadata)
        with temporary.open("r+b") as file:
            data = file.read()
            file.seek(data.rindex(_MARK) + len(_MARK))
            file.write(b"%08x" % zlib.crc32(data))
            file.flush()
            os.fsync(file.fileno())
        _verify(temporary)
        if not pl.read_parquet(temporary.read_bytes()).equals(frame):
            raise _corrupt(target, "it was not read back as it was written")
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(target.parent)
    return len(data)


def _verify(path: Path) -> None:
    data = path.read_bytes()
    place = data.rfind(_MARK) + len(_MARK)
    found = data[place : place + len(_ZEROS)]
    crc = zlib.crc32(data[place + len(_ZEROS) :], zlib.crc32(_ZEROS, zlib.crc32(data[:place])))
    if place < len(_MARK) or found != b"%08x" % crc:
        raise _corrupt(path, "its checksum is not that of its bytes")


def _read_facts(path: Path) -> Facts:
    import polars as pl

    try:
        text = pl.read_parquet_metadata(path)[_FACTS]
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, KeyError) as error:
        raise _corrupt(path, f"its metadata cannot be read ({error})") from error
    facts = text[len(_ZEROS) :].encode()
    if text[: len(_ZEROS)] != f"{zlib.crc32(facts):08x}":
        raise _corrupt(path, "the checksum of its facts is not that of their bytes")
    return msgspec.json.decode(facts, type=Facts)


def _expression(wanted: Filter) -> pl.Expr:
    import polars as pl

    occurred_at = pl.col("occurred_at").to_physical()
    parts = [pl.lit(value=True)]
    if wanted.deployment:
        parts.append(pl.col("deployment") == wanted.deployment)
    if wanted.since is not None:
        parts.append(occurred_at >= wanted.since)
    if wanted.until is not None:
        parts.append(occurred_at < wanted.until)
    if wanted.id is not None:
        parts.append(pl.col("id") == wanted.id)
    if wanted.subject is not None:
        parts.append(pl.col("subject") == wanted.subject)
    return pl.all_horizontal(parts)


def _facts(frame: pl.DataFrame) -> Facts:
    import polars as pl

    moments = pl.col("occurred_at").to_physical()
    spans = frame.group_by("deployment").agg(pl.len(), moments.min().alias("first"), moments.max().alias("last"))
    found = {name: Span(*span) for name, *span in spans.sort("deployment").iter_rows()}
    ids = frame["id"]
    return Facts(str(ids.min() or ""), str(ids.max() or ""), found)


def _decode(path: Path, offset: int, payload: bytes) -> list[Prediction]:
    try:
        return decode(payload)
    except ValueError as error:
        raise corrupt(path, offset, f"it holds no predictions ({error})") from None


def _corrupt(path: Path, why: str) -> Corrupt:
    return Corrupt(
        f"{path.name} is damaged: {why}.",
        about="prediction_log",
        hint="Restore the file from a backup.",
        segment=path.name,
    )

"""Small files, each with one byte that is wrong, that end the process which reads them or are read as shorter."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa

ROWS = 40


def people() -> pl.DataFrame:
    numbers = range(ROWS)
    return pl.DataFrame(
        {"id": list(numbers), "age": [20.5 + n % 3 for n in numbers], "name": [f"v{n % 3}" for n in numbers]}
    )


def parquet(path: Path) -> bytes:
    people().write_parquet(path, compression="uncompressed", statistics=False, row_group_size=ROWS // 2)
    return path.read_bytes()


def _changed(path: Path, content: bytes, old: bytes, new: bytes) -> Path:
    assert old in content, "the library writes such files in another way now: find another byte"
    path.write_bytes(content.replace(old, new, 1))
    return path


def aborting(path: Path) -> Path:
    """A data page of -1 values, for which Polars 2.1 asks 2**61 bytes: SIGABRT."""
    return _changed(path, parquet(path), b"\x2c\x15\x28", b"\x2c\x15\x01")


def shortened(path: Path) -> Path:
    """A page in an encoding that there is not: a thread of Polars 2.1 panics, and `collect_batches` just ends."""
    content = parquet(path)
    at = content.rindex(b"\x2c\x15\x28\x15\x10")
    path.write_bytes(content[: at + 4] + b"\x7f" + content[at + 5 :])
    return path


def reaching(path: Path) -> Path:
    """An Arrow stream with a text that begins 2 GB behind its end: Polars 2.1 reads there, SIGSEGV."""
    schema = pa.schema([("id", pa.int64()), ("age", pa.float64()), ("name", pa.string())])
    table = people().to_arrow().cast(schema)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as stream:
        stream.write_table(table)
    offsets = b"".join(n.to_bytes(4, "little") for n in (40, 42, 44))
    return _changed(path, path.read_bytes(), offsets, offsets[:7] + b"\x7f" + offsets[8:])

"""The child process that reads files which nobody vouches for: Parquet, Arrow files and Arrow streams.

    python -P -m interlock.store.apart_reader

A damaged file can end the process that reads it: a Rust allocation that fails aborts, and Arrow streams are read past
their end. So it is this one that reads. Each line of its input is a request in JSON; its answers are a mark, a length
of eight bytes, and so many bytes. It ends when its input does, and by itself when nothing is asked for a while.
`interlock.store.apart` asks it.
"""

from __future__ import annotations

import contextlib
import io
import os
import resource
import select
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

Kind = Literal["parquet", "arrow", "stream"]
FRAME, COUNT, FAILED, END = b"F", b"C", b"E", b"."
_IDLE_S: Final = 30.0
_LEAST: Final = 1 << 30  # what threads and allocators set aside counts too
_FLOOR: Final = 64 << 20  # a file that needs less is in nobody's way, however full a machine is
_GROUP: Final = Path("/sys/fs/cgroup")


class Request(msgspec.Struct, frozen=True):
    """What is asked.

    Attributes:
        path: the file, absolute.
        kind: its format.
        what: its rows, a table without rows for its columns and types, or how many rows it has.
        columns: which columns; none: all.
        start: how many rows to pass over.
        rows: about how many to give at a time.
    """

    path: str
    kind: Kind
    what: Literal["rows", "schema", "count"] = "rows"
    columns: tuple[str, ...] = ()
    start: int = 0
    rows: int = 1 << 17


class Failure(msgspec.Struct, frozen=True):
    """Why a file is not read: the name of the error, its sentence, and its number where the system said no."""

    error: str
    message: str
    number: int = 0


def memory_free() -> int:
    """Return how many bytes of memory this machine, or its control group, could still give; 4 GiB where it is not said.

    It is 64 MiB at least. Pages of files that nobody used lately count as free, as the kernel takes them back.

    Source: proc(5), "MemAvailable"; the kernel's cgroup-v2.rst, "memory.max", "memory.current" (which has the page
    cache) and "inactive_file" of "memory.stat".
    """
    free = 4 << 30
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        free = int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) * 1024
    with contextlib.suppress(OSError, ValueError):  # "max" is no number: no bound
        most = int((_GROUP / "memory.max").read_text("ascii"))
        used = int((_GROUP / "memory.current").read_text("ascii"))
        free = min(free, most - used + _inactive())
    return max(free, _FLOOR)


def _inactive() -> int:
    """Return how many bytes of its group's memory are files that were not used lately; 0 where it is not said."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = (_GROUP / "memory.stat").read_text("ascii").splitlines()
        return int(next(line for line in lines if line.startswith("inactive_file ")).split()[1])
    return 0


def main() -> None:
    """Answer requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # when memory gets short all the same, the kernel shall end this process first
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    with contextlib.suppress(BrokenPipeError):
        while select.select([sys.stdin.buffer], [], [], _IDLE_S)[0] and (line := sys.stdin.buffer.readline()):
            _answer(msgspec.json.decode(line, type=Request), answers)


def _answer(request: Request, answers: BinaryIO) -> None:
    import polars as pl

    try:
        _bound_memory()
        os.close(os.open(request.path, os.O_RDONLY))  # Polars' errors lack the system's number
        if request.what == "count":
            _say(answers, COUNT, str(_count(request)).encode())
        else:
            for frame in _frames(request):
                sink = io.BytesIO()
                frame.write_ipc_stream(sink)
                _say(answers, FRAME, sink.getbuffer())
    except BrokenPipeError:
        raise
    except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001 - whatever it is, the parent is told
        told = Failure(type(error).__name__, str(error), getattr(error, "errno", None) or 0)
        _say(answers, FAILED, msgspec.json.encode(told))
    else:
        _say(answers, END, b"")


def _say(answers: BinaryIO, mark: bytes, body: bytes | memoryview) -> None:
    answers.write(mark + len(body).to_bytes(8, "little"))
    rest = memoryview(body)
    while rest:
        rest = rest[answers.write(rest) :]


def _bound_memory() -> None:
    """Let this process take as much more memory as is free, so that it ends alone when a file unpacks to more."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
        data = int(next(line for line in lines if line.startswith("VmData:")).split()[1]) * 1024
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        bound = data + max(memory_free(), _LEAST)
        resource.setrlimit(resource.RLIMIT_DATA, (bound if most < 0 else min(bound, most), most))


def _scan(request: Request) -> pl.LazyFrame:
    import polars as pl

    if request.kind == "parquet":
        return pl.scan_parquet(request.path, glob=False, hive_partitioning=False)
    return pl.scan_ipc(request.path, glob=False, hive_partitioning=False)


def _count(request: Request) -> int:
    import polars as pl

    return int(_scan(request).select(pl.len()).collect().item())


def _frames(request: Request) -> Iterator[pl.DataFrame]:
    if request.kind == "stream":
        yield from _streamed(request)
        return
    scan = _scan(request)
    if request.what == "schema":
        yield scan.collect_schema().to_frame()
        return
    left = max(_count(request) - request.start, 0)
    if request.start:
        scan = scan.slice(request.start)
    if request.columns:
        scan = scan.select(request.columns)
    for frame in scan.collect_batches(chunk_size=request.rows, maintain_order=True):
        left -= frame.height
        yield frame
    if left:  # `collect_batches` ends without a word where one of Polars' threads panics
        raise ValueError(f"its rows end {left} rows early")


def _streamed(request: Request) -> Iterator[pl.DataFrame]:
    import polars as pl
    import pyarrow as pa  # type: ignore[import-untyped]

    start = request.start
    with pa.OSFile(request.path) as file, pa.ipc.open_stream(file) as stream:
        batches: Any = stream if request.what == "rows" else [stream.schema.empty_table()]
        for batch in batches:
            if batch.num_rows and start >= batch.num_rows:
                start -= batch.num_rows
                continue
            batch.validate(full=True)  # else Polars would read past the ends of its buffers
            wanted = batch.select(request.columns) if request.columns else batch
            frame = pl.from_arrow(wanted.slice(start))
            start = 0
            if isinstance(frame, pl.DataFrame):
                yield frame


if __name__ == "__main__":
    main()

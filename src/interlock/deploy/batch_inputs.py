"""Files that are scored, read from any row on, a batch at a time: Parquet, CSV, Arrow files and Arrow streams."""

from __future__ import annotations

import contextlib
import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from interlock.core.errors import Conflict, Invalid, MissingExtra, NotFound
from interlock.deploy.batch_records import Input
from interlock.store import apart

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    import polars as pl

    from interlock.store.apart_reader import Kind as KindApart

Kind = Literal["parquet", "csv", "arrow", "stream"]
_SUFFIXES: Final[Mapping[str, Kind]] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".ipc": "arrow",
    ".feather": "arrow",
}
_MAGIC: Final = b"ARROW1"  # an Arrow file begins with it, a stream does not
Stamp = tuple[int, int, int]


class Source(NamedTuple):
    """One file to be read.

    Attributes:
        path: where it is.
        kind: its format.
        stamp: size, time of change and inode, by which a change while it is read is noticed.
    """

    path: Path
    kind: Kind
    stamp: Stamp

    @property
    def text(self) -> bool:
        """Whether its columns are text whatever they mean."""
        return self.kind == "csv"


def sources(paths: Sequence[str | os.PathLike[str]]) -> list[Source]:
    """Return the files behind paths, in their order; a folder stands for the files in it that can be read.

    Raises:
        NotFound: one is not there, or a folder has none.
        Invalid: one is of no known format, cannot be read, or is named twice.
    """
    found: list[Source] = []
    for given in paths:
        path = Path(given)
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in _SUFFIXES and p.name[0] not in "._")
            if not inside:
                raise NotFound(f"No file in {str(path)!r} can be scored.", about="file", hint=_known())
            found += map(_source, inside)
        else:
            found.append(_source(path))
    seen: set[Path] = set()
    for source in found:
        if (real := source.path.resolve()) in seen:
            raise Invalid(f"{str(source.path)!r} is named twice.", about="file", hint="Name each file once.")
        seen.add(real)
    if not found:
        raise Invalid("No file is named.", about="file", hint="Name at least one with --input.")
    return found


def identify(source: Source) -> Input:
    """Return a file's digest.

    Cost: reads it once, 2 GB a second.
    """
    with _read(source), source.path.open("rb", buffering=0) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Input(source.path.name, digest, file.tell())


def check_unchanged(source: Source) -> None:
    """Accept a file that is still the one that was looked at first.

    Raises:
        Conflict: it is not.
    """
    with _read(source):
        if _stamp(source.path) != source.stamp:
            raise Conflict(
                f"{source.path.name!r} was changed while it was read.",
                about="file",
                hint="Nothing was published. Start again with --restart when it stays as it is.",
            )


def schema_of(source: Source) -> dict[str, pl.DataType]:
    """Return a file's columns and their types.

    Raises:
        Invalid: it is not what its name says.
    """
    with _read(source):
        if source.kind == "csv":
            return dict(_scan(source).collect_schema())
        return dict(apart.columns(source.path, _readable(source.kind)).schema)


def count_rows(source: Source) -> int | None:
    """Return how many rows a file has, None where only reading it all would tell."""
    if source.kind == "csv" or source.kind == "stream":  # noqa: PLR1714 - so the type checker knows the rest
        return None
    with _read(source):
        return apart.count(source.path, source.kind)


def batches(source: Source, columns: Sequence[str], start: int, rows: int) -> Iterator[pl.DataFrame]:
    """Return a file's rows in their order, some columns of them.

    Args:
        source: the file.
        columns: which columns.
        start: how many rows to pass over.
        rows: about how many to give at a time.

    Cost: memory does not grow with the file, but with its largest group of rows.
    """
    with _read(source):
        if source.kind != "csv":
            yield from apart.rows(source.path, _readable(source.kind), columns, start, rows)
            return
        scan = _scan(source)
        if start:
            scan = scan.slice(start)
        if columns:
            scan = scan.select(columns)
        yield from scan.collect_batches(chunk_size=rows, maintain_order=True)


def _scan(source: Source) -> pl.LazyFrame:
    import polars as pl

    # All columns stay text: what they spell is decided by the model's types, not by the first hundred rows.
    return pl.scan_csv(source.path, glob=False, infer_schema=False)


def _readable(kind: KindApart) -> KindApart:
    """Return how a process apart shall read a file, if it can; Polars ends on some damaged ones."""
    if kind == "stream" and find_spec("pyarrow") is None:
        raise MissingExtra.named("sql", "pyarrow")
    return kind


def _source(path: Path) -> Source:
    kind = _SUFFIXES.get(path.suffix.lower())
    try:
        stamp = _stamp(path)
        if kind == "arrow":
            with path.open("rb") as file:
                kind = "arrow" if file.read(len(_MAGIC)) == _MAGIC else "stream"
        else:
            path.open("rb").close()
    except FileNotFoundError:
        raise NotFound(f"There is no file {str(path)!r}.", about="file", path=str(path)) from None
    except OSError as error:
        raise Invalid(f"{str(path)!r} cannot be read: {error.strerror}.", about="file", path=str(path)) from None
    if kind is None:
        raise Invalid(f"{path.name!r} is of no format that can be scored.", about="file", hint=_known())
    return Source(path, kind, stamp)


def _stamp(path: Path) -> Stamp:
    about = path.stat()
    return about.st_size, about.st_mtime_ns, about.st_ino


@contextlib.contextmanager
def _read(source: Source) -> Iterator[None]:
    """Turn what reading raises into our errors, without the values that a reader may quote."""
    import polars as pl

    name = source.path.name
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, apart.Unreadable) as error:
        kind = {"stream": "an Arrow stream", "arrow": "an Arrow file", "csv": "CSV"}.get(source.kind, "Parquet")
        why = error.error if isinstance(error, apart.Unreadable) else type(error).__name__
        hint = "Each line needs as many fields as the header, in UTF-8." if source.text else _hint(why)
        raise Invalid(f"{name!r} cannot be read as {kind} ({why}).", about="file", hint=hint) from None
    except OSError as error:
        raise Invalid(f"{name!r} cannot be read: {error.strerror or type(error).__name__}.", about="file") from None


def _hint(why: str) -> str:
    """Return what may help where a reader failed: short of memory it says so, or ends by a signal as on damage."""
    end, memory = "Was it written to its end?", "its largest group of rows has to fit into the memory that is free."
    if why.endswith("MemoryError"):  # Python's own, or Arrow's
        return memory.capitalize()
    return f"{end} If so, {memory}" if why.startswith(("SIG", "status")) else end


def _known() -> str:
    return f"Files end in {', '.join(_SUFFIXES)}."

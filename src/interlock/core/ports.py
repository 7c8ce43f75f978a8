"""Ports: the small protocols behind which what users may bring themselves stands.

No base class and no list to edit: an object with these methods, found through an entry point (see `plugins`), is a
block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

T = TypeVar("T")
Row = dict[str, Any]


class Reader(Protocol):
    """Answers queries. Placeholders are `:name`; values are int, float, str, bytes or None."""

    def all(self, sql: str, values: Mapping[str, Any] | None = None) -> list[Row]:
        """Return all rows of a query, each a dict by column."""
        ...

    def one(self, sql: str, values: Mapping[str, Any] | None = None) -> Row | None:
        """Return the first row of a query, or None."""
        ...


class Transaction(Reader, Protocol):
    """A reader that may also change things, all or nothing."""

    def run(self, sql: str, values: Mapping[str, Any] | None = None) -> None:
        """Run one statement."""
        ...

    def run_many(self, sql: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Run one statement for each row of values."""
        ...


class Database(Reader, Protocol):
    """Rows that survive power loss. Any thread may call it; any process may open it."""

    def write(self, change: Callable[[Transaction], T]) -> T:
        """Return what `change` returns, after its transaction is on disk; nothing is changed if it raises."""
        ...

    def submit(self, change: Callable[[Transaction], T]) -> Awaitable[T]:
        """Return at once what will hold the result of `change`, for callers in an event loop."""
        ...

    def snapshot(self) -> AbstractContextManager[Reader]:
        """Give a reader that sees the database as it stands now, whatever is written while it reads."""
        ...

    def close(self) -> None:
        """Finish what was begun and let go of the file."""
        ...


class ObjectStore(Protocol):
    """Bytes by their SHA-256, checked whenever they are read."""

    def put(self, source: bytes | BinaryIO | Path) -> str:
        """Return the digest of the bytes, which are on disk when this returns."""
        ...

    def get(self, digest: str) -> bytes:
        """Return the bytes of an object."""
        ...

    def fetch(self, digest: str, target: Path) -> None:
        """Write the bytes of an object to a file."""
        ...

    def open(self, digest: str) -> BinaryIO:
        """Return an object as a file that can seek; whoever reads it checks it."""
        ...

    def size(self, digest: str) -> int | None:
        """Return how many bytes an object has, or None when it is not here."""
        ...

    def hold(self, digest: str) -> bool:
        """Return whether an object is here; if so, no collection removes it for a day, so that it can be named."""
        ...


class Held(NamedTuple):
    """What a store knows of an object; `touched_at` is when it was last put or held, in seconds since 1970."""

    size_bytes: int
    touched_at: float


class Removable(Protocol):
    """An object store from which a collection may remove what nothing names."""

    def digests(self) -> Iterable[str]:
        """Return the digests of all objects here."""
        ...

    def look(self, digest: str) -> Held | None:
        """Return what is known of an object, or None when it is not here."""
        ...

    def remove(self, digest: str, before: float) -> bool:
        """Return whether an object was removed: not one that was put or held since `before`."""
        ...

    def sweep(self, before: float) -> None:
        """Clear away what calls that broke off before then have left."""
        ...


class Flavor(Protocol):
    """Turns an estimator of one library into files that can be served without running its code."""

    name: str

    def recognise(self, estimator: object) -> bool:
        """Return whether this flavor knows the estimator."""
        ...

    def save(self, estimator: object, sample: Any, folder: Path) -> Mapping[str, Any]:
        """Write the estimator's files into a folder; return facts about them (names, agreement)."""
        ...


class DataFormat(Protocol):
    """Reads tables from files of one kind; where `typed` is false, its columns are text whatever they mean."""

    name: str
    suffixes: Sequence[str]
    typed: bool

    def read(self, path: Path) -> Any:
        """Return the table of a file as a Polars frame."""
        ...

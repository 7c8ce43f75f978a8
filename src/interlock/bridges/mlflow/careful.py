"""Reading the records of strangers one at a time, so that a bad one costs only itself, and a large one no memory."""

from __future__ import annotations

import http.client
import operator
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

import apsw
import msgspec

from interlock.core.errors import Error, Invalid
from interlock.store.inbox import distinct
from interlock.store.segments import MAX_POINTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from interlock.bridges.mlflow.records import Point

_Item = TypeVar("_Item")
_Found = TypeVar("_Found")
_Record = TypeVar("_Record", bound=msgspec.Struct)

UNREADABLE: Final = (
    Error,
    OSError,  # files and connections
    ValueError,  # numbers, text that is none
    OverflowError,  # numbers of more than 64 bits
    RecursionError,  # JSON nested without end
    msgspec.MsgspecError,
    apsw.Error,
    http.client.HTTPException,
)
"""What reading and keeping a stranger's record may end in: what it says is not what it should be, or cannot be had."""
LARGEST_TEXT: Final = 4 << 20
"""The most bytes of a tag or param; MLflow takes 8,000 letters, and 100,000 of a prompt."""
LARGEST_RECORD: Final = 32 << 20
"""The most bytes of a record; the largest is a dataset's, whose profile MLflow lets have 16 MiB."""


def each(items: Iterable[tuple[str, _Item]], read: Callable[[_Item], _Found], left: list[str]) -> Iterator[_Found]:
    """Yield what is read of each item; of those that cannot be read, the reason goes to `left`.

    Args:
        items: what each is called in the report, and the item.
        read: reads one of them.
        left: is told what could not be read.
    """
    for name, item in items:
        try:
            found = read(item)
        except UNREADABLE as error:
            left.append(f"{name}: {why(error)}")
        else:
            yield found


def why(error: Exception) -> str:
    """Return what an error says, for the report: its message with its hint, or its type and text."""
    if isinstance(error, Error):
        return f"{error.message} {error.hint}".strip() if error.hint else error.message
    return f"{type(error).__name__}: {error}"


def checked(record: _Record) -> _Record:
    """Return a record whose values are of the types that it names, nested ones made by this function too.

    Raises:
        ValueError: a text is none (it holds half a character).
        msgspec.ValidationError: a value is of another type.
    """
    msgspec.json.encode(record)
    return msgspec.convert(msgspec.structs.asdict(record), type(record))


def is_inside(path: Path, *folders: Path) -> bool:
    """Return whether a path, all links followed, lies in one of these folders (a ring of links does not).

    Args:
        path: the path, which need not exist.
        folders: the folders, resolved.
    """
    try:
        found = path.resolve()
    except (OSError, RuntimeError, ValueError):  # a ring of links; a name that no disk has
        return False
    return any(found.is_relative_to(folder) for folder in folders)


def read_bounded(path: Path, most: int) -> bytes:
    """Return the bytes of a file that has at most so many.

    Raises:
        Invalid: it has more, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror or error}.", about="import") from None
    if len(data) > most:
        raise Invalid(f"{path} is larger than {most:,} bytes, which no such record of MLflow's is.", about="import")
    return data


def pieces(points: Iterable[Point]) -> Iterator[list[Point]]:
    """Yield points that come in order as lists that fit into segments; the same point again is left out."""
    some, last = list[tuple[int, int, float]](), None
    for point in points:
        if last is not None and _same(point, last):
            continue
        if len(some) == MAX_POINTS:
            yield some
            some = []
        some.append(point)
        last = point
    if some:
        yield some


def in_order(points: list[Point]) -> list[Point]:
    """Return points in order of step, instant and value, each once."""
    ascending = all(map(operator.lt, points, islice(points, 1, None)))
    return points if ascending else distinct(points)


def _same(left: Point, right: Point) -> bool:
    return left[:2] == right[:2] and (left[2] == right[2] or (left[2] != left[2] and right[2] != right[2]))

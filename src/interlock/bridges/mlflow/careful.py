"""Reading the records of strangers one at a time, so that a bad one costs only itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from interlock.core.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_Item = TypeVar("_Item")
_Found = TypeVar("_Found")
_Record = TypeVar("_Record", bound=msgspec.Struct)


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
        except Exception as error:  # noqa: BLE001 - the border to a store that anyone may have made
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

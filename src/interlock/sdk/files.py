"""Files on their way in: a path of the caller becomes a `StoredFile`, whose bytes wait for the operation."""

from __future__ import annotations

import itertools
import os
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from interlock.core.errors import Invalid, NotFound
from interlock.core.files import StoredFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from interlock.core.operations import Operation
    from interlock.store import Store

_LONGEST_NAME = 255
_NEIGHBOURS = 1000  # of a folder with more files only so many are looked at for a hint


def is_file_type(kind: Any) -> bool:
    """Return whether values of a type are stored files: `StoredFile`, or a list, dict or option of it."""
    return kind is StoredFile or any(is_file_type(part) for part in typing.get_args(kind))


def send_files(operation: Operation, arguments: Mapping[str, Any], put: Callable[[Path], StoredFile]) -> dict[str, Any]:
    """Return arguments in which each path that stands for a stored file has become one.

    Args:
        operation: whose arguments they are.
        arguments: the arguments by name.
        put: sends one file.

    Raises:
        NotFound: one file is not there; none is sent then.
        Invalid: one is a folder, or may not be read; none is sent then.
    """
    files = {parameter.name for parameter in operation.parameters if is_file_type(parameter.type)}
    for name in files & arguments.keys():
        _send(arguments[name], _look)
    return {name: _send(value, put) if name in files else value for name, value in arguments.items()}


def _send(value: Any, put: Callable[[Path], StoredFile]) -> Any:
    if isinstance(value, str | os.PathLike):
        return put(Path(value))
    if isinstance(value, list | tuple):
        return [_send(item, put) for item in value]
    if isinstance(value, dict) and not value.keys() & {"digest"}:
        return {name: _send(item, put) for name, item in value.items()}
    return value


def _look(path: Path) -> StoredFile:
    """Return what stands for a file that is there, before any is sent."""
    open_file(path).close()
    return StoredFile(path.name, "", 0)


def open_file(path: Path) -> BinaryIO:
    """Return a caller's file, opened for reading.

    Raises:
        NotFound: it is not there.
        Invalid: it is a folder, or may not be read.
    """
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise NotFound(
            f"There is no file {str(path)!r}.", about="file", hint=_neighbours(path), path=str(path)
        ) from None
    except IsADirectoryError:
        raise Invalid(
            f"{str(path)!r} is a folder, not a file.", about="file", hint="Name the files in it.", path=str(path)
        ) from None
    except (OSError, ValueError) as error:  # ValueError: the name holds a zero byte
        reason = getattr(error, "strerror", None) or str(error)
        raise Invalid(f"{str(path)!r} cannot be read: {reason}.", about="file", path=str(path)) from None


def _neighbours(path: Path) -> str:
    """Return a hint made of the near names in the same folder."""
    try:
        names = [entry.name for entry in itertools.islice(path.parent.iterdir(), _NEIGHBOURS)]
    except (OSError, ValueError):
        return "Its folder is not there either."
    return NotFound.named("file", path.name, names).hint


def receive_file(store: Store, source: BinaryIO, name: str, call: str) -> StoredFile:
    """Return a file whose bytes wait among the uploads.

    Args:
        store: where they wait.
        source: the stream of the bytes.
        name: the file's name, without folders.
        call: the id of the call that it belongs to.

    Raises:
        Invalid: the name cannot be a file's.
    """
    if not _is_file_name(name):
        raise Invalid(f"{name!r} cannot be the name of a file.", about="file", hint="Give it without its folders.")
    digest, size = store.uploads.put(source, call)
    return StoredFile(name, digest, size)


def check_files(store: Store, value: Any) -> None:
    """Accept an argument whose stored files are here, with the size that they claim.

    Raises:
        NotFound: the bytes of one are not here.
        Invalid: one has another size.
    """
    if isinstance(value, StoredFile):
        size = store.uploads.size(value.digest)
        if size is None:
            raise NotFound.named("object", value.digest, hint=f"Send {value.name!r} first.")
        if size != value.size_bytes:
            raise Invalid(f"{value.name!r} has {size} bytes, not {value.size_bytes}.", about="file")
        if not _is_file_name(value.name):
            raise Invalid(f"{value.name!r} cannot be the name of a file.", about="file")
    elif isinstance(value, list | tuple):
        for item in value:
            check_files(store, item)
    elif isinstance(value, dict):
        for item in value.values():
            check_files(store, item)


def _is_file_name(name: str) -> bool:
    plain = name not in {"", ".", ".."} and not any(c in "/\\" or ord(c) < ord(" ") or c == "\x7f" for c in name)
    return plain and len(name) <= _LONGEST_NAME

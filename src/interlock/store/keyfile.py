"""Keys of a workspace in files for its owner only: made on first use, whole or not there, never replaced."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from interlock.core.errors import Corrupt
from interlock.store.objects import sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable

BYTES: Final = 32


def secret_key(path: Path) -> bytes:
    """Return the 32 random bytes that a file holds, which is made when it is missing.

    Processes that make it at once get the same key.

    Raises:
        Corrupt: the file has another length.
    """
    key = kept(path, lambda: os.urandom(BYTES))
    if len(key) != BYTES:
        raise Corrupt(
            f"{path.name} is damaged: it has {len(key)} bytes, not {BYTES}.",
            about="workspace",
            hint="Put it back from a backup; what it sealed cannot be opened without it.",
        )
    return key


def kept(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return what a file for its owner only holds; it is made when it is missing.

    Processes that make it at once get the same bytes.

    Args:
        path: the file.
        make: returns what a new one holds.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        _make(path, make())
        return path.read_bytes()


def _make(path: Path, key: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        with os.fdopen(handle, "wb") as sink:
            sink.write(key)
            sink.flush()
            os.fsync(sink.fileno())
        with contextlib.suppress(FileExistsError):  # of two who do this at once one wins, and both read the winner's
            os.link(name, path)
    finally:
        Path(name).unlink()
    sync_folder(path.parent)

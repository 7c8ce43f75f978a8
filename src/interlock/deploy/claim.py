"""A deployment's files in the workspace, and the lock by which one process at a time changes what runs.

The files are named by a digest of the deployment's name, so that no text of a client becomes part of a path. A lock
(`flock`) belongs to the open file: it ends with its process, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TAKEN: Final = 3
"""The exit status of a server (`interlock.serve`) that found another one serving its deployment."""
_FOLDER: Final = "replicas"
_POLL_S: Final = 0.05


class Announcement(msgspec.Struct, frozen=True):
    """What the announce file says."""

    pid: int
    url: str
    revision: int


def place(root: Path, deployment: str, suffix: str) -> Path:
    """Return the file of a deployment with this suffix; its folder is made if it is missing.

    Raises:
        Unavailable: the folder cannot be made.
    """
    folder = root / _FOLDER
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise Unavailable(f"{_FOLDER} cannot be made: {error.strerror}.", about="workspace") from None
    return folder / (hashlib.sha256(deployment.encode()).hexdigest()[:32] + suffix)


@contextlib.contextmanager
def turn(root: Path, deployment: str, wait_s: float) -> Iterator[None]:
    """Let one caller at a time change what runs for a deployment.

    Raises:
        Unavailable: another one is still at it after `wait_s` seconds.
    """
    with _lock(place(root, deployment, ".lock"), wait_s) as held:
        if not held:
            raise Unavailable(f"Somebody else is changing what runs for {deployment!r}.", about="deployment")
        yield


@contextlib.contextmanager
def _lock(path: Path, wait_s: float) -> Iterator[bool]:
    """Yield whether this caller has the lock, which others of this process or of another one may hold."""
    deadline = time.monotonic() + wait_s
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"{path.name} cannot be opened: {error.strerror}.", about="workspace") from None
    try:
        while not (held := _try(handle)) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        yield held
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)  # a forked child may hold a copy of the handle
        os.close(handle)


def _try(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

"""Who serves a workspace: one process at a time, held by a lock that ends with its process.

Two servers would each keep in memory what waits of the same runs, and answer on two addresses. Commands that open the
workspace beside a server do not serve it, so this lock does not concern them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.errors import Conflict, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

_FILE: Final = "server.lock"
_LONGEST: Final = 4096


class Holder(msgspec.Struct, frozen=True):
    """What the lock's file says of the process that holds it.

    Attributes:
        pid: its number.
        since: when it began to serve (UTC).
        address: where it answers; "" while it begins.
    """

    pid: int
    since: datetime
    address: str = ""


class ServerLock:
    """The right to serve a workspace, held until `release` or the end of the process, however it ends.

    Args:
        root: the workspace's folder.
        since: the present instant.

    Raises:
        Conflict: another server holds it; the message names it.
        Unavailable: the file cannot be opened.
    """

    def __init__(self, root: Path, since: datetime) -> None:
        try:
            handle = os.open(root / _FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(f"{_FILE} cannot be opened: {error.strerror}.", about="workspace") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = _read(handle)
            os.close(handle)
            raise _taken(held) from None
        self._handle = handle
        self._holder = Holder(os.getpid(), since)
        self._write(self._holder)

    def announce(self, address: str) -> None:
        """Say where the server answers."""
        self._write(msgspec.structs.replace(self._holder, address=address))

    def release(self) -> None:
        """Let another process serve the workspace; again is nothing new."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(handle, 0)
            os.close(handle)

    def _write(self, holder: Holder) -> None:
        """Write who holds the lock, as well as the disk lets us: the lock itself needs no room."""
        text = msgspec.json.encode(holder)
        with contextlib.suppress(OSError):
            os.pwrite(self._handle, text, 0)
            os.ftruncate(self._handle, len(text))


def _read(handle: int) -> Holder | None:
    try:
        return msgspec.json.decode(os.pread(handle, _LONGEST, 0), type=Holder)
    except (OSError, msgspec.MsgspecError):  # it is being written
        return None


def _taken(held: Holder | None) -> Conflict:
    who = f"Process {held.pid}" if held else "Another process"
    where = f" at {held.address}" if held and held.address else ""
    since = f" since {held.since:%Y-%m-%d %H:%M:%S} UTC" if held else ""
    return Conflict(
        f"{who} serves this workspace{where}{since}.",
        about="workspace",
        hint="Use that server, or end it first. Commands and scripts work beside it.",
        holder=msgspec.to_builtins(held),
    )

"""What a server process holds towards others: its address, its deployment's lock, and the file that announces it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import socket
from typing import TYPE_CHECKING

import msgspec

from interlock.core.errors import Conflict, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Announcement(msgspec.Struct, frozen=True):
    """What the announce file says."""

    pid: int
    url: str
    revision: int
    grpc_port: int = 0  # 0: none


def write_announcement(path: Path, announcement: Announcement) -> None:
    """Write an announce file: it is whole, or as it was before.

    Raises:
        Unavailable: it cannot be written.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(msgspec.json.encode(announcement))
        temporary.replace(path)
    except OSError as error:
        raise Unavailable(f"The announce file cannot be written: {error.strerror}.", about="announcement") from None


@contextlib.contextmanager
def claim(root: Path, deployment: str) -> Iterator[None]:
    """Be the one server of a deployment in this workspace; the lock ends with the process, however that ends.

    Raises:
        Conflict: another one is.
    """
    folder = root / "replicas"
    try:
        folder.mkdir(exist_ok=True)
        # A digest, as in `interlock.deploy.claim`: no text of a client becomes part of a path.
        name = hashlib.sha256(deployment.encode()).hexdigest()[:32]
        handle = os.open(folder / f"{name}.serving.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"The serving lock cannot be opened: {error.strerror}.", about="workspace") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"Another server of this workspace serves {deployment!r} already.",
                about="server",
                hint=f"See `interlock deploy show {deployment}`.",
            ) from None
        yield
    finally:
        os.close(handle)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address, port 0 for a free one; raises Unavailable where it cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"{host}:{port} cannot be listened on: {error.strerror}.",
            about="address",
            hint="Name another --port, or 0 for a free one.",
        ) from None
    return listener


def is_alive(pid: int) -> bool:
    """Return whether there is a process of this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

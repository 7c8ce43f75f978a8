"""What a `Workspace` stands on: a folder of this machine, or a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from interlock.core.files import StoredFile
    from interlock.core.operations import Operation


class Backend(Protocol):
    """Runs operations, and takes and gives bytes."""

    location: str

    def call(self, operation: Operation, arguments: Mapping[str, Any], call: str = "") -> Any:
        """Return what an operation returns; when it ends, the files sent for this call go, but for what it kept."""
        ...

    def put(self, path: Path, call: str) -> StoredFile:
        """Return a file of the caller's machine, sent for the call of this id (a ULID)."""
        ...

    def read(self, digest: str) -> bytes:
        """Return the bytes of an object."""
        ...

    def save(self, digest: str, path: Path) -> None:
        """Write the bytes of an object to a file."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...

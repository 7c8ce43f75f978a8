"""A workspace in a folder of this machine."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, BinaryIO

from interlock.core.errors import MissingExtra
from interlock.sdk import arguments as wire
from interlock.sdk.files import check_files, open_file, receive_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from interlock.core.files import StoredFile
    from interlock.core.operations import Operation
    from interlock.sdk.catalog import Catalog
    from interlock.store import Store


class LocalBackend:
    """Calls the services over one store.

    Args:
        store: what the workspace remembers; closed with the backend.
        catalog: the services.
    """

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self.store = store
        self.location = str(store.project)
        self._catalog = catalog
        self._services: dict[str, Any] = {}
        self._lock = threading.Lock()

    def call(self, operation: Operation, arguments: Mapping[str, Any], call: str = "") -> Any:
        """Return what an operation returns; its arguments are checked as a server would check them."""
        return self.run(operation, wire.decode(wire.encode(operation, arguments)), call)

    def run(self, operation: Operation, plain: Mapping[str, Any], call: str = "") -> Any:
        """Return what an operation returns for plain, unchecked values, such as a decoded request.

        Args:
            operation: what is run.
            plain: its arguments by name.
            call: the id under which its files were sent; what it does not keep of them is gone afterwards.

        Raises:
            MissingExtra: the operation needs a library of an extra that is not installed.
            Error: whatever the operation raises.
        """
        try:
            ready = wire.typed(operation, plain)
            for value in ready.values():
                check_files(self.store, value)
            return getattr(self._service(operation.service), operation.name)(**ready)
        except ModuleNotFoundError as error:  # the border of a core install: every heavy import is behind it
            if missing := MissingExtra.behind(error):
                raise missing from error
            raise
        finally:
            if call:
                self.store.uploads.release(call)

    def put(self, path: Path, call: str) -> StoredFile:
        """Return a file, which waits for its call."""
        with open_file(path) as source:
            return receive_file(self.store, source, path.name, call)

    def put_stream(self, name: str, source: BinaryIO, call: str) -> StoredFile:
        """Return a stream of bytes as a file of this name, which waits for its call."""
        return receive_file(self.store, source, name, call)

    def read(self, digest: str) -> bytes:
        """Return the bytes of an object, checked."""
        return self.store.objects.get(digest)

    def save(self, digest: str, path: Path) -> None:
        """Write the bytes of an object to a file, checked."""
        self.store.objects.fetch(digest, path)

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def _service(self, name: str) -> Any:
        with self._lock:
            if name not in self._services:
                self._services[name] = self._catalog.service(name)(self.store)
            return self._services[name]

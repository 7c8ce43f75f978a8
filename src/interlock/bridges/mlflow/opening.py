"""Which store an address means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from interlock.bridges.mlflow.database import DatabaseSource
from interlock.bridges.mlflow.folder import FolderSource
from interlock.bridges.mlflow.places import LocalPlaces
from interlock.bridges.mlflow.server import ServerSource
from interlock.core.errors import Invalid

if TYPE_CHECKING:
    from interlock.bridges.mlflow.records import Source


def open_source(address: str, artifacts: Path | None = None) -> Source:
    """Return the store at an address, for reading.

    Args:
        address: a server (`http://...`), a database (`sqlite:///file`), or a folder (`mlruns`, `file:///...`).
        artifacts: the folder that the store's server kept proxied files in, if it did; other files outside the store's
            folder are taken only from there.

    Raises:
        NotFound: there is nothing there.
        Invalid: it is no store of MLflow.
        Unavailable: the server does not answer.
    """
    if address.startswith(("http://", "https://")):
        return ServerSource(address)
    if address.startswith("sqlite:///"):
        path = Path(unquote(address.removeprefix("sqlite:///")))
        return DatabaseSource(path, LocalPlaces(path.absolute().parent, artifacts))
    if "://" in address and not address.startswith("file://"):
        raise Invalid(
            f"A store at {address.partition(':')[0]}:// cannot be read directly.",
            about="import",
            hint="Start its server (`mlflow server --backend-store-uri ...`) and import from its address.",
        )
    folder = Path(unquote(address.removeprefix("file://")))
    if folder.suffix in {".db", ".sqlite", ".sqlite3"}:
        return DatabaseSource(folder, LocalPlaces(folder.absolute().parent, artifacts))
    return FolderSource(folder, LocalPlaces(folder.absolute().parent, artifacts, within=folder))

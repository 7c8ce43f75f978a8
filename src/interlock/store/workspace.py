"""Where a workspace keeps what it keeps: one folder, and everything in it opened together."""

from __future__ import annotations

import os
from pathlib import Path  # noqa: TC003 - a field of a dataclass
from typing import TYPE_CHECKING

import msgspec

from interlock.core.clock import Clock, SystemClock
from interlock.core.errors import Corrupt, NotFound
from interlock.core.ids import new_id
from interlock.store.ledger import Ledger
from interlock.store.objects import FolderObjects, sync_folder
from interlock.store.predictions import PredictionLog
from interlock.store.series import Series
from interlock.store.sqlite import SqliteDatabase
from interlock.store.uploads import Uploads

if TYPE_CHECKING:
    from interlock.core.ports import Database, ObjectStore

FOLDER = ".interlock"
_FORMAT = 1


class Identity(msgspec.Struct, frozen=True):
    """What `workspace.json` says: who this workspace is, and which format its folder has."""

    id: str
    format: int


class Store:
    """Everything a workspace remembers.

    Attributes:
        root: the workspace's folder (`.interlock`).
        project: the folder beside it, with interlock.toml and the user's code.
        database: entities, events, the queue.
        objects: bytes by digest.
        uploads: bytes of clients, until an operation keeps them.
        ledger: every event, provable.
        series: metric points.
        predictions: the prediction log.
        clock: where the time comes from.
    """

    def __init__(self, root: Path, clock: Clock | None = None) -> None:
        self.root = root
        self.project = root.parent
        self.clock: Clock = clock or SystemClock()
        self.identity = _identity(root)
        self.database: Database = SqliteDatabase(root / "interlock.db")
        self.objects: ObjectStore = FolderObjects(root / "objects")
        self.uploads = Uploads(root / "uploads", self.objects)
        self.ledger = Ledger(self.database, self.clock, root / "keys", f"interlock/{self.identity.id.lower()}")
        self.series = Series(self.database)
        self.predictions = PredictionLog(root / "predictions")

    def close(self) -> None:
        """Finish what was begun and let go of the files."""
        self.database.close()


def create_store(root: Path, clock: Clock | None = None) -> Store:
    """Return the store in a folder, which is made if it is missing."""
    root.mkdir(parents=True, exist_ok=True)
    identity = root / "workspace.json"
    if not identity.exists():
        temporary = root / f"workspace.{os.getpid()}.tmp"
        with temporary.open("wb") as file:
            file.write(msgspec.json.encode(Identity(new_id(), _FORMAT)))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, identity)  # of two processes that do this at once, one wins and both agree
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
        sync_folder(root)
    return Store(root, clock)


def open_store(root: Path, clock: Clock | None = None) -> Store:
    """Return the store in a folder.

    Raises:
        NotFound: there is no workspace.
        Corrupt: it was written by a newer Interlock, or is damaged.
    """
    if not (root / "workspace.json").exists():
        raise NotFound(
            f"There is no workspace in {root.parent}.",
            about="workspace",
            hint="Run `interlock init` there, or name another with --workspace.",
        )
    return Store(root, clock)


def _identity(root: Path) -> Identity:
    try:
        identity = msgspec.json.decode((root / "workspace.json").read_bytes(), type=Identity)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"workspace.json is damaged: {error}.", about="workspace") from None
    if identity.format != _FORMAT:
        raise Corrupt(
            f"The workspace has format {identity.format}; this Interlock reads {_FORMAT}.",
            about="workspace",
            hint="Install the version that wrote it.",
        )
    return identity

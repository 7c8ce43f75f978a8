"""Delivery of what dead processes left: runs that were recorded while the server was away, or that were killed."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import time
from typing import TYPE_CHECKING, ClassVar, Final

import msgspec

from interlock.core.errors import Corrupt
from interlock.sdk.recording.delivery import Courier
from interlock.sdk.recording.spool import SpoolReader, outbox_of
from interlock.store.blocklog import remove_unnamed, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from interlock.sdk.workspace import Workspace

_BEGINNING_S: Final = 60.0  # a writer makes its folder and then, at once, its first log


class Synced(msgspec.Struct, frozen=True):
    """What became of one writer's spool.

    Attributes:
        writer: its id.
        workspace: where it went.
        batches: how many batches were delivered now.
        runs: the runs that they are about.
        refused: what the server would not take, with the reason; its bytes are kept in the outbox's `refused`.
    """

    TABLE: ClassVar = ("writer", "workspace", "batches", "runs", "refused")

    writer: str
    workspace: str
    batches: int
    runs: tuple[str, ...]
    refused: tuple[str, ...] = ()


def waiting(location: str) -> list[tuple[Path, str]]:
    """Return the folders of writers in a workspace's outbox and what each is for, oldest first, the living ones too."""
    found = []
    root = outbox_of(location)
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if folder.is_dir() and not folder.is_symlink() and folder.name != "refused":
            with contextlib.suppress(OSError, Corrupt):
                found.append((folder, SpoolReader(folder).location()))
    return found


def sync(workspace: Workspace, stop: Callable[[], bool] = lambda: False, *, everything: bool = False) -> list[Synced]:
    """Deliver what dead writers left for a workspace; return what became of each.

    Args:
        workspace: where to.
        stop: asked between batches; when it is true, the rest is left for another time.
        everything: deliver what was meant for other addresses too.

    Raises:
        Unavailable: the server is away; what it has not, stays.
    """
    done = []
    for folder, location in waiting(workspace.location):
        if location not in {"", workspace.location} and not everything:
            continue
        try:
            with _alone(folder) as mine:
                result = _carry(workspace, folder, stop) if mine and not stop() else None
        except Corrupt as error:  # what is sound before the damage was delivered; the files stay for whoever looks
            result = Synced(folder.name, workspace.location, 0, (), (str(error),))
        if result is not None:
            done.append(result)
    return done


def _carry(workspace: Workspace, folder: Path, stop: Callable[[], bool]) -> Synced | None:
    """Deliver one dead writer's spool and remove it; None when there was nothing in it."""
    reader, courier = SpoolReader(folder), Courier(workspace, folder)
    open_runs, at = reader.open_runs()
    runs: dict[str, None] = {}
    count = 0
    for batch in reader.batches(ended=True):
        if stop():
            return None
        courier.carry(batch)
        reader.mark(batch)
        runs.update(dict.fromkeys(entry.run for entry in batch.entries))
        count += 1
    courier.end(open_runs, at)
    shutil.rmtree(folder, ignore_errors=True)
    if not count and not open_runs:
        return None
    return Synced(folder.name, workspace.location, count, tuple(runs), tuple(map(str, courier.refusals)))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Give whether the writer of a folder is dead and nobody else is delivering it."""
    try:
        file = (folder / "sync.lock").open("w")
    except FileNotFoundError:  # delivered meanwhile
        yield False
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield _is_dead(folder)


def _is_dead(folder: Path) -> bool:
    logs = SpoolReader(folder).logs
    if not logs:
        remove_unnamed(folder)
        return time.time() - folder.stat().st_mtime > _BEGINNING_S and not any(folder.glob("*.log*"))
    try:
        return all(settle(path) for path in reversed(logs))
    except FileNotFoundError:
        return False

"""A model opened by reference, for callers that hold tables in this process."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

from interlock.core.errors import MissingExtra
from interlock.sdk.workspace import Workspace

if TYPE_CHECKING:
    import os

    from interlock.core.ports import ObjectStore
    from interlock.serve.tables import TableModel

Place = Workspace | str | None


class Opened(NamedTuple):
    """A model in this process.

    Attributes:
        ref: the version, such as model:credit@3, whatever it was called by.
        table: what answers tables.
    """

    ref: str
    table: TableModel


class _Objects:
    """The objects of a workspace, here or behind an address, as a model's loader reads them."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._kept: dict[str, bytes] = {}  # what was opened, for it is often got next

    def get(self, digest: str) -> bytes:
        """Return the bytes of an object, checked against its digest."""
        kept = self._kept.get(digest)
        return self._workspace.read(digest) if kept is None else kept

    def open(self, digest: str) -> BinaryIO:
        """Return an object as a file, checked already."""
        self._kept[digest] = self.get(digest)
        return io.BytesIO(self._kept[digest])

    def forget(self) -> None:
        """Let go of what was opened."""
        self._kept.clear()


def open_model(model: str, workspace: Workspace | str | os.PathLike[str] | None = None) -> Opened:
    """Return the version that a reference means now; that it means another later changes nothing here.

    Args:
        model: model:NAME@3, model:NAME@champion, or model:NAME for the newest.
        workspace: an open workspace, a folder or address; None looks as `Workspace.open` does.

    Raises:
        NotFound: there is no such workspace or version.
        Invalid: no file of the version can answer.
        Denied: only its original could answer.
        MissingExtra: what it runs on is not installed.

    Cost: loads the model.
    """
    if isinstance(workspace, Workspace):
        return _open(model, workspace)
    with Workspace.open(workspace) as opened:
        return _open(model, opened)


def _open(model: str, workspace: Workspace) -> Opened:
    try:
        from interlock.serve.tables import open_table

        version: Any = workspace.registry.version(model)
        objects = _Objects(workspace)
        table = open_table(cast("ObjectStore", objects), version.ref, version.bundle)  # loading only reads
        objects.forget()
        return Opened(version.ref, table)
    except ModuleNotFoundError as error:
        if missing := MissingExtra.behind(error):
            raise missing from error
        raise

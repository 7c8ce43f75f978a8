"""`interlock.data.load`: the rows of a version, from whichever workspace has it.

A workspace may be a folder or an address, and a run may want to remember what was read: both are matters of rooms above
this one. The room that opens workspaces enters itself here, when the front door loads it.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final, Protocol

from interlock.core.errors import MissingExtra

if TYPE_CHECKING:
    import polars as pl


class Source(Protocol):
    """Where versions are read from."""

    def __call__(self, ref: str, workspace: Any) -> tuple[str, bytes]:
        """Return the whole reference of a version, and the bytes of its Parquet file."""
        ...


_sources: Final[list[Source]] = []


def read_through(source: Source) -> None:
    """Let versions be read through a source from now on."""
    _sources[:] = [source]


def load(ref: str, workspace: Any = None) -> pl.DataFrame:
    """Return the rows of a version of a dataset; the run that goes on remembers that it read them.

    Args:
        ref: such as `people@3`, `people@latest` or `data:people@3`.
        workspace: a project folder, a server's address or an open `Workspace`; without it, the one of the run that goes
            on, or else the nearest one.

    Raises:
        NotFound: there is no such dataset or version, or no workspace.
        MissingExtra: Polars is not installed.

    Cost: the version's file in memory, and its rows.
    """
    try:
        import polars as pl
    except ModuleNotFoundError:
        raise MissingExtra.named("data", "polars") from None
    if not _sources:
        from interlock import run  # noqa: F401 - the front door may load rooms above; that one enters itself here
    _, content = _sources[0](ref, workspace)
    return pl.read_parquet(io.BytesIO(content))

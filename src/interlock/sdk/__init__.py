"""`Workspace`: every service of Interlock, over a folder or over an address."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interlock.sdk.workspace import Workspace

__all__ = ["Workspace"]


def __getattr__(name: str) -> object:
    """Return `Workspace`, imported when it is first asked for (the command line's help does without)."""
    if name != "Workspace":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from interlock.sdk.workspace import Workspace

    return Workspace

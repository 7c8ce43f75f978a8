"""Where bytes rest: database, objects, series, predictions, ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interlock.store.workspace import FOLDER, Store, create_store, open_store

__all__ = ["FOLDER", "Store", "create_store", "open_store"]


def __getattr__(name: str) -> Any:
    # Opened on first use, so that a part of the room (merkle, say) can be used alone.
    if name in __all__:
        from interlock.store import workspace

        return getattr(workspace, name)
    raise AttributeError(name)

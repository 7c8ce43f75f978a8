"""What every part of the registry service stands on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.registry.catalogue import Catalogue

if TYPE_CHECKING:
    from interlock.store import Store


class Part:
    """A part of the registry service: the operations of one idea.

    Args:
        store: the workspace.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._books = Catalogue(store)

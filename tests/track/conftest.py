"""The parts of tracking over a real workspace, and short ways to call them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from interlock.store import Store
from interlock.track.records import Start
from interlock.track.tracker import Tracker

Write = Callable[..., Any]


@pytest.fixture
def tracker(store: Store) -> Tracker:
    return Tracker(store)


@pytest.fixture
def write(store: Store) -> Write:
    """Call something in a transaction of its own; what it takes first is the transaction."""

    def run(function: Callable[..., Any], *values: Any, **words: Any) -> Any:
        return store.database.write(lambda tx: function(tx, *values, **words))

    return run


@pytest.fixture
def kinds(store: Store) -> Callable[[str], list[str]]:
    """Return the kinds of the events about a subject."""
    return lambda subject: [event.kind for event in store.ledger.events(subject=subject)]


@pytest.fixture
def run(tracker: Tracker, write: Write) -> str:
    """A run of experiment `e`."""
    made: str = write(tracker.runs.create, Start("e"))
    return made

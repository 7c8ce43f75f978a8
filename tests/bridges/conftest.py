"""A workspace, its webhooks, and receivers: real HTTP servers of this machine that remember what came."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from webhook_receiver import Receiver  # found on the path added above

from interlock.bridges.webhooks import History, Reach, Sender, WebhookBook
from interlock.bridges.webhooks.book import Wanted
from interlock.core.clock import FixedClock
from interlock.registry.catalogue import Catalogue
from interlock.store import Store, create_store


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def later(clock: FixedClock):
    def move(seconds: float) -> None:
        clock.at += timedelta(seconds=seconds)

    return move


@pytest.fixture
def store(tmp_path: Path, clock: FixedClock) -> Iterator[Store]:
    opened = create_store(tmp_path / ".interlock", clock)
    yield opened
    opened.close()


@pytest.fixture
def catalogue(store: Store) -> Catalogue:
    return Catalogue(store)


@pytest.fixture
def reach() -> Reach:
    return Reach(private=True)


@pytest.fixture
def book(store: Store, reach: Reach) -> WebhookBook:
    return WebhookBook(store, reach)


@pytest.fixture
def history(store: Store, book: WebhookBook) -> History:
    return History(store, book)


@pytest.fixture
def sender(store: Store, reach: Reach) -> Sender:
    """A sender that is not started: `look` sends what is due, in the test's thread."""
    return Sender(store, reach)


@pytest.fixture
def hook(book: WebhookBook, receiver: Receiver):
    """Makes webhooks that point to the receiver."""

    def make(*events: str, **more: Any):
        face = more.pop("face", "mlflow")
        wanted = {"name": "hook", "url": receiver.url, "events": events or ("registered_model.created",), **more}
        return book.create(Wanted(**wanted), face)

    return make


@pytest.fixture
def make_model(store: Store, catalogue: Catalogue):
    def make(name: str, **more: Any) -> None:
        store.database.write(lambda tx: catalogue.models.create(tx, name, **more))

    return make

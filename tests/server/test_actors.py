"""Who acts travels with the call: into the thread of the request, and into that of the database's writer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.core.actor import acting_as
from interlock.sdk.workspace import Workspace
from interlock.server.run import serving
from interlock.store import create_store


@pytest.fixture(params=["local", "remote"])
def workspace(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Workspace]:
    with Workspace.over(create_store(tmp_path / ".interlock")) as local:
        if request.param == "local":
            yield local
            return
        with serving(local) as address, Workspace.open(address) as remote:
            yield remote


def test_events_of_services_name_their_author(workspace: Workspace) -> None:
    with acting_as("user:ann"):
        workspace.track.start({"experiment": "trees"})
    with acting_as("job:nightly"):
        workspace.ledger.erase(0, "asked for")
    actors = {event.kind: event.actor for event in workspace.ledger.events()}
    assert actors == {"experiment.created": "user:ann", "run.started": "user:ann", "payload.erased": "job:nightly"}

"""A workspace behind its application, spoken to in this process."""

from __future__ import annotations

import contextvars
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parent))

from protocol_api import Api  # found on the path added above

from interlock.sdk.workspace import Workspace
from interlock.server.app import create_app
from interlock.server.mlflow.app import MlflowApp
from interlock.server.mlflow.routing import Route
from interlock.store import open_store
from interlock.store.ledger import Ledger

BASE = "http://127.0.0.1:8230"
PACKER = "interlock:tracking"  # packing changes nothing that anybody said
READING: contextvars.ContextVar[str] = contextvars.ContextVar("reading", default="")


@pytest.fixture(autouse=True)
def reading_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hold every route that asks for no more than a permission to read to that, whatever a test does with it."""
    told: list[tuple[str, str]] = []
    run, append = MlflowApp._run, Ledger.append

    def watched(self: MlflowApp, route: Route, call: Any, body: bytes) -> Any:
        if route.permission is not None:
            self.adapter.prepare()
        reads = route.permission is not None and route.permission.reads_only
        token = READING.set(f"{route.method} {route.path}" if reads else "")
        try:
            return run(self, route, call, body)
        finally:
            READING.reset(token)

    def noted(self: Ledger, tx: Any, kind: str, subject: str, data: Any, actor: str = "") -> Any:
        if READING.get() and actor != PACKER:
            told.append((READING.get(), kind))
        return append(self, tx, kind, subject, data, actor)

    monkeypatch.setattr(MlflowApp, "_run", watched)
    monkeypatch.setattr(Ledger, "append", noted)
    yield
    assert told == [], "a route under a permission to read wrote events"


@pytest.fixture
def workspace(tmp_path: Path, blank: Path) -> Iterator[Workspace]:
    shutil.copytree(blank, tmp_path / ".interlock")
    with Workspace.over(open_store(tmp_path / ".interlock")) as opened:
        yield opened


@pytest.fixture
def client(workspace: Workspace) -> Iterator[TestClient]:
    with TestClient(create_app(workspace), base_url=BASE, raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture
def api(client: TestClient) -> Api:
    return Api(client)

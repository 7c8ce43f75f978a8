"""A workspace with the example service, and a client of its application that speaks as a loopback client would."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns that it would rather stand on another HTTP client
    from starlette.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parents[1] / "sdk"))

from notes_service import SERVICES  # found on the path added above

from interlock.sdk.workspace import Workspace
from interlock.server.app import create_app
from interlock.store import create_store

BASE = "http://127.0.0.1:8230"


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.over(create_store(tmp_path / ".interlock"), services=SERVICES) as opened:
        yield opened


@pytest.fixture
def client(workspace: Workspace) -> Iterator[TestClient]:
    with TestClient(create_app(workspace), base_url=BASE, raise_server_exceptions=False) as opened:
        yield opened

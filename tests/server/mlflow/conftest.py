"""A workspace behind its application, spoken to in this process."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parent))

from protocol_api import Api  # found on the path added above

from interlock.sdk.workspace import Workspace
from interlock.server.app import create_app
from interlock.store import open_store

BASE = "http://127.0.0.1:8230"


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

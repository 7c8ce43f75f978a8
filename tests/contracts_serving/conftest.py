"""Three models, each served by `interlock serve` in a real workspace, over HTTP and gRPC.

The tests run where the clients are installed and `interlock` is not. Collected elsewhere, this folder is empty.
"""

from __future__ import annotations

import contextlib
import json
import os
from importlib.metadata import distributions
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENTS_ARE_HERE = any(distributions(name="tritonclient"))
if not CLIENTS_ARE_HERE:
    collect_ignore_glob = ["*"]

SERVED = "CONTRACTS_SERVED"  # what a part of the tests is told that runs in a process of its own


class Served(NamedTuple):
    """A model that is served: the addresses of its protocols, and what scikit-learn says about some rows."""

    name: str
    http: str
    grpc: str
    version: str
    datatypes: dict[str, str]
    columns: dict[str, list[Any]]
    probability: list[float]
    probabilities: list[list[float]]
    classes: list[Any]
    label: list[Any]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.label)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Served]]:
    """The models by name: `line`, with floats only, `shop`, with texts, and `named`, with three named classes."""
    if told := os.environ.get(SERVED):
        yield {name: Served(**facts) for name, facts in json.loads(told).items()}
        return
    from servers import endpoint, free_port, register

    folder = tmp_path_factory.mktemp("workspace")
    models = register(folder)
    with contextlib.ExitStack() as stack:
        found = {}
        for name, facts in models.items():
            port = free_port()
            server = stack.enter_context(endpoint(folder, name, "--grpc-port", str(port)))
            found[name] = Served(name=name, http=server.address, grpc=f"127.0.0.1:{port}", **facts)
        yield found


@pytest.fixture
def line(served: dict[str, Served]) -> Served:
    return served["line"]


@pytest.fixture
def shop(served: dict[str, Served]) -> Served:
    return served["shop"]


@pytest.fixture
def named(served: dict[str, Served]) -> Served:
    return served["named"]


@pytest.fixture(params=["line", "shop"])
def model(request: pytest.FixtureRequest, served: dict[str, Served]) -> Served:
    """Each model in turn."""
    return served[request.param]

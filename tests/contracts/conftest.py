"""One server for all contract tests (ours, or MLflow's own to check the tests by), and clients that talk to it.

The tests run where `mlflow` is installed and `interlock` is not. Collected elsewhere, this folder is empty.
"""

from __future__ import annotations

import os
import uuid
from importlib.metadata import distributions
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlflow import MlflowClient
    from servers import Server
    from wire import Wire

# Not find_spec: a folder of tests that is called mlflow would do for it.
CLIENTS_ARE_HERE = any(distributions(name="mlflow"))
if not CLIENTS_ARE_HERE:
    collect_ignore_glob = ["*"]

# How the clients behave: no calls home, no long retries, no fits thrown at a missing git, no guesses at requirements
# (each would import the model in a fresh process, for seconds), no waits for batches of traces. The notebook does
# these the users' way.
CLIENT = {
    "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT": "1",
    "MPLBACKEND": "Agg",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    if CLIENTS_ARE_HERE:
        parser.addoption(
            "--server", choices=["interlock", "mlflow"], default="interlock", help="whose server is driven"
        )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--server", "interlock") != "mlflow":
        return
    for item in items:
        if mark := item.get_closest_marker("ours_only"):
            item.add_marker(pytest.mark.skip(reason=f"ours only: {mark.args[0]}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    routes = [name for mark in item.iter_markers("route") for name in mark.args]
    if report.failed and routes:
        report.sections.append(("routes", "\n".join(routes)))
        report.user_properties.append(("routes", ", ".join(routes)))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    failed = [report for kind in ("failed", "error") for report in terminalreporter.stats.get(kind, [])]
    named = [(report.nodeid, dict(getattr(report, "user_properties", ())).get("routes")) for report in failed]
    if any(routes for _, routes in named):
        terminalreporter.section("routes of the failures")
        for nodeid, routes in named:
            terminalreporter.write_line(f"{nodeid}: {routes or '?'}")


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that all tests of this run share."""
    from servers import START

    with START[request.config.getoption("--server")](tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.fixture(scope="session", autouse=True)
def _environment(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Point the clients to the server in the way that users do, from a folder where nothing is."""
    import mlflow

    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            patch.delenv(name)
        for name, value in {**CLIENT, "MLFLOW_TRACKING_URI": server.address}.items():
            patch.setenv(name, value)
        folder = tmp_path_factory.mktemp("cwd")
        patch.chdir(folder)
        yield
        mlflow.flush_trace_async_logging(terminate=True)
        assert [path.name for path in folder.iterdir()] == [], "a client wrote to its folder, not to the server"


@pytest.fixture(autouse=True)
def _as_it_was(_environment: None, server: Server) -> Iterator[None]:
    """Start and leave each test with the client at the server and without a run, whatever the test did."""
    import mlflow

    mlflow.set_tracking_uri(server.address)
    yield
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(server.address)


@pytest.fixture
def client(server: Server) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient()


@pytest.fixture(scope="session")
def wire(server: Server) -> Wire:
    """Plain HTTP, for what a client would hide."""
    from wire import Wire

    return Wire(server.address)


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Makes names that no other test has."""
    return lambda stem="it": f"{stem}-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def experiment(client: MlflowClient, unique: Callable[[str], str]) -> str:
    """The id of an empty experiment."""
    return client.create_experiment(unique("experiment"))


@pytest.fixture
def run(client: MlflowClient, experiment: str) -> str:
    """The id of a run that has nothing yet."""
    return client.create_run(experiment).info.run_id


@pytest.fixture
def active(experiment: str) -> Iterator[str]:
    """The id of the run that the fluent calls of this test write to."""
    import mlflow

    mlflow.set_experiment(experiment_id=experiment)
    with mlflow.start_run() as started:
        yield started.info.run_id

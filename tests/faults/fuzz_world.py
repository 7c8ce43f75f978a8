"""A workspace in which much has happened, and the requests that made it."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from fuzz_bodies import harvest
from fuzz_targets import Real, recorded
from fuzz_wire import Line, Shot

from interlock.core.errors import Error
from interlock.core.ids import new_id
from interlock.sdk.connections import Connections
from interlock.sdk.workspace import Workspace
from interlock.store import create_store
from interlock.store.manifests import put_folder

sys.path.insert(0, str(Path(__file__).parents[1] / "sdk"))

import cases

MLFLOW: Final = "/api/2.0/mlflow/"
# What takes half a second and more, and what starts processes: in the ordinary run their requests are made, not sent.
SLOW: Final = frozenset({"audit.prepare", "loop.candidate", "loop.turn", "deploy.start", "audit.check"})
PROJECT: Final = """
[project]
name = "fuzzed"

[data.people]
id = "person"
target = "employed"

[data.people.columns]
age = { range = [0, 120] }

[pipeline.train]
entry = "pipeline:twice"

[monitor.d]
window = "1 month"
"""
PIPELINE: Final = """
def twice(number: int = 1) -> int:
    return 2 * number
"""


class StandIn:
    """Stands for what did not happen: it has every attribute and every item."""

    def __getattr__(self, _: str) -> Any:
        return _PLACEHOLDER

    def __getitem__(self, _: int) -> Any:
        return self


_PLACEHOLDER: Final = "0" * 26


class Told(cases.Past):
    """A past in which what did not happen has something to stand for it."""

    def __init__(self, folder: Path, bundle: str) -> None:
        super().__init__(folder, bundle)
        self.results = defaultdict(lambda: [StandIn()])


class World(NamedTuple):
    """Where requests go, and what is known there.

    Attributes:
        folder: the workspace's.
        real: what was really sent, by route.
        known: values that are there, by the name of the field that holds such.
        mlflow: the same, as the MLflow protocol calls them.
    """

    folder: Path
    real: dict[str, list[Real]]
    known: dict[str, list[Any]]
    mlflow: dict[str, list[Any]]


def prepare(folder: Path) -> str:
    """Return the digest of a bundle that a new workspace holds, in a folder with files for operations."""
    from interlock.registry.flavors.build import build_bundle

    (folder / "files").mkdir(parents=True)
    people = [f"{number},{18 + number * 7 % 60},{number * 7 % 60 // 25 % 2}" for number in range(400)]
    for name, rows in {"people": people, "apart": people[::3], "older": people[50:150]}.items():
        (folder / f"files/{name}.csv").write_text("person,age,employed\n" + "\n".join(rows) + "\n")
    (folder / "files/strange.csv").write_text("person,age,extra\n1,30,a\n1,410,b\n")
    (folder / "files/empty.csv").write_text("")
    (folder / "interlock.toml").write_text(PROJECT)
    (folder / "pipeline.py").write_text(PIPELINE)
    import polars as pl
    from sklearn.linear_model import LogisticRegression

    frame = pl.read_csv(folder / "files/people.csv")
    estimator = LogisticRegression().fit(frame.select("age"), frame["employed"])
    build_bundle(estimator, inputs=frame.select("age"), target="employed", evaluation=frame, folder=folder / "bundle")
    store = create_store(folder / ".interlock")
    try:
        return put_folder(store.objects, folder / "bundle")
    finally:
        store.close()


def play(host: str, folder: Path, bundle: str, *, whole: bool) -> World:
    """Return the world after the story of tests/sdk/cases.py was told to a server."""
    real: dict[str, list[Real]] = defaultdict(list, recorded())
    known: dict[str, list[Any]] = {}
    past = Told(folder / "files", bundle)
    with Workspace.open(f"http://{host}") as workspace, recording(real):
        for case in cases.CASES:
            service, _, name = case.operation.partition(".")
            if service not in workspace.catalog.names:
                continue
            try:
                arguments = case.arguments(past) if callable(case.arguments) else case.arguments or {}
            except LookupError:  # what it needs is there only where the example service of those tests is
                continue
            plain = msgspec.to_builtins(arguments, enc_hook=lambda value: str(value)[:26])
            route = f"POST /api/v1/{service}/{name}"
            # What is refused here is well-formed: where the story has been longer, it is answered.
            real[route].append(Real(media="application/json", body=plain, here=True))
            if not whole and case.operation in SLOW:
                continue
            try:
                result = workspace.call(service, name, arguments)
            except Error:
                continue
            past.results[case.operation] = [*(past.results.get(case.operation) or ()), result]
            harvest(msgspec.to_builtins(result), known)
            harvest(plain, known)
    return World(folder, real, known, log_into(Line(host)))


@contextlib.contextmanager
def recording(real: dict[str, list[Real]]) -> Iterator[None]:
    """Add what our client sends meanwhile, where it is answered well, to what was really sent."""
    exchange = Connections.exchange

    @contextlib.contextmanager
    def recorded_exchange(self: Any, method: str, path: str, body: Any, headers: Any, timeout_s: float) -> Any:
        with exchange(self, method, path, body, headers, timeout_s) as response:
            if response.status == 200:
                path, _, query = path.partition("?")
                route = re.sub(r"/objects/\w+", "/objects/{digest}", path)
                media = headers.get("Content-Type", "")
                plain = msgspec.msgpack.decode(body) if media == "application/msgpack" else b"some,bytes\n1,2\n"
                pairs = tuple(tuple(pair.split("=", 1)) for pair in query.split("&") if pair)
                real[f"{method} {route}"].append(Real({}, pairs, media, plain, here=True))
            yield response

    Connections.exchange = recorded_exchange
    try:
        yield
    finally:
        Connections.exchange = exchange


def log_into(line: Line) -> dict[str, list[Any]]:
    """Make one of each thing of the MLflow protocol, and return what they are called."""
    known: dict[str, list[Any]] = {}

    def post(path: str, body: Any, method: str = "POST") -> Any:
        media = (("Content-Type", "application/json"),)
        reply = line.ask(
            Shot(method, path if path.startswith("/") else MLFLOW + path, media, json.dumps(body).encode())
        )
        assert reply.status == 200, (path, reply)
        found = json.loads(reply.body)
        harvest(found, known)
        return found

    name = f"fuzzed-{new_id()}"
    experiment = post("experiments/create", {"name": name})["experiment_id"]
    run = post("runs/create", {"experiment_id": experiment, "run_name": "r"})["run"]["info"]["run_id"]
    files = [f"{experiment}/{run}/artifacts/d/x.json", f"{experiment}/{run}/artifacts/y.txt"]
    for path in files:
        post(f"/api/2.0/mlflow-artifacts/artifacts/{path}", {}, "PUT")
    metrics = [{"key": "k", "value": step / 2, "timestamp": step, "step": step} for step in range(50)]
    post("runs/log-batch", {"run_id": run, "metrics": metrics, "params": [{"key": "p", "value": "1"}]})
    model = post("logged-models", {"experiment_id": experiment, "name": "l", "source_run_id": run})["model"]["info"]
    post("registered-models/create", {"name": name})
    post("model-versions/create", {"name": name, "source": f"runs:/{run}/d"})
    post("registered-models/alias", {"name": name, "alias": "best", "version": "1"})
    event = {"entity": "BUDGET_POLICY", "action": "EXCEEDED"}
    hook = post("webhooks", {"name": "h", "url": "http://localhost:9/", "events": [event]})
    trace = f"tr-{secrets.token_hex(16)}"
    location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
    info = {"trace_id": trace, "trace_location": location, "request_time": "2026-01-01T00:00:00Z", "state": "OK"}
    post("/api/3.0/mlflow/traces", {"trace": {"trace_info": info}})
    said = {"assessment_name": "a", "source": {"source_type": "HUMAN", "source_id": "x"}, "feedback": {"value": True}}
    told = post(f"/api/3.0/mlflow/traces/{trace}/assessments", {"assessment": {**said, "trace_id": trace}})
    upload = post(f"/api/2.0/mlflow-artifacts/mpu/create/{experiment}/{run}/artifacts", {"path": "big", "num_parts": 1})
    part = line.ask(Shot("PUT", f"/api/2.0/mlflow-artifacts/mpu/part/{upload['upload_id']}/1", body=b"part"))
    signed = post("artifacts/presigned-upload-url", {"run_id": run, "path": "z"})["presigned_url"]
    line.close()
    return known | {
        "name": [name],
        "experiment_id": [experiment],
        "run_id": [run],
        "run_uuid": [run],
        "model_id": [model["model_id"]],
        "trace_id": [trace],
        "request_id": [trace],
        "assessment_id": [told["assessment"]["assessment_id"]],
        "path": [*files, f"{experiment}/{run}/artifacts", "d/x.json", f"{experiment}/{run}/artifacts/new", "big"],
        "alias": ["best"],
        "version": ["1"],
        "metric_key": ["k"],
        "upload": [upload["upload_id"]],
        "upload_id": [upload["upload_id"]],
        "number": ["1", "2"],
        "part_number": [1],
        "etag": [part.headers["etag"]],
        "webhook_id": [hook["webhook"]["webhook_id"]],
        "url": ["http://localhost:9/"],
        "token": [signed.split("/")[-2]],
    }

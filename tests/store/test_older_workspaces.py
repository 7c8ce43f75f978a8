"""Whole workspaces that older code made (`older/README.md`), opened with today's: all is there, and work goes on."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from interlock.cli.main import run as run_command
from interlock.sdk.workspace import Workspace
from interlock.server.app import create_app

OLDER = Path(__file__).parent / "older"
ODD = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}
Points = list[tuple[int, int, str]]


class Older:
    """A workspace that was unpacked, what is known of it, and today's server over it."""

    def __init__(self, name: str, workspace: Workspace, client: TestClient) -> None:
        self.facts = json.loads((OLDER / f"{name}.json").read_text(encoding="ascii"))
        self.workspace, self.store, self.client = workspace, workspace.store, client

    def get(self, path: str, api: str = "2.0", /, **query: Any) -> Any:
        answer = self.client.get(f"/api/{api}/mlflow/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, api: str = "2.0", /, **body: Any) -> Any:
        answer = self.client.post(f"/api/{api}/mlflow/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def digest(self, place: str) -> str:
        answer = self.client.get(f"/api/2.0/mlflow-artifacts/artifacts/{place}")
        assert answer.status_code == 200, answer.text
        return hashlib.sha256(answer.content).hexdigest()

    def points(self, run: str, key: str) -> Points:
        """All points as the library reads them."""
        return sorted((step, at // 1000, str(value)) for step, at, value in self.store.series.points(run, key))

    def history(self, run: str, key: str) -> Points:
        """All points as clients read them, in pages of 50."""
        found, token = [], ""
        while True:
            page = self.get("metrics/get-history", run_id=run, metric_key=key, max_results=50, page_token=token)
            for point in page["metrics"]:
                value = point["value"]
                found.append((int(point.get("step", 0)), int(point["timestamp"]), ODD.get(value, str(float(value)))))
            if not (token := page.get("next_page_token", "")):
                return sorted(found)

    def told(self) -> Iterator[tuple[str, str, Points]]:
        """Run, metric and points of all that was ever logged."""
        for run, fact in self.facts["runs"].items():
            for key, points in fact["points"].items():
                yield run, key, sorted((step, at, value) for step, at, value in points)

    def count(self, table: str) -> int:
        return int(self.store.database.one(f"SELECT count(*) AS n FROM {table}")["n"])


def unpack(name: str, folder: Path) -> Path:
    with tarfile.open(OLDER / f"{name}.tar.xz") as archive:
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # not in the first releases of 3.11
        archive.extractall(folder / ".interlock", **safely)
    return folder


@pytest.fixture(params=["before-0014", "before-0015"])
def older(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Older]:
    with (
        Workspace.open(unpack(request.param, tmp_path)) as workspace,
        TestClient(create_app(workspace), base_url="http://127.0.0.1:8230", raise_server_exceptions=False) as client,
    ):
        yield Older(request.param, workspace, client)


def test_the_archives_are_what_they_are_called() -> None:
    archives = sorted(OLDER.glob("*.tar.xz"))
    assert [archive.with_suffix("").stem for archive in archives] == ["before-0014", "before-0015"]
    assert all(archive.stat().st_size < 300_000 for archive in archives)


def test_points_are_read_where_they_wait_and_where_they_are_packed(older: Older) -> None:
    assert older.count("metric_inbox") == older.facts["waiting"] > 0
    assert older.count("metric_segments") == older.facts["segments"] > 0
    told = list(older.told())
    assert sum(len(points) for *_, points in told) > 700
    for run, key, points in told:
        assert older.points(run, key) == points, (run, key)
        assert older.history(run, key) == points, (run, key)
    everything = older.post(
        "runs/search", experiment_ids=list(older.facts["experiments"]), order_by=["metrics.m0 DESC"]
    )
    assert {run["info"]["run_id"] for run in everything["runs"]} == set(older.facts["runs"])
    for run, fact in older.facts["runs"].items():
        if fact["status"] == "RUNNING":
            older.post("runs/update", run_id=run, status="FINISHED", end_time=1_700_000_090_000)
    assert older.count("metric_inbox") == 0
    for run, key, points in told:
        assert older.points(run, key) == points, (run, key)
        assert older.history(run, key) == points, (run, key)
    assert older.store.ledger.verify().ok


def test_runs_are_what_they_were(older: Older) -> None:
    for ident, fact in older.facts["experiments"].items():
        shown = older.get("experiments/get", experiment_id=ident)["experiment"]
        assert shown["name"] == fact["name"]
        assert {tag["key"]: tag["value"] for tag in shown["tags"]} == fact["tags"]
    for ident, fact in older.facts["runs"].items():
        run = older.get("runs/get", run_id=ident)["run"]
        info, data = run["info"], run["data"]
        assert (info["run_name"], info["status"], info["user_id"]) == (fact["name"], fact["status"], "ann")
        assert {param["key"]: param["value"] for param in data["params"]} == fact["params"]
        assert fact["tags"].items() <= {tag["key"]: tag["value"] for tag in data["tags"]}.items()
        newest = {key: max(points, key=lambda one: (one[0], one[1])) for key, points in fact["points"].items()}
        shown = {one["key"]: (int(one.get("step", 0)), int(one["timestamp"])) for one in data["metrics"]}
        assert shown == {key: (point[0], point[1]) for key, point in newest.items()}
        assert [one["dataset"]["digest"] for one in run["inputs"]["dataset_inputs"]] == ["abc"]
        for path, digest in fact["files"].items():
            assert older.digest(f"{fact['experiment']}/{ident}/artifacts/{path}") == digest
        assert [one["path"] for one in older.get("artifacts/list", run_id=ident)["files"]] == ["a.txt", "b"]


def test_runs_are_found(older: Older) -> None:
    def found(text: str) -> set[str]:
        runs = older.post("runs/search", experiment_ids=list(older.facts["experiments"]), filter=text).get("runs", [])
        return {run["info"]["run_name"] for run in runs}

    assert found("metrics.loss < 0.5") == {"failed"}
    assert found("metrics.w0 > 0 or metrics.m1 > 0") == {"waiting", "packed"}
    assert found("params.kind = 'tree' and tags.name LIKE 'pack%'") == {"packed"}
    assert found("status = 'RUNNING' and datasets.name = 'd'") == {"waiting", "of-model"}


def test_logged_models_and_traces_are_what_they_were(older: Older) -> None:
    for ident, fact in older.facts["logged_models"].items():
        model = older.get(f"logged-models/{ident}")["model"]
        key, value = fact["metric"]
        assert (model["info"]["status"], model["info"]["source_run_id"]) == ("LOGGED_MODEL_READY", fact["run"])
        assert model["data"]["params"] == [{"key": "p", "value": "1"}]
        assert [(one["key"], one["value"]) for one in model["data"]["metrics"]] == [(key, value)]
        assert older.digest(f"{model['info']['experiment_id']}/models/{ident}/artifacts/MLmodel") == fact["file"]
    fact = older.facts["trace"]
    trace = older.get("traces/get", "3.0", trace_id=fact["id"])["trace"]
    info, spans = trace["trace_info"], trace["spans"]
    assert (info["state"], info["execution_duration"], info["request_preview"]) == ("OK", "0.109s", "why?")
    assert info["tags"]["kind"] == "chat"
    assert info["trace_metadata"]["session"] == "s1"
    assert [one["assessment_name"] for one in info["assessments"]] == ["good"]
    colours = {
        span["name"]: next(one["value"]["string_value"] for one in span["attributes"] if one["key"] == "colour")
        for span in spans
    }
    assert colours == fact["spans"]
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": fact["experiment"]}}
    for text in (
        "span.attributes.colour = 'blue2'",
        "span.name = 'step1'",
        "metadata.session = 's1'",
        "feedback.good = 'true'",
    ):
        hits = older.post("traces/search", "3.0", locations=[place], filter=text)
        assert [one["trace_id"] for one in hits["traces"]] == [fact["id"]], text
    assert "traces" not in older.post("traces/search", "3.0", locations=[place], filter="span.name = 'step3'")


def test_models_are_what_they_were(older: Older) -> None:
    fact = older.facts["model"]
    model = older.get("registered-models/get", name=fact["name"])["registered_model"]
    assert model["description"] == "Pays back"
    assert {one["alias"]: one["version"] for one in model["aliases"]} == fact["aliases"]
    assert model["tags"] == [{"key": "k", "value": "v"}]
    for number, told in older.facts["versions"].items():
        version = older.get("model-versions/get", name=fact["name"], version=number)["model_version"]
        assert version["source"].endswith(told["source"].split(":")[1].strip("/").split("/")[-1])
        assert {tag["key"]: tag["value"] for tag in version["tags"]} == told["tags"]
        assert version["current_stage"] == ("Staging" if number == fact["staging"] else "None")
    assert older.digest(f"registry/{fact['name']}/1/c.bin") == fact["digest_of_file"]
    registry = older.workspace.registry

    def found(text: str) -> list[str]:
        return [version.ref for version in registry.find(text).versions]

    assert len(found("")) == 4
    assert found("alias = 'best'") == ["model:credit@2"]
    assert found("mlflow_stage = 'Staging' and params.kind = 'tree' and metrics.m0 > 0") == ["model:credit@1"]
    assert found("tags.from = 's3:/'") == ["model:credit@3"]
    assert found("feature = 'income' and datasets.name = 'people'") == ["model:happy@1"]
    assert found("stage = 'deployed'") == ["model:happy@1"]


def test_data_deployments_and_the_ledger_are_what_they_were(older: Older) -> None:
    facts, workspace = older.facts, older.workspace
    ledger = older.store.ledger
    assert ledger.root(facts["ledger"]["size"]).hex() == facts["ledger"]["root"]
    verified = ledger.verify()
    assert (verified.ok, verified.checkpoints) == (True, 1)
    versions = workspace.data.versions(facts["dataset"]["name"])
    assert [older.store.objects.get(version.digest)[:4] for version in versions] == [b"PAR1", b"PAR1"]
    assert [workspace.data.profile(version.ref).rows for version in versions] == facts["dataset"]["rows"]
    fact = facts["deployment"]
    (shown,) = workspace.deploy.deployments()
    assert (shown.name, shown.live, [route.model for route in shown.routes]) == (fact["name"], False, ["model:happy@1"])
    assert workspace.registry.version("model:happy@1").bundle == fact["bundle"]
    told = {answer["prediction_id"]: answer["probability"] for answer in fact["scores"]}
    rows = list(older.store.predictions.rows(fact["name"]))
    assert {row.id: row.score for row in rows} == pytest.approx(told, abs=1e-9)
    assert [row.inputs["age"] for row in rows] == fact["ages"]


def test_work_goes_on(older: Older) -> None:
    """What was written before and what is written now are one: points, versions, events."""
    run = next(run for run, fact in older.facts["runs"].items() if fact["name"] == "waiting")
    before = older.points(run, "w0")
    older.post("runs/log-metric", run_id=run, key="w0", value=1.25, timestamp=1_800_000_000_000, step=999)
    assert older.points(run, "w0") == [*before, (999, 1_800_000_000_000, "1.25")]
    older.post("runs/update", run_id=run, status="FINISHED", end_time=1_800_000_000_001)
    assert older.history(run, "w0") == [*before, (999, 1_800_000_000_000, "1.25")]
    made = older.post("model-versions/create", name="credit", source=f"runs:/{run}/b", run_id=run)["model_version"]
    assert made["version"] == "4"
    assert older.workspace.registry.find("metrics.w0 = 1.25").versions[0].ref == "model:credit@4"
    other = older.post("runs/create", experiment_id="0")["run"]["info"]["run_id"]
    older.post("runs/log-batch", run_id=other, metrics=[{"key": "a", "value": 1, "timestamp": 1, "step": 0}])
    assert older.points(other, "a") == [(0, 1, "1.0")]
    assert older.store.ledger.verify().ok


@pytest.mark.parametrize("name", ["before-0014", "before-0015"])
def test_commands_open_it(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = str(unpack(name, tmp_path))
    assert run_command(["runs", "ls", "--workspace", place, "--json"]) == 0
    shown = capsys.readouterr().out
    for run in json.loads((OLDER / f"{name}.json").read_text(encoding="ascii"))["runs"]:
        assert run in shown
    assert run_command(["ledger", "verify", "--workspace", place]) == 0
    assert run_command(["registry", "version", "model:credit@best", "--workspace", place, "--json"]) == 0
    assert '"model:credit@2"' in capsys.readouterr().out

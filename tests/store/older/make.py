"""Makes a workspace with something in every store, by the code that it finds: an older commit's, see README.md.

It speaks MLflow's protocol and the services, which change less than what rests on disk. What it writes is also what it
expects to be read: `facts.json` comes from what was said here, never from what the old code read back.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import math
import os
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

T0 = 1_700_000_000_000  # milliseconds
TRACE = f"tr-{7:032x}"
ODD = {"nan": math.nan, "high": math.inf, "low": -math.inf}


class Maker:
    """Writes into a workspace and remembers what."""

    def __init__(self, workspace: Any, client: Any) -> None:
        self.workspace = workspace
        self.store = workspace.store
        self.client = client
        self.facts: dict[str, Any] = {"experiments": {}, "runs": {}, "logged_models": {}, "versions": {}}

    def post(self, path: str, method: str = "POST", prefix: str = "/api/2.0/mlflow", /, **body: Any) -> Any:
        """Return the answer of a route of the protocol, which must be content."""
        answer = self.client.request(method, f"{prefix}/{path}", json=body)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()

    def put(self, place: str, path: str, content: bytes) -> str:
        """Store an artifact and return its digest."""
        answer = self.client.put(f"/api/2.0/mlflow-artifacts/artifacts/{place}/artifacts/{path}", content=content)
        assert answer.status_code == 200, answer.text
        return hashlib.sha256(content).hexdigest()

    def experiment(self, name: str) -> str:
        """Make an experiment."""
        ident = str(
            self.post("experiments/create", name=name, tags=[{"key": "team", "value": "risk"}])["experiment_id"]
        )
        self.facts["experiments"][ident] = {"name": name, "tags": {"team": "risk"}}
        return ident

    def run(self, experiment: str, name: str, batches: list[list[tuple[str, float, int, int]]], status: str) -> str:
        """Make a run; `batches` are lists of (key, value, milliseconds, step), `status` "" leaves it running."""
        made = self.post("runs/create", experiment_id=experiment, run_name=name, user_id="ann", start_time=T0)
        run = str(made["run"]["info"]["run_id"])
        params, tags = {"depth": str(len(name)), "kind": "tree"}, {"colour": "blue", "name": name}
        for batch in batches:
            metrics = [
                {"key": key, "value": str(value), "timestamp": at, "step": step} for key, value, at, step in batch
            ]
            self.post("runs/log-batch", run_id=run, metrics=metrics)
        self.post(
            "runs/log-batch",
            run_id=run,
            params=[{"key": key, "value": value} for key, value in params.items()],
            tags=[{"key": key, "value": value} for key, value in tags.items()],
        )
        self.post(
            "runs/log-inputs",
            run_id=run,
            datasets=[{"dataset": {"name": "d", "digest": "abc", "source_type": "local", "source": "d.csv"}}],
        )
        files = {
            path: self.put(f"{experiment}/{run}", path, f"{name} {path}\n".encode() * 40)
            for path in ("a.txt", "b/c.bin")
        }
        if status:
            self.post("runs/update", run_id=run, status=status, end_time=T0 + 60_000)
        points: dict[str, list[list[Any]]] = {}
        for key, value, at, step in [point for batch in batches for point in batch]:
            points.setdefault(key, []).append([step, at, str(value)])
        self.facts["runs"][run] = {
            "experiment": experiment,
            "name": name,
            "status": status or "RUNNING",
            "params": params,
            "tags": tags,
            "files": files,
            "points": points,
        }
        return run

    def logged_model(self, experiment: str, run: str) -> str:
        """Make a logged model with a file and a metric."""
        made = self.post(
            "logged-models",
            experiment_id=experiment,
            name="tree",
            model_type="sklearn",
            source_run_id=run,
            params=[{"key": "p", "value": "1"}],
            tags=[{"key": "t", "value": "x"}],
        )
        ident = str(made["model"]["info"]["model_id"])
        digest = self.put(f"{experiment}/models/{ident}", "MLmodel", b"flavors:\n  python_function: {}\n")
        self.post("runs/log-metric", run_id=run, key="of_model", value=0.5, timestamp=T0, step=3, model_id=ident)
        self.post(f"logged-models/{ident}", "PATCH", model_id=ident, status="LOGGED_MODEL_READY")
        self.facts["runs"][run]["points"]["of_model"] = [[3, T0, "0.5"]]
        self.facts["logged_models"][ident] = {"run": run, "file": digest, "metric": ["of_model", 0.5]}
        return ident

    def trace(self, experiment: str) -> None:
        """Make a trace of two spans, with an assessment."""
        place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
        info = {
            "trace_id": TRACE,
            "trace_location": place,
            "request_time": "2026-11-22T10:07:01.207Z",
            "execution_duration": "0.109s",
            "state": "OK",
            "tags": {"kind": "chat"},
            "trace_metadata": {"session": "s1"},
            "request_preview": "why?",
        }
        self.post("traces", "POST", "/api/3.0/mlflow", trace={"trace_info": info})
        spans = [
            {
                "traceId": TRACE[3:],
                "spanId": f"{number:016x}",
                **({"parentSpanId": f"{1:016x}"} if number > 1 else {}),
                "name": f"step{number}",
                "startTimeUnixNano": str(10**18 + number),
                "endTimeUnixNano": str(10**18 + number + 5),
                "attributes": [{"key": "colour", "value": {"stringValue": f"blue{number}"}}],
                "status": {"code": 1},
            }
            for number in (1, 2)
        ]
        answer = self.client.post(
            "/v1/traces",
            json={"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": spans}]}]},
            headers={"x-mlflow-experiment-id": experiment},
        )
        assert answer.status_code == 200, answer.text
        said = {
            "assessment_name": "good",
            "source": {"source_type": "HUMAN", "source_id": "ann"},
            "feedback": {"value": True},
        }
        self.post(f"traces/{TRACE}/assessments", "POST", "/api/3.0/mlflow", assessment=said)
        self.facts["trace"] = {"id": TRACE, "experiment": experiment, "spans": {"step1": "blue1", "step2": "blue2"}}

    def models(self, experiment: str, run: str, logged: str) -> None:
        """Make a registered model of three versions: of a run's files, of a logged model, and of files elsewhere."""
        self.post("registered-models/create", name="credit", description="Pays back", tags=[{"key": "k", "value": "v"}])
        for source, more in (
            (f"runs:/{run}/b", {"run_id": run}),
            (f"models:/{logged}", {"model_id": logged}),
            ("s3://elsewhere/m", {}),
        ):
            tags = [{"key": "from", "value": source[:4]}]
            made = self.post("model-versions/create", name="credit", source=source, tags=tags, **more)
            self.facts["versions"][made["model_version"]["version"]] = {"source": source, "tags": {"from": source[:4]}}
        self.post("registered-models/alias", name="credit", alias="best", version="2")
        self.post("model-versions/transition-stage", name="credit", version="1", stage="Staging")
        self.post("model-versions/update", "PATCH", name="credit", version="3", description="from elsewhere")
        self.facts["model"] = {"name": "credit", "aliases": {"best": "2"}, "staging": "1", "digest_of_file": ""}
        self.facts["model"]["digest_of_file"] = self.facts["runs"][run]["files"]["b/c.bin"]

    def data(self, folder: Path) -> None:
        """Make two versions of a dataset."""
        for rows in (30, 20):
            path = folder / "people.csv"
            lines = [f"{number},{number % 7},{'ab'[number % 2]}" for number in range(rows)]
            path.write_text("\n".join(["id,age,group", *lines]) + "\n", encoding="ascii")
            self.workspace.data.ingest("people", [path])
        self.facts["dataset"] = {"name": "people", "rows": [30, 20]}

    def deployment(self, folder: Path) -> None:
        """Deploy a real model, ask it, and stop it."""
        import msgspec
        import numpy as np
        import polars as pl
        from sklearn.linear_model import LogisticRegression

        from interlock.audit.policy import parse_policy
        from interlock.audit.service import AuditService
        from interlock.deploy.service import DeployService
        from interlock.registry.flavors.build import build_bundle
        from interlock.registry.service import RegistryService
        from interlock.store.manifests import put_folder
        from interlock.track.environment import environment
        from interlock.track.records import Start
        from interlock.track.service import TrackService

        chance = np.random.default_rng(7)
        age, income = chance.integers(18, 65, 3000), chance.normal(30, 10, 3000).round(2)
        truth = chance.random(3000) < 1 / (1 + np.exp(-((age - 40) / 8 + (income - 30) / 10)))
        frame = pl.DataFrame({"person": np.arange(3000), "age": age, "income": income, "happy": truth.astype(int)})
        inputs = frame.head(2000).select("age", "income")
        model = LogisticRegression().fit(inputs.to_numpy(), frame.head(2000)["happy"].to_numpy())
        build_bundle(model, inputs=inputs, target="happy", evaluation=frame.tail(1000), folder=folder / "bundle")
        store, track = self.store, TrackService(self.store)
        kept = store.objects.put(msgspec.json.encode(msgspec.structs.replace(environment(), system="Linux")))
        run = track.start(Start("happy", environment=kept))
        track.finish(run.id)
        bundle = put_folder(store.objects, folder / "bundle")
        version = RegistryService(store).register("happy", run.ref, bundle, ["data:people@1"])
        audit, deploy = AuditService(store), DeployService(store)
        audit.set_policy("happy", parse_policy({"roc_auc": ">= 0.7", "approvals": 1}, (), "happy", "person"))
        audit.check(version.ref)
        audit.approve(version.ref)
        try:
            url = deploy.deploy("happy", version.ref).url
            rows = [{"age": 20 + number, "income": 30.0} for number in range(6)]
            body = json.dumps({"dataframe_records": rows}).encode()
            ask = urllib.request.Request(f"{url}/invocations", body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(ask, timeout=20) as answer:
                scores = json.loads(answer.read())["predictions"]
        finally:
            deploy.stop("happy")
        self.facts["deployment"] = {
            "name": "happy",
            "run": run.id,
            "bundle": bundle,
            "scores": scores,
            "ages": [row["age"] for row in rows],
        }


def fill(maker: Maker, folder: Path) -> None:
    """Write everything; what shall wait in the inbox comes last."""
    first, second = maker.experiment("older"), maker.experiment("other")
    packed = [[(f"m{i % 3}", i * 0.1 + b, T0 + i + b * 100, b * 40 + i // 3) for i in range(120)] for b in range(3)]
    # A late point, one of equal step and instant, and what is no finite number: columns that are no plain strides.
    packed.append([("m0", -1.5, T0 - 5, 7), ("m0", 2.5, T0 - 5, 7), ("m1", 1e300, T0, -4)])
    packed.append([(key, value, T0 + 1, 0) for key, value in ODD.items()])
    run = maker.run(first, "packed", packed, "FINISHED")
    maker.run(second, "failed", [[("loss", 1 / (n + 1), T0 + n, n) for n in range(50)]], "FAILED")
    logged = maker.logged_model(first, maker.run(first, "of-model", [[("auc", 0.75, T0, 0)]], ""))
    maker.trace(first)
    maker.models(first, run, logged)
    maker.data(folder)
    maker.deployment(folder)
    waiting = [
        [(f"w{(i * 7) % 3}", i * 0.25 - b, T0 + 10 * i + b, b * 30 + i // 3) for i in range(90)] for b in range(4)
    ]
    waiting.append([(key, value, T0 + 2, 1) for key, value in ODD.items()])
    waiting.append([("w0", 9.0, T0, 3), ("w2", -9.0, T0, 3), ("w0", 8.0, T0 - 1, 3)])
    maker.run(first, "waiting", waiting, "")
    maker.facts["waiting"] = maker.store.database.one("SELECT count(*) AS n FROM metric_inbox")["n"]
    maker.facts["segments"] = maker.store.database.one("SELECT count(*) AS n FROM metric_segments")["n"]
    checkpoint = maker.store.ledger.checkpoint()
    maker.facts["ledger"] = {"size": checkpoint.size, "root": maker.store.ledger.root(checkpoint.size).hex()}


def pack(workspace: Path, target: Path) -> None:
    """Write a workspace as an archive without owners, sockets or what processes printed."""
    import apsw

    database = apsw.Connection(str(workspace / "interlock.db"))
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.execute("PRAGMA journal_mode = DELETE")
    database.execute("VACUUM")
    database.close()
    with lzma.open(target, "wb", preset=9) as compressed, tarfile.open(fileobj=compressed, mode="w") as archive:
        for path in sorted(workspace.rglob("*")):
            name = path.relative_to(workspace)
            if path.is_file() and name.parts[0] not in {"replicas", "logs"} and not name.name.endswith(".lock"):
                member = tarfile.TarInfo(name.as_posix())
                content = path.read_bytes()
                member.size, member.mode = len(content), path.stat().st_mode & 0o777
                archive.addfile(member, io.BytesIO(content))


def _call_the_system_linux(folder: Path) -> None:
    """Let no process that is started from here on record of the machine more than that."""
    (folder / "sitecustomize.py").write_text(
        "import platform\nplatform.platform = lambda *_: 'Linux'\n", encoding="ascii"
    )
    os.environ["PYTHONPATH"] = f"{folder}{os.pathsep}{os.environ['PYTHONPATH']}"


def main(name: str, commit: str) -> None:
    """Write `NAME.tar.xz` and `NAME.json` beside this file."""
    from starlette.testclient import TestClient

    from interlock.sdk.workspace import Workspace
    from interlock.server.app import create_app
    from interlock.store import create_store

    os.environ["LOGNAME"] = "ann"  # whom the ledger names; servers that this starts inherit it
    here = Path(__file__).parent
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        _call_the_system_linux(folder)
        with (
            Workspace.over(create_store(folder / ".interlock")) as workspace,
            TestClient(create_app(workspace), base_url="http://127.0.0.1:8230") as client,
        ):
            maker = Maker(workspace, client)
            fill(maker, folder)
        pack(folder / ".interlock", here / f"{name}.tar.xz")
    facts = {"commit": commit, **maker.facts}
    (here / f"{name}.json").write_text(
        json.dumps(facts, sort_keys=True, separators=(",", ":")) + "\n", encoding="ascii"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

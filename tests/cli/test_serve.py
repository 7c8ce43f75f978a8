"""`interlock serve`: folders, several models, and what containers of three platforms say; real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from interlock.cli.main import run
from interlock.store import open_store

SRC = str(Path(__file__).parents[2] / "src")
ROW = {"age": 40, "income": 30.0}
BODY = {"dataframe_records": [ROW]}
DEADLINE_S = 30


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Served:
    """A process of `interlock serve` and a client of it."""

    def __init__(self, cwd, words, variables, port) -> None:
        clean = {
            k: v for k, v in os.environ.items() if not k.startswith(("INTERLOCK_", "SAGEMAKER_", "AIP_", "AZUREML_"))
        }
        self.errors = cwd / f"stderr-{port}.txt"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "interlock", "serve", *words],
                cwd=cwd,
                env={**clean, "PYTHONPATH": SRC, "TMPDIR": str(cwd), **variables},
                stderr=errors,
            )
        # A container is called by whatever name its platform gives it.
        headers = {"Host": "model.internal"} if variables else {}
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE_S, headers=headers)

    def ready(self):
        end = time.monotonic() + DEADLINE_S
        while True:
            assert self.process.poll() is None, self.errors.read_text()
            assert time.monotonic() < end, self.errors.read_text()
            try:
                if self.client.get("/ping").status_code == 200:
                    return self
            except httpx.TransportError:
                pass
            time.sleep(0.05)

    def invoke(self, path="/invocations", body=BODY):
        response = self.client.post(path, json=body)
        assert response.status_code == 200, response.text
        return response.json()["predictions"][0]

    def stop(self):
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)


@pytest.fixture
def serve(tmp_path):
    """Start servers; they are stopped at the end."""
    started = []

    def start(*words, cwd=tmp_path, port=None, **variables):
        port = port or free_port()
        words = words if variables else (*words, "--port", str(port))
        variables = {key: value.replace("PORT", str(port)) for key, value in variables.items()}
        started.append(Served(cwd, words, variables, port))
        return started[-1]

    yield start
    for server in started:
        if server.stop() and not hasattr(server, "fails"):
            raise AssertionError(server.errors.read_text())


def fails(server):
    """Return why a server did not start."""
    server.fails = True
    assert server.process.wait(DEADLINE_S) != 0
    return server.errors.read_text()


@pytest.fixture
def folder(bundle_folder, tmp_path):
    return Path(shutil.copytree(bundle_folder, tmp_path / "ml" / "model"))


def test_a_folder_is_served_without_a_workspace(serve, folder, tmp_path):
    server = serve("./ml/model").ready()
    found = server.invoke()
    assert server.client.get("/v2/models").json()["models"] == ["model", "serve:model"]
    assert server.stop() == 0
    said = server.errors.read_text()
    place = Path(said.partition("recorded in ")[2].partition(";")[0])
    store = open_store(place / ".interlock")
    assert store.predictions.get(found["prediction_id"]).model.startswith("model:model@sha-")
    store.close()


@pytest.mark.parametrize(
    ("words", "says"), [((), "No model is named"), (("./none",), "no such folder"), (("m@1",), "workspace")]
)
def test_without_a_model_it_says_what_is_wanted(serve, words, says):
    assert says in fails(serve(*words))


def test_a_folder_is_not_shown_to_others_unless_somebody_says_so(serve, folder):
    assert "INTERLOCK_TRUSTED_KEY" in fails(serve("./ml/model", "--host", "0.0.0.0"))
    assert serve("./ml/model", "--host", "0.0.0.0", "--unapproved").ready().invoke()


def test_sagemaker_starts_the_model_of_its_folder(serve, folder, tmp_path):
    base = {"SAGEMAKER_BASE_DIR": str(tmp_path / "ml"), "SAGEMAKER_BIND_TO_PORT": "PORT"}
    assert "approval" in fails(serve(**base, INTERLOCK_TRUSTED_KEY="x"))
    server = serve(**base, INTERLOCK_UNAPPROVED="a trial", INTERLOCK_WORKSPACE=str(tmp_path / "kept")).ready()
    found = server.invoke()
    assert server.stop() == 0
    assert "a trial" in server.errors.read_text()
    store = open_store(tmp_path / "kept" / ".interlock")
    assert store.predictions.get(found["prediction_id"]).inputs == ROW
    store.close()


def test_sagemaker_loads_models_later(serve, folder, tmp_path):
    base = {"SAGEMAKER_BASE_DIR": str(tmp_path / "ml"), "SAGEMAKER_BIND_TO_PORT": "PORT"}
    server = serve(**base, SAGEMAKER_MULTI_MODEL="true", INTERLOCK_UNAPPROVED="a trial").ready()
    url = str(folder)
    assert server.client.post("/models", json={"model_name": "a1", "url": url}).status_code == 200
    assert server.client.post("/models", json={"model_name": "a1", "url": url}).status_code == 409
    assert server.invoke("/models/a1/invoke")
    assert server.client.post("/models", json={"model_name": "b2", "url": "/etc"}).status_code == 403
    assert server.client.delete("/models/a1").status_code == 200
    assert server.client.post("/models/a1/invoke", json=BODY).status_code == 404
    assert server.client.get("/ping").status_code == 200


def test_vertex_says_the_routes(serve, folder):
    server = serve(
        AIP_HTTP_PORT="PORT",
        AIP_STORAGE_URI=str(folder),
        AIP_HEALTH_ROUTE="/v1/health",
        AIP_PREDICT_ROUTE="/v1/predict",
        INTERLOCK_UNAPPROVED="a trial",
    ).ready()
    assert server.client.get("/v1/health").status_code == 200
    assert server.invoke("/v1/predict", {"instances": [ROW]}) != server.invoke(
        "/v1/predict", {"instances": [[40, 30.0]]}
    )


@pytest.fixture
def project(store, register, monkeypatch):
    """Return the folder of a project with two versions of a model."""
    register()
    register()
    monkeypatch.chdir(store.project)
    return store.project


def test_several_models_answer_by_name_and_more_are_loaded(serve, project):
    server = serve("happy@1", "happy@2", "--model-control", "explicit", cwd=project).ready()
    listed = server.client.post("/v2/repository/index", json={}).json()
    assert [(row["name"], row["version"], row["state"]) for row in listed] == [
        ("happy@1", "1", "READY"),
        ("happy@2", "2", "READY"),
    ]
    for name, version in (("happy@1", "1"), ("happy@2", "2"), ("happy", "2")):
        assert server.client.get(f"/v2/models/{name}").json()["versions"] == [version]
    assert server.client.post("/v2/repository/models/happy@1/unload").status_code == 200
    assert server.client.get("/v2/models/happy@1").status_code == 404
    assert server.invoke()  # who names no model asks the first that is there
    assert server.client.post("/v2/repository/models/happy/load").status_code == 200
    assert server.client.get("/v2/health/ready").status_code == 200


def post_labels(server, *labels):
    response = server.client.post("/labels", json={"labels": list(labels)})
    assert response.status_code == 200, response.text
    return response.json()["statuses"]


def test_several_folders_are_shown_explained_and_told_the_truth(serve, folder, tmp_path):
    shutil.copytree(folder, folder.parent / "other")
    server = serve("./ml/model", "./ml/other").ready()
    second = server.invoke("/models/other/invoke")
    labels = ({"prediction_id": second["prediction_id"], "label": 1, "label_id": "x"}, {"subject": "p", "label": 1})
    assert post_labels(server, *labels) == ["accepted", "accepted"]
    assert post_labels(server, *labels) == ["duplicate", "duplicate"]
    first = server.invoke()["prediction_id"]
    assert post_labels(server, {"prediction_id": first, "label": 0, "label_id": "x"}) == ["accepted"]
    unknown = server.client.post("/labels?model=nobody", json={"subject": "p", "label": 1})
    assert unknown.status_code == 404
    assert (
        server.client.post("/labels?model=other", json={"subject": "p", "label": 1}).json()["counts"]["accepted"] == 1
    )

    status, page = server.client.get("/-/status").json(), server.client.get("/").json()
    assert [(m["name"], m["revision"], m["ready"], m["errors"]) for m in status["models"]] == [
        ("model", 1, True, []),
        ("other", 1, True, []),
    ]
    assert [one["name"] for one in page["served"]] == ["model", "other"]
    assert page["served"][0]["models"] == page["models"]
    assert server.client.post("/explain?model=other", json=BODY).status_code == 200
    assert server.client.post("/explain?model=nobody", json=BODY).status_code == 404

    assert server.stop() == 0
    said = server.errors.read_text()
    place = Path(said.partition("recorded in ")[2].partition(";")[0])
    store = open_store(place / ".interlock")
    rows = store.database.all("SELECT deployment, about FROM labels ORDER BY body, position")
    store.close()
    assert [row["deployment"] for row in rows] == ["serve:other", "serve:model", "serve:model", "serve:other"]


def test_a_model_that_does_not_load_is_said_with_its_reason(serve, folder, tmp_path):
    broken = Path(shutil.copytree(folder, folder.parent / "broken"))
    golden = json.loads((broken / "golden.json").read_bytes())
    (broken / "golden.json").write_text(json.dumps({**golden, "scores": [0.5 + s / 2 for s in golden["scores"]]}))
    server = serve("./ml/model", "./ml/broken")
    end = time.monotonic() + DEADLINE_S
    while "is refused" not in server.errors.read_text():
        assert time.monotonic() < end, server.errors.read_text()
        time.sleep(0.05)
    (line,) = [line for line in server.errors.read_text().splitlines() if "is refused" in line]
    assert line.startswith("broken is refused: ")
    assert "golden" in line
    status = server.client.get("/-/status").json()
    good, bad = status["models"]
    assert (good["ready"], bad["ready"], bad["revision"]) == (True, False, None)
    assert not status["ready"]
    assert "golden" in bad["errors"][0]
    assert status["errors"] == [f"broken: {why}" for why in bad["errors"]]


def test_a_server_may_begin_with_nothing(serve, project):
    server = serve("--model-control", "explicit", cwd=project).ready()
    assert server.client.get("/v2/models").json() == {"models": []}
    assert server.client.post("/invocations", json=BODY).status_code == 404
    assert server.client.post("/v2/repository/models/happy@1/load").status_code == 200
    assert server.invoke()
    assert "workspace" in fails(serve("--model-control", "explicit", cwd=project.parent))


def test_a_workspace_that_was_named_wrongly_is_not_made(serve, folder, tmp_path):
    assert "nowhere" in fails(serve("./ml/model", "--workspace", str(tmp_path / "nowhere")))
    assert not (tmp_path / "nowhere").exists()


def test_a_name_that_is_none_stops_the_start(serve, project):
    assert "happier" in fails(serve("happy@1", "happier@1", cwd=project))


def approve(store):
    store.database.write(lambda tx: tx.run("UPDATE model_versions SET stage = 'approved' WHERE version = 2", {}))


def test_a_packed_version_that_was_approved_is_shown(serve, project, store, tmp_path, capfd):
    assert run(["export", "container", "happy@1", "packed"]) != 0
    assert "not approved" in capfd.readouterr().err
    assert not (project / "packed").exists()
    approve(store)
    assert run(["export", "container", "happy@2", "packed"]) == 0
    packed = project / "packed"
    assert {path.name for path in packed.iterdir()} == {"Dockerfile", "model", "trusted.vkey"}
    assert not (packed / "model" / "evaluation.parquet").exists()  # people, in clear text
    assert (packed / "model" / "bundle.json").exists()
    assert "Left out" in capfd.readouterr().err
    base = {"SAGEMAKER_BASE_DIR": str(packed), "SAGEMAKER_BIND_TO_PORT": "PORT"}
    key = {"INTERLOCK_TRUSTED_KEY": str(packed / "trusted.vkey")}
    assert serve(**base, **key).ready().invoke()
    (packed / "model" / "more.txt").write_text("not what was approved")
    assert "other files" in fails(serve(**base, **key))
    assert run(["export", "container", "happy@1", "free", "--unapproved"]) == 0
    assert not list((project / "free").rglob("evaluation.parquet"))


def test_azure_mls_score_py_answers(project, store, tmp_path, capfd, monkeypatch):
    approve(store)
    assert run(["export", "azureml", "happy@2", "packed"]) == 0
    text = (project / "packed" / "deployment.yml").read_text()
    assert [line.split()[-1] for line in text.splitlines() if "path: /" in line] == [
        "/v2/health/live",
        "/ping",
        "/invocations",
    ]
    from interlock.cli.packing import open_scorer

    monkeypatch.setenv("INTERLOCK_WORKSPACE", str(tmp_path / "kept"))
    with open_scorer(str(project / "packed" / "model"), str(project / "packed")) as scorer:
        status, body = scorer.answer('{"dataframe_records": [{"age": 40, "income": 30.0}]}')
        assert (status, b"prediction_id" in body) == (200, True)
        for wrong in ("{", "", "\ud800", '{"dataframe_records": [{"age": "x"}]}'):
            status, body = scorer.answer(wrong)
            assert (status, b"message" in body) == (400, True)
        assert scorer.check() == []


def test_flags_say_how_a_model_answers(serve, folder, tmp_path):
    words = ("--out-of-range", "block", "--garbage", "flag", "--stale-after", "2 days", "--batch-rows", "8")
    server = serve("./ml/model", "--durability", "1s", "--max-concurrent", "9", *words).ready()
    said = server.client.get("/-/status").json()["serving"]
    assert said == {
        "durability": "1s",
        "garbage": "flag",
        "stale_after_s": 172_800,
        "out_of_range": "block",
        "code_models": False,
        "batch_rows": 8,
    }
    assert "is no period" in fails(serve("./ml/model", "--stale-after", "soon"))


@pytest.mark.parametrize(
    ("words", "said", "allowed"),
    [
        (["happy@1"], "true", True),
        (["happy@1", "--no-code-models"], "true", False),
        (["happy@1"], "false", False),
        (["happy@1", "--code-models"], "false", True),
        (["happy@1", "other@1"], "true", False),
        (["happy@1", "./folder"], "true", False),
        (["happy@1", "--model-control", "explicit"], "true", False),  # others may be loaded later
    ],
)
def test_the_project_says_whether_originals_answer_and_the_flag_says_it_over_it(
    project, store, monkeypatch, capfd, words, said, allowed
):
    text = f'[deployment.shop]\nmodel = "happy@champion"\n[deployment.shop.serving]\ncode_models = {said}\n'
    values = {"digest": store.objects.put(text.encode())}
    store.database.write(
        lambda tx: tx.run("INSERT INTO applied (name, digest, applied_at) VALUES ('project', :digest, 0)", values)
    )
    seen = []
    monkeypatch.setattr("interlock.serve.server.run", lambda _, options: seen.append(options.code_models))
    assert run(["serve", *words]) == 0
    assert seen == [allowed]
    assert ("interlock.toml says so" in capfd.readouterr().err) == (allowed and "--code-models" not in words)


def test_a_model_that_is_refused_for_good_ends_the_start(serve, folder, tmp_path):
    (folder / "golden.json").write_text('{"rows": [], "scores": [0.5], "tolerance": -1}')
    said = fails(serve("./ml/model"))
    assert said.count("Error: Revision 1") == 1, said
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "notes.txt").write_text("no model")
    said = fails(serve("./empty"))
    assert "No file of this version can answer" in said
    server = serve("./empty", "--model-control", "explicit")  # another may be loaded there
    until = time.monotonic() + DEADLINE_S
    while "is refused:" not in server.errors.read_text():
        assert server.process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    assert server.process.poll() is None


def test_a_lone_file_is_served(serve, folder, tmp_path):
    lone = tmp_path / "lone"
    lone.mkdir()
    shutil.copy(folder / "model.onnx", lone / "iris.onnx")
    (lone / "notes.txt").write_text("about it")
    for place in ("lone/iris.onnx", "./lone/iris.onnx"):
        server = serve(place).ready()
        assert "iris" in server.client.get("/v2/models").json()["models"]
        assert server.stop() == 0
    assert "'notes.txt' is a file; name its folder" in fails(serve("./lone/notes.txt"))
    assert "There is no such folder" in fails(serve("./lone/none.onnx"))


def test_the_front_page_has_an_example_for_each_model(serve, project):
    server = serve("happy@1", "happy@2", cwd=project).ready()
    page = server.client.get("/").json()
    for told in page["served"]:
        for protocol in ("mlflow", "oip"):
            asked = told["ask"][protocol]
            found = server.client.post(asked["path"], json=asked["body"])
            assert (found.status_code, found.headers["interlock-model"]) == (200, f"model:{told['name']}"), found.text
    assert [told["ask"]["mlflow"]["path"] for told in page["served"]] == [
        "/invocations?model=happy%401",
        "/invocations?model=happy%402",
    ]
    assert "subject" not in json.dumps([page["ask"], page["served"]])

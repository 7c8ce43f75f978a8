from __future__ import annotations

from typing import Any

import pytest
from protocol_api import Api

from interlock.sdk.workspace import Workspace

ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


@pytest.fixture
def run(api: Api) -> str:
    """A run with a model folder and a neighbour; model `m` is there."""
    made = api.new_run()
    for path, body in (("model/MLmodel", b"one"), ("model#1/MLmodel", b"two"), ("model/data/x", b"x")):
        url = f"{ARTIFACTS}/0/{made}/artifacts/{path.replace('#', '%23')}"
        assert api.client.put(url, content=body).status_code == 200
    api.post("registered-models/create", name="m")
    return made


def create(api: Api, source: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = api.post("model-versions/create", name="m", source=source, **more)["model_version"]
    return found


def files(api: Api, version: str) -> dict[str, bytes]:
    uri = api.get("model-versions/get-download-uri", name="m", version=version)["artifact_uri"]
    root = uri.removeprefix("mlflow-artifacts:/")

    def walk(path: str) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        listed = api.client.get(ARTIFACTS, params={"path": f"{root}/{path}".rstrip("/")}).json()["files"]
        for file in listed:
            inner = f"{path}/{file['path']}".lstrip("/")
            if file["is_dir"]:
                found |= walk(inner)
            else:
                found[inner] = api.client.get(f"{ARTIFACTS}/{root}/{inner}").content
        return found

    return walk("")


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("runs:/RUN/model", {"MLmodel": b"one", "data/x": b"x"}),
        ("mlflow-artifacts:/0/RUN/artifacts/model", {"MLmodel": b"one", "data/x": b"x"}),
        ("mlflow-artifacts:///0/RUN/artifacts/model/", {"MLmodel": b"one", "data/x": b"x"}),
        ("mlflow-artifacts://host:80/0/RUN/artifacts/model", {"MLmodel": b"one", "data/x": b"x"}),
        ("mlflow-artifacts:/0/RUN/artifacts/model#1", {"MLmodel": b"two"}),
    ],
)
def test_a_version_pins_the_files_of_its_source(api: Api, run: str, source: str, wanted: dict[str, bytes]) -> None:
    made = create(api, source.replace("RUN", run))
    assert (made["version"], made["run_id"]) == ("1", run)
    assert files(api, "1") == wanted


def test_what_a_run_replaces_later_does_not_change_a_version(api: Api, run: str) -> None:
    create(api, f"runs:/{run}/model")
    path = f"{ARTIFACTS}/0/{run}/artifacts/model/MLmodel"
    api.client.put(path, content=b"other")
    api.client.delete(f"{ARTIFACTS}/0/{run}/artifacts/model/data")
    assert files(api, "1") == {"MLmodel": b"one", "data/x": b"x"}
    pinned = f"{ARTIFACTS}/registry/m/1/MLmodel"
    assert api.client.put(pinned, content=b"x").status_code == 400
    assert api.client.delete(pinned).status_code == 400


def test_copies_keep_files_and_run(api: Api, run: str) -> None:
    create(api, f"runs:/{run}/model")
    for source in ("models:/m/1", "models:/m/latest"):
        made = create(api, source)
        assert made["run_id"] == run
        assert files(api, made["version"]) == files(api, "1")
    api.post("registered-models/alias", name="m", alias="best", version="1")
    assert files(api, create(api, "models:/m@best")["version"]) == files(api, "1")


def test_sources_elsewhere_are_kept_as_texts(api: Api, run: str) -> None:
    for source in ("s3://bucket/x?y#z", "dbfs:/x", "https://[::1]/x", "http://["):
        made = create(api, source)
        uri = api.get("model-versions/get-download-uri", name="m", version=made["version"])["artifact_uri"]
        assert (made["source"], uri) == (source, source)


@pytest.mark.parametrize(
    "source",
    [
        "",
        "/etc/passwd",
        "file:///etc/passwd",
        "FILE:/etc",
        "./x",
        "a/b:c",
        "C:\\x",
        "C:/x",
        "\\\\host\\x",
        "runs:/RUN/nothing",
        "runs:/RUN/../x",
        "runs:/nope/model",
        "runs:",
        "runs:/",
        "models:/",
        "models:/m/7",
        "models:/m/99999999999999999999",
        "models:/m@nope",
        "models:/nope/1",
        "models:/m-nope",
        "mlflow-artifacts:/",
        "mlflow-artifacts:/0/RUN",
        "mlflow-artifacts://[",
        "mlflow-artifacts:/0/RUN/artifacts/../x",
        "mlflow-artifacts:/0/RUN/artifacts/%2e%2e/x",
        "mlflow-artifacts:/registry/m/\u00b2",
    ],
)
def test_sources_that_name_nothing_make_no_version(api: Api, run: str, workspace: Workspace, source: str) -> None:
    size = workspace.store.ledger.size()
    assert api.refused("model-versions/create", name="m", source=source.replace("RUN", run))[0] in {400, 404}
    assert workspace.store.ledger.size() == size


def test_a_version_is_described_tagged_and_labelled(api: Api, run: str) -> None:
    create(api, f"runs:/{run}/model", description="d", tags=[{"key": "a", "value": "1"}], run_link="http://x")
    api.post("model-versions/update", "PATCH", name="m", version="1", description="e")
    api.post("model-versions/set-tag", name="m", version="1", key="b", value="2")
    api.post("model-versions/delete-tag", "DELETE", name="m", version="1", key="a")
    api.post("model-versions/transition-stage", name="m", version="1", stage="STAGING")
    found = api.get("model-versions/get", name="m", version="1")["model_version"]
    assert (found["description"], found["tags"]) == ("e", [{"key": "b", "value": "2"}])
    assert (found["current_stage"], found["run_link"]) == ("Staging", "http://x")
    api.post("model-versions/delete", "DELETE", name="m", version="1")
    assert api.refused("model-versions/get", "GET", name="m", version="1")[0] == 404


def test_promotion_puts_others_away_where_it_shall(api: Api, run: str) -> None:
    for number in ("1", "2"):
        create(api, f"runs:/{run}/model")
        more = {"archive_existing_versions": number == "2"}
        api.post("model-versions/transition-stage", name="m", version=number, stage="Production", **more)
    stages = [api.get("model-versions/get", name="m", version=n)["model_version"]["current_stage"] for n in "12"]
    assert stages == ["Archived", "Production"]


@pytest.mark.parametrize("version", ["0", "2", "-1", "x", "", "9" * 30, "\u0661", "1.0"])
def test_versions_that_are_none(api: Api, run: str, version: str) -> None:
    create(api, f"runs:/{run}/model")
    for method, path, more in (
        ("GET", "get", {}),
        ("GET", "get-download-uri", {}),
        ("PATCH", "update", {"description": "x"}),
        ("DELETE", "delete", {}),
        ("POST", "set-tag", {"key": "a", "value": "b"}),
        ("POST", "transition-stage", {"stage": "Staging"}),
    ):
        assert api.refused(f"model-versions/{path}", method, name="m", version=version, **more)[0] in {400, 404}


def test_stages_that_are_none(api: Api, run: str) -> None:
    create(api, f"runs:/{run}/model")
    for stage in ("", "Live"):
        assert api.refused("model-versions/transition-stage", name="m", version="1", stage=stage)[0] == 400


@pytest.mark.parametrize("wrong", [{"run_id": "nobody"}, {"tags": [{"key": "a", "value": "x" * 100_001}]}])
def test_a_version_that_is_refused_keeps_no_manifest(
    api: Api, run: str, workspace: Workspace, wrong: dict[str, Any]
) -> None:
    before = set(workspace.store.objects.digests())
    status, _ = api.refused("model-versions/create", name="m", source=f"runs:/{run}/model", **wrong)
    assert status in {400, 404}
    assert set(workspace.store.objects.digests()) == before

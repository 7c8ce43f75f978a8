"""Searches of the registry on the wire: what MLflow's clients send is answered as ever, and more is understood."""

from __future__ import annotations

import pytest
from protocol_api import Api


@pytest.fixture
def filled(api: Api) -> Api:
    """Model m: version 1 of a run with params and metrics, whose MLmodel says which columns it takes; 2 is outside."""
    run = api.new_run()
    api.post("runs/log-parameter", run_id=run, key="depth", value="3")
    api.post("runs/log-metric", run_id=run, key="auc", value=0.9, timestamp=1, step=0)
    signature = 'signature:\n  inputs: \'[{"type": "double", "name": "AGEP"}]\'\n'
    place = f"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/model/MLmodel"
    assert api.client.put(place, content=signature.encode()).status_code == 200
    api.post("registered-models/create", name="m")
    api.post("model-versions/create", name="m", source=f"runs:/{run}/model", run_id=run)
    api.post("model-versions/create", name="m", source="s3://bucket/x", tags=[{"key": "k", "value": "v"}])
    return api


def versions(api: Api, text: str, **more: object) -> list[str]:
    found = api.get("model-versions/search", filter=text, **more)
    return [one["version"] for one in found.get("model_versions", [])]


def models(api: Api, text: str) -> list[str]:
    return [one["name"] for one in api.get("registered-models/search", filter=text).get("registered_models", [])]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["2", "1"]),
        ("name='m'", ["2", "1"]),
        ("name = 'm' AND version_number > 1", ["2"]),
        ("version_number = '1'", ["1"]),
        ("source_path LIKE 's3%'", ["2"]),
        ("tags.k = 'v'", ["2"]),
        ("tags.`k` != 'w' and name ILIKE 'M'", ["2"]),
        ("run_id IN ('x')", []),
        # ours
        ("feature = 'AGEP'", ["1"]),
        ("metrics.auc > 0.8 AND params.depth = 3 AND created > '2026-01-01' AND feature = 'AGEP'", ["1"]),
        ("NOT params.depth = 3", ["2"]),
        ("stage = 'created'", ["2"]),
    ],
)
def test_versions_are_found(filled: Api, text: str, found: list[str]) -> None:
    assert versions(filled, text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["m"]),
        ("name LIKE 'm%'", ["m"]),
        ("name IN ('m')", ["m"]),
        ("tags.`mlflow.prompt.is_prompt` = 'true'", []),
        ("feature = 'AGEP' AND metrics.auc >= 0.9", ["m"]),
        ("feature = 'AGEP' AND tags.k IS NULL", ["m"]),
        ("feature = 'AGEP' AND stage = 'created'", []),
    ],
)
def test_models_are_found(filled: Api, text: str, found: list[str]) -> None:
    assert models(filled, text) == found


def test_orders_and_pages(filled: Api) -> None:
    assert versions(filled, "", order_by="metrics.auc DESC") == ["1", "2"]
    first = filled.get("model-versions/search", max_results=1, order_by="version_number ASC")
    assert [one["version"] for one in first["model_versions"]] == ["1"]
    token = first["next_page_token"]
    assert versions(filled, "", max_results=1, order_by="version_number ASC", page_token=token) == ["2"]
    status, text = filled.refused("model-versions/search", "GET", order_by="version_number DESC", page_token=token)
    assert (status, "another query" in text) == (400, True)


@pytest.mark.parametrize("text", ["feature > 'x'", "created > 'soon'", "metrics.auc = 'x'", "nothing = 1", "name = m"])
def test_errors_point_at_the_place(filled: Api, text: str) -> None:
    for path in ("model-versions/search", "registered-models/search"):
        status, told = filled.refused(path, "GET", filter=text)
        assert status == 400
        assert told.startswith("INVALID_PARAMETER_VALUE")
        assert "column" in told

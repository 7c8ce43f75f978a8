"""The protocol without a client: paths, prefixes, number and string rules, the form of answers and of errors."""

from __future__ import annotations

import re

import pytest
from packaging.version import Version

LONG = 253402300799000  # a time in milliseconds that does not fit 32 bits


@pytest.mark.route("GET /health", "GET /version")
def test_health_and_version_are_plain_text(wire) -> None:
    health, version = wire.call("GET", "/health"), wire.call("GET", "/version")
    assert (health.status, health.text) == (200, "OK")
    assert version.status == 200
    assert Version(version.text) >= Version("3.4"), "clients send spans over OTLP to this and newer ones only"


@pytest.mark.route("GET /api/3.0/mlflow/server-info")
@pytest.mark.parametrize("prefix", ["/api", "/ajax-api"])
def test_server_info_names_a_store_and_what_it_can(wire, prefix) -> None:
    info = wire.get(f"{prefix}/3.0/mlflow/server-info")
    assert isinstance(info["store_type"], str)
    assert info["workspaces_enabled"] is False


@pytest.mark.route("POST experiments/create", "GET experiments/get")
def test_the_browser_prefix_is_the_same_api(wire, unique) -> None:
    name = unique()
    made = wire.post("/ajax-api/2.0/mlflow/experiments/create", {"name": name})
    by_id = wire.get("experiments/get", made)
    assert by_id["experiment"]["name"] == name
    assert wire.get("/ajax-api/2.0/mlflow/experiments/get", made) == by_id


@pytest.mark.route("POST runs/create")
@pytest.mark.parametrize("start", [LONG, str(LONG)], ids=["number", "string"])
def test_int64_is_taken_as_number_or_string_and_given_as_number(wire, experiment, start) -> None:
    info = wire.post("runs/create", {"experiment_id": experiment, "start_time": start})["run"]["info"]
    assert info["start_time"] == LONG
    assert type(info["start_time"]) is int
    assert info["experiment_id"] == experiment, "ids are strings"


@pytest.mark.route("POST runs/create", "GET runs/get")
def test_a_new_run_has_both_ids_a_name_and_no_end(wire, experiment) -> None:
    run = wire.post("runs/create", {"experiment_id": experiment})["run"]
    info = run["info"]
    assert info["run_id"] == info["run_uuid"]
    assert re.fullmatch(r"[a-zA-Z0-9][\w-]{0,255}", info["run_id"])
    assert re.fullmatch(r"[a-z]+-[a-z]+-\d+", info["run_name"])
    assert {"key": "mlflow.runName", "value": info["run_name"]} in run["data"]["tags"]
    assert info["status"] == "RUNNING"
    assert info["lifecycle_stage"] == "active"
    assert "end_time" not in info
    assert info["artifact_uri"].startswith("mlflow-artifacts:/")
    for name in ("run_id", "run_uuid"):
        assert wire.get("runs/get", {name: info["run_id"]})["run"]["info"] == info


@pytest.mark.route("GET runs/get")
def test_a_missing_thing_is_404_with_its_code(wire) -> None:
    message = wire.refused("GET", "runs/get", {"run_id": "0" * 32}, status=404, code="RESOURCE_DOES_NOT_EXIST")
    assert "0" * 32 in message
    wire.refused("GET", "experiments/get", {"experiment_id": "987654"}, status=404, code="RESOURCE_DOES_NOT_EXIST")
    query = {"experiment_name": "nobody"}
    wire.refused("GET", "experiments/get-by-name", query, status=404, code="RESOURCE_DOES_NOT_EXIST")


MISSING = {
    "experiments/create": {},
    "experiments/update": {"new_name": "x"},
    "runs/create": {"start_time": 1, "experiment_id": ["1"]},
    "runs/log-metric": {"run_id": "RUN", "key": "k", "timestamp": 1},
    "runs/log-parameter": {"run_id": "RUN", "value": "v"},
    "runs/set-tag": {"run_id": "RUN", "value": "v"},
    "runs/delete": {},
    "registered-models/create": {},
}


@pytest.mark.route(*MISSING)
@pytest.mark.parametrize("path", MISSING)
def test_what_must_be_given_must_be_given(wire, run, path) -> None:
    body = {key: run if value == "RUN" else value for key, value in MISSING[path].items()}
    wire.refused("POST", path, body)


WRONG = {
    "experiments/create": {"name": 7},
    "experiments/search": {"max_results": "many"},
    "runs/create": {"experiment_id": {"a": 1}},
    "runs/search": {"experiment_ids": "0"},
    "runs/log-metric": {"run_id": "RUN", "key": "k", "value": 1.0, "timestamp": "today"},
    "runs/log-parameter": {"run_id": "RUN", "key": 4, "value": "v"},
    "runs/update": {"run_id": "RUN", "status": "DANCING"},
    "logged-models/search": {"experiment_ids": "0"},
}


@pytest.mark.route(*WRONG)
@pytest.mark.ours_only("MLflow answers some of these 500, and some 200")
@pytest.mark.parametrize("path", WRONG)
def test_wrong_types_are_400(wire, run, path) -> None:
    body = {key: run if value == "RUN" else value for key, value in WRONG[path].items()}
    wire.refused("POST", path, body)


@pytest.mark.route("POST experiments/create", "POST runs/log-batch")
@pytest.mark.ours_only("MLflow answers 200 {} and does nothing, or 500")
@pytest.mark.parametrize("body", [b"{", b"nothing", b'{"run_id": "RUN",}', b"[1]", b"\xff\xfe", b'"text"', b"null"])
@pytest.mark.parametrize("path", ["experiments/create", "runs/log-batch", "runs/search", "registered-models/create"])
def test_a_body_that_is_no_json_object_is_400(wire, path, body) -> None:
    wire.refused("POST", path, body, code="BAD_REQUEST")


@pytest.mark.route("POST runs/create")
def test_fields_that_nobody_knows_are_ignored(wire, experiment) -> None:
    body = {"experiment_id": experiment, "not_yet_invented": {"a": [1]}}
    assert wire.post("runs/create", body)["run"]["info"]["run_id"]


@pytest.mark.route("any")
@pytest.mark.ours_only("MLflow answers an HTML page, and 501s as 404")
@pytest.mark.parametrize("path", ["/api/2.0/mlflow/no/such/thing", "/ajax-api/3.0/mlflow/nothing", "/api/2.0/mlflow/"])
def test_an_unknown_path_is_a_404_in_json(wire, path) -> None:
    for method in ("GET", "POST"):
        wire.refused(method, path, status=404, code="ENDPOINT_NOT_FOUND")


@pytest.mark.route("any")
def test_a_wrong_method_is_405_or_404(wire) -> None:
    assert wire.call("DELETE", "runs/create").status in {404, 405}
    assert wire.call("GET", "runs/log-metric").status in {404, 405}


@pytest.mark.route("GET /api/3.0/mlflow/scorers/list", "POST /api/3.0/mlflow/gateway/secrets/create")
@pytest.mark.ours_only("what only MLflow's own pages and GenAI tools need is not built here")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "scorers/list"),
        ("POST", "gateway/secrets/create"),
        ("POST", "datasets/create"),
        ("POST", "issues/search"),
    ],
)
def test_what_is_not_built_says_so(wire, method, path) -> None:
    wire.refused(method, f"/api/3.0/mlflow/{path}", {}, status=501, code="NOT_IMPLEMENTED")


@pytest.mark.route("POST experiments/create")
@pytest.mark.ours_only("MLflow's message holds its SQL statement")
def test_no_sql_in_messages(wire, client, unique) -> None:
    name = unique()
    client.create_experiment(name)
    message = wire.refused("POST", "experiments/create", {"name": name}, code="RESOURCE_ALREADY_EXISTS")
    assert name in message
    assert not re.search(r"(?i)\b(insert|select|sqlite|constraint)\b", message)


@pytest.mark.route("POST runs/search", "GET experiments/search", "GET model-versions/search")
@pytest.mark.parametrize("token", ["garbage", "e30=", "eyJvZmZzZXQiOiAieCJ9", "="])
def test_a_page_token_that_is_none_of_ours_is_400(wire, experiment, token) -> None:
    wire.refused("POST", "runs/search", {"experiment_ids": [experiment], "page_token": token})


@pytest.mark.route("POST runs/search", "GET experiments/search", "GET registered-models/search")
@pytest.mark.parametrize(
    ("path", "most"), [("runs/search", 50_000), ("experiments/search", 50_000), ("registered-models/search", 1000)]
)
def test_pages_have_a_largest_size(wire, path, most) -> None:
    method = "GET" if path.startswith("reg") else "POST"
    wire.refused(method, path, {"max_results": most + 1})
    assert wire.call(method, path, {"max_results": most}).status == 200


@pytest.mark.route("POST runs/search", "GET registered-models/search")
@pytest.mark.ours_only("MLflow answers 200 or 500 to some of these")
def test_odd_tokens_and_sizes_are_400(wire, experiment) -> None:
    wire.refused("POST", "runs/search", {"experiment_ids": [experiment], "page_token": "\u00e9"})
    for path in ("registered-models/search", "model-versions/search", "experiments/search"):
        wire.refused("GET", path, {"max_results": -1})
        wire.refused("GET", path, {"page_token": "garbage"})


@pytest.mark.route("POST runs/search")
@pytest.mark.parametrize("body", [{}, {"experiment_ids": []}])
def test_no_experiments_no_runs(wire, run, body) -> None:
    assert wire.post("runs/search", body).get("runs", []) == []

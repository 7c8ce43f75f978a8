from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from interlock.core.clock import from_micros, to_micros
from interlock.sdk.workspace import Workspace
from interlock.server.mlflow.trace_wire import duration, read_duration, read_timestamp, timestamp
from interlock.server.mlflow.wire import Refused
from interlock.store.spans import Span, SpanEvent, SpanLink
from interlock.track.experiments import Experiments
from interlock.track.traces import SpanBatch, Traces

API = "/api/3.0/mlflow/traces"
OLD = "/api/2.0/mlflow/traces"
PLACE = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}


def named(number: int) -> str:
    return f"tr-{number:032x}"


def report(number: int = 1, **said: Any) -> dict[str, Any]:
    info = {
        "trace_id": named(number),
        "trace_location": PLACE,
        "request_time": f"2026-11-22T10:07:{number:02d}.207Z",
        "execution_duration": "0.109s",
        "state": "OK",
        **said,
    }
    return {"trace": {"trace_info": info}}


def start(client: TestClient, number: int = 1, **said: Any) -> Any:
    return client.post(API, json=report(number, **said))


def add_spans(workspace: Workspace, number: int, *spans: Span) -> None:
    store = workspace.store
    Experiments(store).ensure_default()
    given = spans or (span(number, 1), span(number, 2, parent=1))
    Traces(store).take("0", [SpanBatch(given, {})])


def span(trace: int, ident: int, parent: int = 0, **said: Any) -> Span:
    above = parent.to_bytes(8, "big") if parent else b""
    given = {"name": f"s{ident}", "started_at": 10**18, "ended_at": 10**18 + 5, "status": 1, **said}
    return Span(trace.to_bytes(16, "big"), ident.to_bytes(8, "big"), above, **given)


def error(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error_code"]


def test_a_report_comes_back(client: TestClient, workspace: Workspace) -> None:
    said = {"tags": {"mlflow.traceName": "n"}, "trace_metadata": {"k": "v"}, "client_request_id": "c"}
    answer = start(client, **said, request_preview="q", response_preview="a")
    info = answer.json()["trace"]["trace_info"]
    assert info == {
        **report(**said, request_preview="q", response_preview="a")["trace"]["trace_info"],
        "tags": {
            "mlflow.traceName": "n",
            "mlflow.artifactLocation": f"mlflow-artifacts:/0/traces/{named(1)}/artifacts",
        },
        "trace_metadata": {"k": "v", "mlflow.trace.infoFinalized": "true"},
    }
    size = workspace.store.ledger.size()
    assert start(client, **said).json() == answer.json()
    assert workspace.store.ledger.size() == size
    add_spans(workspace, 1)
    shown = client.get(f"{API}/{named(1)}").json()["trace"]["trace_info"]
    assert shown["tags"].pop("mlflow.trace.spansLocation") == "TRACKING_STORE"
    assert shown == info


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"trace_id": "../x"}, "id of a trace"),
        ({"trace_location": {}}, "experiment_id"),
        ({"request_time": "yesterday"}, "request_time"),
        ({"execution_duration": "1 hour"}, "execution_duration"),
        ({"state": "GOOD"}, "state"),
        ({"tags": {"": "x"}}, "tags"),
        ({"tags": {"k" * 251: "x"}}, "251 characters"),
        ({"tags": {"k": 1}}, "tags"),
        ({"trace_metadata": {f"k{n}": "" for n in range(1001)}}, "1001 entries"),
        ({"client_request_id": "c" * 251}, "client_request_id"),
        ({"assessments": [{"assessment_name": "x"}]}, "Exactly one of"),
    ],
)
def test_a_bad_report_changes_nothing(client: TestClient, workspace: Workspace, said: Any, told: str) -> None:
    answer = start(client, **said)
    assert error(answer) == (400, "INVALID_PARAMETER_VALUE")
    assert told in answer.json()["message"]
    assert workspace.store.database.all("SELECT id FROM traces") == []


def test_long_values_are_cut(client: TestClient) -> None:
    info = start(client, tags={"k": "x" * 9000}, request_preview="y" * 20_000).json()["trace"]["trace_info"]
    assert (len(info["tags"]["k"]), len(info["request_preview"])) == (8000, 10_000)


def test_spans_are_protobuf_in_json(client: TestClient, workspace: Workspace) -> None:
    values = {"t": "x", "b": True, "i": -7, "d": float("nan"), "n": None, "y": b"hi", "m": {"a": [1, {}]}, "e": []}
    events = (SpanEvent("ev", 5, {"x": 1}),)
    links = (SpanLink(b"u" * 16, b"j" * 8, {"why": "w"}),)
    add_spans(
        workspace, 1, span(1, 1, attributes=values, events=events, links=links, kind=2, message="m", dropped=(1, 0, 0))
    )
    trace = client.get(f"{API}/get", params={"trace_id": named(1), "allow_partial": "False"}).json()["trace"]
    assert trace["spans"] == [
        {
            "trace_id": "AAAAAAAAAAAAAAAAAAAAAQ==",
            "span_id": "AAAAAAAAAAE=",
            "name": "s1",
            "kind": "SPAN_KIND_SERVER",
            "start_time_unix_nano": 10**18,
            "end_time_unix_nano": 10**18 + 5,
            "attributes": [
                {"key": "t", "value": {"string_value": "x"}},
                {"key": "b", "value": {"bool_value": True}},
                {"key": "i", "value": {"int_value": -7}},
                {"key": "d", "value": {"double_value": "NaN"}},
                {"key": "n", "value": {}},
                {"key": "y", "value": {"bytes_value": "aGk="}},
                {
                    "key": "m",
                    "value": {
                        "kvlist_value": {
                            "values": [
                                {
                                    "key": "a",
                                    "value": {"array_value": {"values": [{"int_value": 1}, {"kvlist_value": {}}]}},
                                }
                            ]
                        }
                    },
                },
                {"key": "e", "value": {"array_value": {}}},
            ],
            "dropped_attributes_count": 1,
            "events": [{"time_unix_nano": 5, "name": "ev", "attributes": [{"key": "x", "value": {"int_value": 1}}]}],
            "links": [
                {
                    "trace_id": "dXV1dXV1dXV1dXV1dXV1dQ==",
                    "span_id": "ampqampqamo=",
                    "attributes": [{"key": "why", "value": {"string_value": "w"}}],
                }
            ],
            "status": {"message": "m", "code": "STATUS_CODE_OK"},
        }
    ]


def test_many_at_once(client: TestClient, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.server.mlflow.arrivals._LONGEST_S", 0.0)
    start(client, 1)
    start(client, 2, trace_metadata={"mlflow.trace.sizeStats": '{"num_spans": 3}'})
    start(client, 3)
    add_spans(workspace, 1)
    add_spans(workspace, 2)
    asked = [("trace_ids", named(n)) for n in (2, 1, 3, 9)]
    found = client.get(f"{API}/batchGet", params=asked).json()["traces"]
    assert [(one["trace_info"]["trace_id"], len(one["spans"])) for one in found] == [(named(1), 2)]
    asked.append(("experiment_ids", "other"))
    assert client.get(f"{API}/batchGet", params=asked).json() == {}
    infos = client.post(f"{API}/batchGetInfos", json={"trace_ids": [named(n) for n in (2, 1, 9)]}).json()["trace_infos"]
    assert [one["trace_id"] for one in infos] == [named(2), named(1)]
    for number in (2, 3):
        answer = client.get(f"{API}/get", params={"trace_id": named(number)})
        assert error(answer) == (404, "RESOURCE_DOES_NOT_EXIST")
        assert "not fully exported" in answer.json()["message"]
    part = client.get(f"{API}/get", params={"trace_id": named(2), "allow_partial": "true"}).json()["trace"]
    assert len(part["spans"]) == 2
    assert error(client.get(f"{API}/get", params={"trace_id": named(9)})) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert error(client.get(f"{API}/batchGet", params=[("trace_ids", "x")] * 101))[0] == 400


def test_searches_by_pages(client: TestClient, workspace: Workspace) -> None:
    for number in range(1, 5):
        start(client, number, tags={"even": str(number % 2 == 0)})
    asked: dict[str, Any] = {"locations": [PLACE], "max_results": 3}
    first = client.post(f"{API}/search", json=asked).json()
    assert [one["trace_id"] for one in first["traces"]] == [named(4), named(3), named(2)]
    last = client.post(f"{API}/search", json={**asked, "page_token": first["next_page_token"]}).json()
    assert [one["trace_id"] for one in last["traces"]] == [named(1)]
    assert "next_page_token" not in last
    even = client.post(f"{API}/search", json={**asked, "filter": "tag.even = 'True'", "order_by": ["timestamp ASC"]})
    assert [one["trace_id"] for one in even.json()["traces"]] == [named(2), named(4)]
    old = client.get(OLD, params={"experiment_ids": "0", "filter": "tag.even = 'True'"}).json()["traces"]
    assert [one["request_id"] for one in old] == [named(4), named(2)]
    for wrong in (
        {"filter": "bogus = 1"},
        {"max_results": 501},
        {"max_results": -1},
        {"page_token": "x"},
        {"locations": 1},
    ):
        assert error(client.post(f"{API}/search", json={**asked, **wrong})) == (400, "INVALID_PARAMETER_VALUE")
    assert client.post(f"{API}/search", json={"locations": []}).json() == {}


@pytest.mark.parametrize("base", [API, OLD])
def test_tags(client: TestClient, base: str) -> None:
    start(client)
    path = f"{base}/{named(1)}/tags"
    assert client.patch(path, json={"key": "a", "value": "b"}).json() == {}
    assert client.get(f"{API}/{named(1)}").json()["trace"]["trace_info"]["tags"]["a"] == "b"
    assert client.request("DELETE", path, json={"key": "a"}).json() == {}
    assert error(client.request("DELETE", path, json={"key": "a"})) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert error(client.patch(path, json={"key": "mlflow.trace.spansLocation"})) == (400, "INVALID_PARAMETER_VALUE")
    assert error(client.patch(path, json={"value": "b"})) == (400, "INVALID_PARAMETER_VALUE")
    assert error(client.patch(f"{base}/{named(2)}/tags", json={"key": "a"})) == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize("base", [API, OLD])
def test_deleting(client: TestClient, workspace: Workspace, base: str) -> None:
    for number in range(1, 5):
        start(client, number)
    path = f"{base}/delete-traces"
    asked: dict[str, Any] = {"experiment_id": "0"}
    assert client.post(path, json={**asked, "request_ids": [named(4), "nope"]}).json() == {"traces_deleted": 1}
    until = to_micros(from_micros(read_timestamp("2026-11-22T10:07:02.207Z", ""))) // 1000
    assert client.post(path, json={**asked, "max_timestamp_millis": until, "max_traces": 1}).json() == {
        "traces_deleted": 1
    }
    assert client.post(path, json={**asked, "max_timestamp_millis": str(until)}).json() == {"traces_deleted": 1}
    assert client.post(path, json={**asked, "max_timestamp_millis": until}).json() == {"traces_deleted": 0}
    assert [row["id"] for row in workspace.store.database.all("SELECT id FROM traces")] == [named(3)]
    for wrong in (
        {},
        {"max_traces": 1},
        {"request_ids": ["x"], "max_traces": 1},
        {"max_timestamp_millis": 1, "max_traces": 0},
    ):
        assert error(client.post(path, json={**asked, **wrong})) == (400, "INVALID_PARAMETER_VALUE")


def test_assessments(client: TestClient, workspace: Workspace) -> None:
    start(client)
    path = f"{API}/{named(1)}/assessments"
    said = {
        "assessment_name": "good",
        "trace_id": named(1),
        "source": {"source_type": "HUMAN", "source_id": "ann"},
        "create_time": "2026-11-22T10:07:13.858Z",
        "last_update_time": "2026-11-22T10:07:13.858Z",
        "feedback": {"value": True},
        "rationale": "fine",
        "metadata": {"a": "b"},
        "valid": True,
    }
    made = client.post(path, json={"assessment": said}).json()["assessment"]
    assert made == {**said, "assessment_id": made["assessment_id"]}
    size = workspace.store.ledger.size()
    assert client.post(path, json={"assessment": said}).json()["assessment"] == made
    assert workspace.store.ledger.size() == size
    one = f"{path}/{made['assessment_id']}"
    assert client.get(one).json() == {"assessment": made}
    change = {"assessment": {"feedback": {"value": None, "error": {"error_code": "E"}}, "metadata": {"c": "d"}}}
    new = client.patch(one, json={**change, "update_mask": "feedback,metadata"}).json()["assessment"]
    assert (new["feedback"], new["metadata"]) == ({"value": None, "error": {"error_code": "E"}}, {"a": "b", "c": "d"})
    renamed = {"assessment": {"assessment_name": "n"}, "update_mask": {"paths": ["assessmentName"]}}
    assert client.patch(one, json=renamed).json()["assessment"]["assessment_name"] == "n"
    for mask in ("valid", "expectation", "source"):
        assert error(client.patch(one, json={**change, "update_mask": mask}))[0] == 400
    wrong = {"assessment": {"expectation": {"value": 1}}, "update_mask": "expectation"}
    assert "Cannot update expectation" in client.patch(one, json=wrong).json()["message"]
    assert client.delete(one).json() == {}
    assert client.delete(one).json() == {}
    assert error(client.get(one)) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert error(client.post(f"{API}/nope/assessments", json={"assessment": said})) == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize(
    "value",
    [
        {"expectation": {"value": 42.0}},
        {"expectation": {"serialized_value": {"serialization_format": "JSON_FORMAT", "value": '{"a": [1, 2]}'}}},
        {"feedback": {"value": [1.5, "x"]}},
        {"issue": {"issue_name": "slow"}},
    ],
)
def test_values_of_assessments_come_back(client: TestClient, value: dict[str, Any]) -> None:
    start(client, assessments=[{"assessment_name": "x", **value}])
    start(client, assessments=[{"assessment_name": "y", "create_time": "2026-11-22T10:07:13Z", **value}])
    (one, two) = client.get(f"{API}/{named(1)}").json()["trace"]["trace_info"]["assessments"]
    for found in (one, two):
        assert {kind: found[kind] for kind in value} == value


@pytest.mark.parametrize(
    "value",
    [
        {"expectation": {"value": None}},
        {"expectation": {"value": 1, "error": {"error_code": "E"}}},
        {"expectation": {"serialized_value": {"serialization_format": "JSON_FORMAT", "value": "{"}}},
        {"expectation": {"serialized_value": {"serialization_format": "PICKLE", "value": "1"}}},
        {"feedback": {"value": 1}, "expectation": {"value": 1}},
        {"feedback": {"value": "x" * (1 << 20)}},
    ],
)
def test_bad_assessments_change_nothing(client: TestClient, workspace: Workspace, value: dict[str, Any]) -> None:
    start(client)
    answer = client.post(f"{API}/{named(1)}/assessments", json={"assessment": {"assessment_name": "x", **value}})
    assert error(answer) == (400, "INVALID_PARAMETER_VALUE")
    assert workspace.store.database.all("SELECT id FROM trace_assessments") == []


def test_links(client: TestClient) -> None:
    start(client)
    run = client.post("/api/2.0/mlflow/runs/create", json={"experiment_id": "0"}).json()["run"]["info"]["run_id"]
    assert client.post(f"{OLD}/link-to-run", json={"trace_ids": [named(1)], "run_id": run}).json() == {}
    asked = {"locations": [PLACE], "filter": f"attribute.run_id = '{run}'"}
    assert len(client.post(f"{API}/search", json=asked).json()["traces"]) == 1
    prompts = {"trace_id": named(1), "prompt_versions": [{"name": "greet", "version": "1"}]}
    assert client.post(f"{OLD}/link-prompts", json=prompts).json() == {}
    asked["filter"] = "prompt = 'greet/1'"
    assert len(client.post(f"{API}/search", json=asked).json()["traces"]) == 1
    assert error(client.post(f"{OLD}/link-to-run", json={"trace_ids": [named(1)], "run_id": "nope"}))[0] == 404
    assert error(client.post(f"{OLD}/link-prompts", json={**prompts, "trace_id": "nope"}))[0] == 404


def test_older_clients(client: TestClient) -> None:
    begun = {"experiment_id": "0", "timestamp_ms": 1000, "request_metadata": [{"key": "a", "value": "b"}]}
    info = client.post(OLD, json=begun).json()["trace_info"]
    assert (info["status"], info["timestamp_ms"], info["execution_time_ms"]) == ("IN_PROGRESS", 1000, 0)
    ended = {"timestamp_ms": "1500", "status": "ERROR", "tags": [{"key": "mlflow.traceName", "value": "n"}]}
    done = client.patch(f"{OLD}/{info['request_id']}", json=ended).json()["trace_info"]
    assert (done["status"], done["execution_time_ms"]) == ("ERROR", 500)
    assert {"key": "a", "value": "b"} in done["request_metadata"]
    assert client.get(f"{OLD}/{info['request_id']}/info").json() == {"trace_info": done}
    assert error(client.patch(f"{OLD}/nope", json=ended)) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert error(client.post(OLD, json={**begun, "timestamp_ms": 1 << 50})) == (400, "INVALID_PARAMETER_VALUE")


def test_files_of_a_trace(client: TestClient, workspace: Workspace) -> None:
    start(client)
    base = f"/api/2.0/mlflow-artifacts/artifacts/0/traces/{named(1)}/artifacts"
    assert client.put(f"{base}/attachments/x", content=b"hello").status_code == 200
    assert client.get(f"{base}/attachments/x").content == b"hello"
    listed = client.get(
        "/api/2.0/mlflow-artifacts/artifacts", params={"path": f"0/traces/{named(1)}/artifacts/attachments"}
    )
    assert [file["path"] for file in listed.json()["files"]] == ["x"]
    assert client.put(base.replace(named(1), named(2)) + "/x", content=b"").status_code == 404
    assert client.delete(f"{base}/attachments/x").status_code == 200
    kinds = [event.kind for event in workspace.store.ledger.events(subject=f"trace:{named(1)}")]
    assert kinds == ["trace.created", "trace.artifact_logged", "trace.artifact_deleted"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/3.0/mlflow/traces/metrics"),
        ("POST", "/api/3.0/mlflow/traces/calculate-filter-correlation"),
        ("GET", "/api/2.0/mlflow/unified-traces"),
        ("GET", "/api/2.0/mlflow/get-online-trace-details"),
        ("GET", "/api/3.0/mlflow/gateway/secrets/list"),
        ("POST", "/api/3.0/mlflow/gateway/endpoints/models/attach"),
        ("POST", "/api/3.0/mlflow/scorers/register"),
        ("GET", "/api/3.0/mlflow/scorers/list"),
        ("POST", "/api/3.0/mlflow/datasets/create"),
        ("GET", "/api/3.0/mlflow/datasets/d-1/records"),
        ("GET", "/api/3.0/mlflow/label-schemas/list"),
        ("POST", "/api/3.0/mlflow/review-queues/create"),
        ("POST", "/api/3.0/mlflow/issues/search"),
        ("POST", "/api/3.0/mlflow/prompt-optimization/jobs"),
        ("GET", "/ajax-api/3.0/jobs/1"),
    ],
)
def test_the_rest_is_not_spoken(client: TestClient, method: str, path: str) -> None:
    assert error(client.request(method, path, json=None if method == "GET" else {})) == (501, "NOT_IMPLEMENTED")


def test_datasets_of_runs_are(client: TestClient) -> None:
    for path in ("/ajax-api/2.0/mlflow/experiments/search-datasets", "/api/2.0mlflow/experiments/search-datasets"):
        assert client.post(path, json={"experiment_ids": ["0"]}).status_code == 200


@given(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))
def test_instants_come_back(micros: int) -> None:
    assert read_timestamp(timestamp(micros), "x") == micros


@given(st.integers(-(10**17), 10**17))
def test_durations_come_back(micros: int) -> None:
    assert read_duration(duration(micros), "x") == micros


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000),
        ("1970-01-01T00:00:00.5z", 500_000),
        ("1970-01-01T01:00:00.123456789+01:00", 123_456),
        ("1969-12-31T23:30:00-00:30", 0),
    ],
)
def test_forms_of_instants(text: str, micros: int) -> None:
    assert read_timestamp(text, "x") == micros


@given(
    st.text(max_size=30) | st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", fullmatch=True)
)
def test_any_text_is_an_instant_or_refused(text: str) -> None:
    for read in (read_timestamp, read_duration):
        try:
            assert isinstance(read(text, "when"), int)
        except Refused as refused:
            assert "when" in refused.message

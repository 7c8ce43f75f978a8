"""Traces: the decorator and spans, stored, found, tagged, judged, deleted; and spans of OpenTelemetry's own SDK."""

from __future__ import annotations

import time

import mlflow
import pytest
from errors import raises
from mlflow.entities import AssessmentSource, SpanStatusCode, SpanType

JUDGE = AssessmentSource(source_type="HUMAN", source_id="ann")


@pytest.fixture
def traced(experiment: str) -> str:
    """The id of the experiment that traces of this test go to."""
    mlflow.set_experiment(experiment_id=experiment)
    return experiment


@mlflow.trace(name="answer", attributes={"version": 1})
def answer(question: str) -> str:
    with mlflow.start_span("look up", span_type=SpanType.RETRIEVER) as span:
        span.set_inputs({"query": question})
        span.set_attribute("depth", 3)
        span.set_outputs(["été"])
    return question.upper()


@mlflow.trace
def fails() -> None:
    raise ValueError("on purpose")


def last() -> str:
    mlflow.flush_trace_async_logging()
    return mlflow.get_last_active_trace_id()


@pytest.mark.route("POST /api/3.0/mlflow/traces", "GET traces/*", "GET traces/get", "PUT artifacts/traces.json", "OTLP")
def test_a_traced_function(client, traced) -> None:
    assert answer("why?") == "WHY?"
    trace = mlflow.get_trace(last())
    info = trace.info
    assert info.trace_id.startswith("tr-")
    assert (info.experiment_id, str(info.state.value)) == (traced, "OK")
    assert info.request_time > 1.5e12
    assert info.execution_duration >= 0
    assert "why?" in info.request_preview
    assert info.tags["mlflow.traceName"] == "answer"
    spans = {span.name: span for span in trace.data.spans}
    assert set(spans) == {"answer", "look up"}
    root, child = spans["answer"], spans["look up"]
    assert (root.inputs, root.outputs, root.parent_id) == ({"question": "why?"}, "WHY?", None)
    assert child.parent_id == root.span_id
    assert (child.span_type, child.attributes["depth"], child.outputs) == ("RETRIEVER", 3, ["été"])
    assert root.start_time_ns <= child.start_time_ns <= child.end_time_ns <= root.end_time_ns
    assert client.get_trace(info.trace_id, display=False).to_dict() == trace.to_dict()


@pytest.mark.route("POST /api/3.0/mlflow/traces")
def test_an_error_is_part_of_its_trace(traced) -> None:
    with pytest.raises(ValueError, match="on purpose"):
        fails()
    trace = mlflow.get_trace(last())
    assert trace.info.state.value == "ERROR"
    (span,) = trace.data.spans
    assert span.status.status_code == SpanStatusCode.ERROR
    assert "on purpose" in span.events[0].attributes["exception.message"]


@pytest.mark.route("GET /api/3.0/mlflow/traces/*")
def test_a_trace_of_nobody(client) -> None:
    assert mlflow.get_trace("tr-" + "0" * 32, silent=True) is None
    with raises("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"):
        client.get_trace("tr-" + "0" * 32, display=False)


@pytest.fixture
def family(traced) -> dict[str, str]:
    """Four traces by name; `d` has failed."""
    made = {}
    for name, user in (("a", "ann"), ("b", "bob"), ("c", "ann"), ("d", "eve")):
        with mlflow.start_span(name, span_type=SpanType.LLM if name == "b" else SpanType.CHAIN) as span:
            span.set_inputs({"q": name})
            mlflow.update_current_trace(tags={"user": user}, metadata={"session": f"s{name}"})
            span.set_status("ERROR" if name == "d" else "OK")
        made[last()] = name
        time.sleep(0.002)
    return made


FILTERS = {
    "": "abcd",
    "tags.user = 'ann'": "ac",
    "tag.user != 'ann'": "bd",
    "tags.user LIKE '%e'": "d",
    "tags.user ILIKE 'AN%'": "ac",
    "attributes.status = 'ERROR'": "d",
    "trace.status = 'OK'": "abc",
    "status != 'OK'": "d",
    "attributes.name = 'b'": "b",
    "name LIKE 'b%' AND trace.status = 'OK'": "b",
    "metadata.session = 'sc'": "c",
    "timestamp_ms > 0": "abcd",
    "execution_time_ms >= 0": "abcd",
    "span.name = 'a'": "a",
    "span.type = 'LLM'": "b",
    "span.status = 'ERROR'": "d",
}


@pytest.mark.route("POST /api/3.0/mlflow/traces/search")
def test_traces_are_found(client, traced, family) -> None:
    wrong = {}
    for text, wanted in FILTERS.items():
        found = client.search_traces([traced], text, include_spans=False)
        got = "".join(sorted(family[trace.info.trace_id] for trace in found))
        if got != wanted:
            wrong[text] = (got, wanted)
    assert wrong == {}
    for text in ("nonsense", "thing.x = '1'", "tags.user > 'a'", "tags.user = ann"):
        with raises("INVALID_PARAMETER_VALUE"):
            client.search_traces([traced], text)


@pytest.mark.route("POST /api/3.0/mlflow/traces/search", "GET traces/batchGet")
def test_traces_are_ordered_and_have_pages(client, traced, family) -> None:
    for order, wanted in ((None, "dcba"), (["timestamp_ms ASC"], "abcd"), (["timestamp_ms DESC"], "dcba")):
        seen, token, pages = "", None, 0
        while pages == 0 or token:
            page = client.search_traces([traced], max_results=3, order_by=order, page_token=token)
            seen += "".join(family[trace.info.trace_id] for trace in page)
            assert all(trace.data.spans for trace in page)
            token, pages = page.token, pages + 1
        assert (seen, pages) == (wanted, 2)
    frame = mlflow.search_traces(experiment_ids=[traced])
    assert len(frame) == 4


@pytest.mark.route("PATCH /api/3.0/mlflow/traces/*/tags", "DELETE traces/*/tags")
def test_tags_of_a_trace(client, traced) -> None:
    answer("x")
    trace = last()
    mlflow.set_trace_tag(trace, "review", "é")
    mlflow.set_trace_tag(trace, "review", "done")
    assert mlflow.get_trace(trace).info.tags["review"] == "done"
    mlflow.delete_trace_tag(trace, "review")
    assert "review" not in mlflow.get_trace(trace).info.tags
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.delete_trace_tag(trace, "review")


@pytest.mark.route("POST /api/3.0/mlflow/traces/*/assessments", "GET", "PATCH", "DELETE traces/*/assessments/*")
def test_assessments(client, traced) -> None:
    answer("x")
    trace = last()
    feedback = mlflow.log_feedback(trace_id=trace, name="good", value=True, rationale="clear", source=JUDGE)
    mlflow.log_expectation(trace_id=trace, name="wanted", value={"answer": "X"}, source=JUDGE)
    found = {entry.name: entry for entry in mlflow.get_trace(trace).info.assessments}
    assert (found["good"].feedback.value, found["good"].rationale) == (True, "clear")
    assert found["good"].source.source_id == "ann"
    assert found["wanted"].expectation.value == {"answer": "X"}
    mlflow.override_feedback(trace_id=trace, assessment_id=feedback.assessment_id, value=False, source=JUDGE)
    values = {entry.feedback.value for entry in mlflow.get_trace(trace).info.assessments if entry.name == "good"}
    assert False in values
    changed = mlflow.update_assessment(
        trace, found["wanted"].assessment_id, mlflow.entities.Expectation("wanted", {"answer": "Y"}, JUDGE)
    )
    assert changed.expectation.value == {"answer": "Y"}
    mlflow.delete_assessment(trace, found["wanted"].assessment_id)
    assert "wanted" not in {entry.name for entry in mlflow.get_trace(trace).info.assessments}
    with raises("RESOURCE_DOES_NOT_EXIST"):
        mlflow.get_assessment(trace, found["wanted"].assessment_id)


@pytest.mark.route("POST /api/3.0/mlflow/traces/delete-traces")
def test_traces_are_deleted(client, traced, family) -> None:
    ids = {name: trace for trace, name in family.items()}
    assert client.delete_traces(traced, trace_ids=[ids["a"], ids["b"]]) == 2
    assert len(client.search_traces([traced])) == 2
    assert mlflow.get_trace(ids["a"], silent=True) is None
    assert client.delete_traces(traced, max_timestamp_millis=int(time.time() * 1000) + 1000, max_traces=1) == 1
    left = client.search_traces([traced])
    assert [family[trace.info.trace_id] for trace in left] == ["d"], "the oldest go first"
    with raises("INVALID_PARAMETER_VALUE"):
        client.delete_traces(traced)


@pytest.mark.route("POST /api/3.0/mlflow/traces", "POST traces/link-to-run")
def test_a_trace_belongs_to_its_run(client, active) -> None:
    answer("in a run")
    trace = last()
    assert mlflow.get_trace(trace).info.request_metadata["mlflow.sourceRun"] == active
    experiment = client.get_run(active).info.experiment_id
    assert [found.info.trace_id for found in client.search_traces(locations=[experiment], run_id=active)] == [trace]


@pytest.mark.route("POST /v1/traces")
def test_spans_of_opentelemetry(server, client, traced) -> None:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
    from opentelemetry.trace import Status, StatusCode

    results = []

    class Exporter(OTLPSpanExporter):
        def export(self, spans):
            results.append(super().export(spans))
            return results[-1]

    provider = TracerProvider(resource=Resource({"service.name": "shop"}))
    headers = {"x-mlflow-experiment-id": traced}
    provider.add_span_processor(SimpleSpanProcessor(Exporter(f"{server.address}/v1/traces", headers=headers)))
    tracer = provider.get_tracer("contract")
    with tracer.start_as_current_span("checkout") as outer:
        outer.set_attribute("cart.size", 3)
        outer.set_attribute("names", ["a", "é"])
        with tracer.start_as_current_span("pay") as inner:
            inner.add_event("charged", {"cents": 5})
            inner.set_status(Status(StatusCode.ERROR, "declined"))
    provider.shutdown()
    assert results == [SpanExportResult.SUCCESS] * 2
    wanted = f"tr-{outer.get_span_context().trace_id:032x}"
    trace = client.get_trace(wanted, display=False)
    spans = {span.name: span for span in trace.data.spans}
    assert set(spans) == {"checkout", "pay"}
    assert spans["checkout"].attributes["cart.size"] == 3
    assert list(spans["checkout"].attributes["names"]) == ["a", "é"]
    assert spans["pay"].parent_id == spans["checkout"].span_id
    assert spans["pay"].status.status_code == SpanStatusCode.ERROR
    assert spans["pay"].events[0].name == "charged"
    assert [found.info.trace_id for found in client.search_traces([traced])] == [wanted]


@pytest.mark.route("POST /v1/traces")
def test_otlp_that_cannot_be_read_is_refused(wire, traced) -> None:
    headers = {"x-mlflow-experiment-id": traced, "Content-Type": "application/x-protobuf"}
    assert wire.call("POST", "/v1/traces", b"\xff\xff\xff", headers=headers).status == 400
    assert wire.call("POST", "/v1/traces", b"", headers={**headers, "Content-Type": "text/plain"}).status == 400
    nobody = {"Content-Type": "application/x-protobuf"}
    assert wire.call("POST", "/v1/traces", b"\n\x00", headers=nobody).status in {400, 422}

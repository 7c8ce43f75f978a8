"""Spans of a real server, sent by OpenTelemetry's own exporter to Interlock's own collector."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from interlock.core.errors import MissingExtra
from interlock.sdk.workspace import Workspace
from interlock.serve.tracing import open_tracing
from interlock.server.run import serving
from interlock.store import create_store

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def collector(tmp_path):
    with Workspace.over(create_store(tmp_path / "collector/.interlock")) as workspace, serving(workspace) as address:
        yield workspace, address


def test_each_request_is_a_span_that_goes_on_with_the_callers_trace(shop, serve, tools, collector, monkeypatch):
    workspace, address = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{address}/v1/traces")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-mlflow-experiment-id=0")
    shop.deploy(tools.route(shop.bundle("people")))
    server = serve()
    header = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    good = {"dataframe_records": [shop.kinds["people"].rows[0]]}
    answer = server.client.post("/invocations", json=good, headers=header)
    assert answer.status_code == 200
    assert server.client.post("/invocations", json={"dataframe_records": [{}]}, headers=header).status_code == 400
    assert server.client.get("/ping").status_code == 200  # no prediction: no span
    assert server.stop() == 0  # what is left is sent first
    found = workspace.call("traces", "search", {})
    assert [TRACE in trace.id for trace in found.traces] == [True]
    spans = workspace.call("traces", "show", {"trace": found.traces[0].id}).spans
    assert [span.name for span in spans] == ["POST /invocations"] * 2
    facts = sorted((span.attributes for span in spans), key=lambda told: told["http.response.status_code"])
    assert [told["http.response.status_code"] for told in facts] == [200, 400]
    assert facts[0]["interlock.model"] == answer.headers["interlock-model"]
    assert facts[0]["interlock.request_id"] == answer.headers["interlock-request-id"]


def test_nobody_who_did_not_ask_pays_for_it():
    assert open_tracing("x", {}) is None
    asked = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    assert open_tracing("x", {**asked, "OTEL_SDK_DISABLED": "true"}) is None
    assert open_tracing("x", {**asked, "OTEL_TRACES_EXPORTER": "none"}) is None
    program = "import sys, interlock.serve.server; sys.exit(any(m.startswith('opentelemetry') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], check=False, env={**os.environ}).returncode == 0


def test_who_asked_without_the_sdk_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(MissingExtra, match="telemetry"):
        open_tracing("x", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})

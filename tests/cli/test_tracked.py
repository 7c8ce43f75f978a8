"""`interlock experiments`, `logged-models` and `traces`: tables and trees for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interlock.sdk.services import SERVICES
from interlock.store import create_store
from interlock.store.series import LatestValue
from interlock.store.spans import Span
from interlock.track.logged_models import ModelDraft, ModelMetric
from interlock.track.traces import SpanBatch, Traces
from interlock.track.tracker import Tracker

Command = Callable[..., Any]
TRACE = f"tr-{1:032x}"


def span(ident: int, parent: int, name: str, **said: Any) -> Span:
    at = 1_700_000_000_000_000_000 + ident * 250_000_000
    above = parent.to_bytes(8, "big") if parent else b""
    return Span((1).to_bytes(16, "big"), ident.to_bytes(8, "big"), above, name, at, at + 10**9, **said)


@pytest.fixture
def tracked(command: Command, folder: Path) -> Command:
    """A workspace with a trace and a logged model; returns the command."""
    store = create_store(folder / ".interlock")
    tracker = Tracker(store)
    tracker.experiments.ensure_default()
    ask = {"mlflow.spanType": "LLM", "model": "small"}
    spans = (span(1, 0, "answer", status=1), span(2, 1, "ask", status=2, message="no \x1b[31m", attributes=ask))
    Traces(store).take("0", [SpanBatch((*spans, span(3, 2, "retry")), {})])
    store.database.write(lambda tx: tracker.logged_models.create(tx, ModelDraft("0", "tree", "sklearn", id="m-1")))
    metric = ModelMetric("auc", LatestValue(1, 1_700_000_000_000_000, 0.75), dataset_name="test")
    store.database.write(lambda tx: tracker.logged_models.log_metric(tx, "m-1", metric))
    store.close()
    return lambda *words: command(*words, services=SERVICES)


@pytest.mark.parametrize("text", ["status = 'pending'", "status IN ('PENDING')", "status NOT IN ('ready', 'x')"])
def test_a_status_of_logged_models_is_found_however_it_is_written(tracked: Command, text: str) -> None:
    assert "m-1" in tracked("logged-models", "search", "--filter", text).out


def test_experiments_from_their_making_to_their_end(tracked: Command) -> None:
    assert tracked("experiments", "create", "credit", "--tags", "team=risk").code == 0
    shown = tracked("experiments", "search", "--filter", "tags.team = 'risk'").out
    assert "credit" in shown
    assert "Default" not in shown
    assert tracked("experiments", "rename", "credit", "loans").code == 0
    assert tracked("experiments", "tag", "loans", "--tags", "team=ops", "--remove", "gone").code == 3
    assert json.loads(tracked("--json", "experiments", "show", "loans").out)["tags"] == {"team": "risk"}
    assert tracked("experiments", "delete", "loans").code == 0
    assert [
        one["name"] for one in json.loads(tracked("experiments", "search", "--deleted", "--json").out)["experiments"]
    ] == ["loans"]
    assert json.loads(tracked("experiments", "restore", "loans", "--json").out)["lifecycle"] == "active"
    assert "Did you mean 'loans'" in tracked("experiments", "show", "loan").err


def test_a_trace_is_a_tree_for_people_and_all_of_it_for_programs(tracked: Command) -> None:
    lines = tracked("traces", "show", TRACE).out.splitlines()
    tree = lines[lines.index("spans") + 3 :]
    assert [line.split()[:-1] for line in tree] == [
        ["answer", "OK", "0"],
        ["`-", "ask", "LLM", "ERROR", "0.25", "1", "no"],
        ["`-", "retry", "UNSET", "0.5"],
    ]
    assert "\\x1b[31m" in tree[1]  # shown, and not done
    whole = json.loads(tracked("traces", "show", f"trace:{TRACE}", "--json").out)
    assert [one["parent"] for one in whole["spans"]] == ["", "0000000000000001", "0000000000000002"]
    assert whole["spans"][1]["attributes"] == {"model": "small"}


def test_traces_are_found_tagged_and_deleted(tracked: Command) -> None:
    assert TRACE in tracked("traces", "search", "--filter", "span.attributes.model = 'small'").out
    assert tracked("traces", "tag", TRACE, "--tags", "looked=yes").code == 0
    assert tracked("traces", "delete", TRACE, "tr-none").code == 3
    assert tracked("traces", "delete", TRACE).out == "1\n"
    assert json.loads(tracked("traces", "search", "--json").out)["traces"] == []
    assert tracked("traces", "prune", "Default", "2030-01-01").out == "0\n"


def test_logged_models_are_shown(tracked: Command) -> None:
    assert "auc=0.75 on test" in tracked("logged-models", "search", "--order-by", "metrics.auc DESC").out
    assert json.loads(tracked("logged-models", "show", "m-1", "--json").out)["metrics"][0]["value"] == 0.75
    assert tracked("logged-models", "show", "m-2").code == 3

"""A store behind its server: our own speaks the protocol whole, and one made here misbehaves."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from interlock.bridges.mlflow import Importer, open_source, server
from interlock.core.errors import Invalid, Unavailable
from interlock.core.files import StoredFile
from interlock.registry.catalogue import Catalogue
from interlock.sdk.workspace import Workspace
from interlock.server.run import serving
from interlock.store import Store, create_store
from interlock.store.inbox import pack_batch
from interlock.store.series import LatestValue
from interlock.track.links import Dataset, Link
from interlock.track.logged_models import ModelChange, ModelDraft, ModelMetric
from interlock.track.records import Start
from interlock.track.tracker import Tracker

PROMPT = {"mlflow.prompt.is_prompt": "true"}
RUNS = 450  # more than two pages


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Store]:
    """Another workspace, with something of everything."""
    opened = create_store(tmp_path / "theirs/.interlock")
    tracker, catalogue = Tracker(opened), Catalogue(opened)
    tracker.experiments.ensure_default()

    def fill(tx: Any) -> None:
        experiment = tracker.experiments.create(tx, "exp", {"owner": "ann"})
        run = tracker.runs.create(tx, Start("", "trainer", {"p": "1"}, {"t": "x"}, id="a" * 32), experiment, "ann")
        opened.series.put(tx, run, pack_batch(["loss"] * 3, [0, 1, 2], [1000, 2000, 3000], [0.5, math.nan, math.inf]))
        digest = opened.objects.put(b"flavors: {}")
        for path in ("model/MLmodel", "a b/\u00fc#1.txt"):
            tracker.artifacts.put(tx, "run", run, StoredFile(path, digest, 11))
        draft = ModelDraft(experiment, "model", "agent", run, {"q": "2"}, {"mt": "mv"}, "m-" + "1" * 32)
        model = tracker.logged_models.create(tx, draft)
        point = LatestValue(3, 4000, 0.75)
        tracker.logged_models.log_metric(tx, model, ModelMetric("acc", point, run, "people", "d1"))
        tracker.logged_models.change(tx, model, ModelChange("ready"))
        data = Dataset("people", "d1", "code", "{}", None, None)
        links = [Link("dataset", "people", "d1", tags={"k": "v"}, dataset=data), Link("model", model)]
        tracker.links.add(tx, run, experiment, [*links, Link("output", model, step=7)])
        tracker.runs.finish(tx, run, "finished", "", 5_000_000)
        for number in range(RUNS):
            tracker.runs.create(tx, Start("", f"r{number}", id=f"{number:032x}"), experiment, "ann")
        tracker.runs.move(tx, f"{3:032x}", "deleted")
        catalogue.models.create(tx, "shop's", description="What people buy", tags={"team": "red"})
        catalogue.models.create(tx, "greet", tags=PROMPT)

    opened.database.write(fill)
    for model, tags in (("shop's", {"n": "1"}), ("greet", {**PROMPT, "mlflow.prompt.text": "Hi {{name}}"})):
        draft = catalogue.versions.draft(model, source="dummy-source", location="dummy-source", tags=tags)
        opened.database.write(lambda tx, draft=draft: catalogue.versions.create(tx, draft))
        opened.database.write(lambda tx, model=model: catalogue.aliases.set(tx, model, "best", 1))
    yield opened
    opened.close()


def test_a_store_is_taken_over_through_its_server(store: Store, theirs: Store) -> None:
    with serving(Workspace.over(theirs)) as address:
        source = open_source(address)
        report = Importer(store, source).run()
        again = Importer(store, source).run()
        source.close()
    left = [line for line in report.left if "dummy-source" not in line]
    assert left == []
    found = {count.what: (count.there, count.here) for count in report.counts}
    assert {what for what, (there, here) in found.items() if there != here} == set()
    assert again.counts == report.counts
    assert (found["runs"], found["points"], found["artifacts"]) == ((RUNS + 1,) * 2, (3, 3), (2, 2))
    assert (found["inputs"], found["outputs"], found["logged model points"]) == ((2, 2), (1, 1), (1, 1))
    assert (found["models"], found["versions"], found["aliases"]) == ((2, 2), (2, 2), (2, 2))
    tracker = Tracker(store)
    steps, _, values = zip(*store.series.points("a" * 32, "loss"), strict=True)
    assert (steps, [repr(value) for value in values]) == ((0, 1, 2), ["0.5", "nan", "inf"])
    assert {file.name for file in tracker.artifacts.all("a" * 32)} == {"model/MLmodel", "a b/\u00fc#1.txt"}
    assert Catalogue(store).versions.get(store.database, "greet", 1).tags["mlflow.prompt.text"] == "Hi {{name}}"


Answers = dict[str, Any]


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answers], str]]:
    """Serves what is given by the end of the path: a value as JSON, a status, bytes as they are, or a function."""
    monkeypatch.setattr(server, "_PAUSES_S", (0.0, 0.0))
    running = []

    def serve(answers: Answers) -> str:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = urlsplit(self.path)
                found = next((answers[end] for end in answers if parts.path.endswith(end)), {})
                if callable(found):
                    found = found({name: value[0] for name, value in parse_qs(parts.query).items()}, body)
                status = found if isinstance(found, int) else 200
                data = found if isinstance(found, bytes) else json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self) -> None:
                self.answer()

            def do_POST(self) -> None:
                self.answer()

            def log_message(self, *_: Any) -> None:
                pass

        httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        running.append(httpd)
        return f"http://127.0.0.1:{httpd.server_port}"

    yield serve
    for httpd in running:
        httpd.shutdown()
        httpd.server_close()


EXPERIMENTS = {"experiments": [{"experiment_id": "1", "name": "one"}, {"experiment_id": "2", "name": "two"}]}


def run_of(ident: str, **more: Any) -> dict[str, Any]:
    return {"info": {"run_id": ident, "run_name": "r", "status": "FINISHED", **more}}


def taken(store: Store, address: str) -> tuple[dict[str, tuple[int, int]], str]:
    source = open_source(address)
    report = Importer(store, source).run()
    source.close()
    assert report.complete == (not report.left)
    return {count.what: (count.there, count.here) for count in report.counts}, "\n".join(report.left)


def test_a_server_that_breaks_off_in_the_middle_is_named_and_the_next_experiment_goes_on(store: Store, odd) -> None:
    def runs(_: Any, body: bytes) -> Any:
        asked = json.loads(body)
        if asked["experiment_ids"] == ["2"]:
            return {"runs": [run_of("b" * 32)]}
        return 503 if "page_token" in asked else {"runs": [run_of("a" * 32)], "next_page_token": "more"}

    def run(query: Any, _: bytes) -> Any:
        return {"run": run_of(query["run_id"])}

    found, left = taken(store, odd({"experiments/search": EXPERIMENTS, "runs/search": runs, "runs/get": run}))
    assert found["runs"] == (2, 2)
    assert "runs of experiment one: reading broke off after 1" in left
    assert "503" in left


def test_what_is_better_a_moment_later_is_asked_again(store: Store, odd) -> None:
    troubles = [502, 429]

    def run(query: Any, _: bytes) -> Any:
        return troubles.pop() if troubles else {"run": run_of(query["run_id"])}

    answers = {"experiments/search": {"experiments": [EXPERIMENTS["experiments"][0]]}, "runs/get": run}
    found, left = taken(store, odd({**answers, "runs/search": {"runs": [run_of("a" * 32)]}}))
    assert (found["runs"], left) == ((1, 1), "")


@pytest.mark.parametrize(
    "bad",
    [
        {"info": "none"},
        {"info": {"run_name": "without an id"}},
        {"info": {"run_id": 5}},
        {"info": {"run_id": "b" * 32, "start_time": "soon"}},
        {"info": {"run_id": "b" * 32, "status": "FINISHED", "end_time": 10**30}},
        {"info": {"run_id": "b" * 32, "start_time": 10**30}},
        [],
        None,
    ],
)
def test_a_bad_record_costs_only_itself(store: Store, odd, bad: Any) -> None:
    def run(query: Any, _: bytes) -> Any:
        return {"run": run_of("a" * 32) if query["run_id"] == "a" * 32 else bad}

    answers = {"experiments/search": {"experiments": [EXPERIMENTS["experiments"][0]]}, "runs/get": run}
    found, left = taken(store, odd({**answers, "runs/search": {"runs": [bad, run_of("a" * 32)]}}))
    assert found["runs"][1] == 1
    assert "run" in left


@pytest.mark.parametrize("answer", [b"no json", b"[1, 2]", b"", b'{"runs": 5}', b'{"runs": [' + b"[" * 100_000])
def test_answers_that_are_none_are_told(store: Store, odd, answer: bytes) -> None:
    found, left = taken(store, odd({"experiments/search": EXPERIMENTS, "runs/search": answer}))
    assert (found["experiments"], found["runs"]) == ((2, 2), (0, 0))
    assert "runs of experiment one" in left


def test_pages_without_end_are_not_read_for_ever(store: Store, odd) -> None:
    runs = {"runs": [], "next_page_token": "again"}
    _, left = taken(store, odd({"experiments/search": EXPERIMENTS, "runs/search": runs}))
    assert "again and again" in left


def test_a_server_that_is_not_there_or_is_none(odd) -> None:
    with pytest.raises(Unavailable, match="cannot be asked"):
        open_source("http://127.0.0.1:9")
    with pytest.raises(Invalid, match="answered 401"):
        open_source(odd({"experiments/search": 401}))


def test_answers_have_a_largest_size(store: Store, odd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_LARGEST", 1000)
    many = {"runs": [run_of("a" * 32, user_id="x" * 2000)]}
    _, left = taken(store, odd({"experiments/search": EXPERIMENTS, "runs/search": many}))
    assert "more than 1,000 bytes" in left


def test_files_that_come_short_are_left(store: Store, odd) -> None:
    def run(query: Any, _: bytes) -> Any:
        return {"run": run_of(query["run_id"], artifact_uri="mlflow-artifacts:/1/a/artifacts")}

    def listed(query: Any, _: bytes) -> Any:
        return {"files": [{"path": "gone.txt", "file_size": 3}, {"path": "here.txt"}]} if query else {}

    answers = {
        "experiments/search": {"experiments": [EXPERIMENTS["experiments"][0]]},
        "runs/search": {"runs": [run_of("a" * 32)]},
        "runs/get": run,
        "gone.txt": 404,
        "here.txt": b"here",
        "mlflow-artifacts/artifacts": listed,
    }
    found, left = taken(store, odd(answers))
    assert found["artifacts"] == (2, 1)
    assert "gone.txt" in left

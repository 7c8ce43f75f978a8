"""`interlock runs`, on real runs of a workspace in this folder."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from interlock.sdk.services import SERVICES
from interlock.sdk.workspace import Workspace
from interlock.store import Store, create_store
from interlock.store.manifests import Entry, put_entries
from interlock.track.environment import Environment
from interlock.track.records import Start

Command = Callable[..., Any]


@pytest.fixture
def history(command: Command, folder: Path) -> Callable[..., Any]:
    """Two runs of one experiment and one of another; returns the command."""
    store = create_store(folder / ".interlock")
    with Workspace.over(store, services=SERVICES) as workspace:
        for number, (experiment, depth) in enumerate((("trees", 3), ("trees", 12), ("lines", 3))):
            code = put_entries(store.objects, [entry(store, f"depth = {depth}\nsame = 1\n")])
            made = Environment("3.11", "CPython", "Linux", 2, {"numpy": f"2.{number}", "polars": "2"})
            environment = store.objects.put(msgspec.json.encode(made))
            start = Start(experiment, f"run-{number}", {"depth": str(depth)}, code=code, environment=environment)
            run = workspace.track.start(start)
            for step in range(5):
                workspace.track.log_metrics(run.id, {"loss": math.exp(-step * depth / 10), "auc": 0.5}, step)
            path = folder / "note.txt"
            path.write_text(f"note {number}")
            workspace.track.log_artifact(run.id, "notes/note.txt", path)
            workspace.track.finish(run.id)
            store.objects.put(b"x")
    return lambda *words: command(*words, services=SERVICES)


def entry(store: Store, text: str) -> Entry:
    data = text.encode()
    return Entry("pipeline.py", len(data), store.objects.put(data))


def test_runs_are_listed_newest_first_and_found_by_filters(history: Command) -> None:
    done = history("runs", "ls", "--json")
    assert [run["name"] for run in json.loads(done.out)["runs"]] == ["run-2", "run-1", "run-0"]
    found = json.loads(history("runs", "ls", "--filter", "params.depth > 5", "--json").out)["runs"]
    assert [run["name"] for run in found] == ["run-1"]
    assert "run-2" not in history("runs", "ls", "trees").out
    first = history("runs", "ls", "--limit", "1", "--order-by", "attributes.run_name ASC")
    assert "run-0" in first.out
    token = first.err.rpartition(" ")[2].strip()
    assert (
        "run-1"
        in history("runs", "ls", "--limit", "1", "--order-by", "attributes.run_name ASC", "--page-token", token).out
    )


def test_a_filter_that_is_wrong_is_pointed_at(history: Command) -> None:
    done = history("runs", "ls", "--filter", "metrics.auc >")
    assert done.code == 2
    assert "metrics.auc >" in done.err


@pytest.mark.parametrize("words", [("runs", "ls", "--filter"), ("models", "ls", "--filter"), ("traces", "search")])
def test_the_caret_stands_under_the_mistake(history: Command, words: tuple[str, ...]) -> None:
    text = "tags.a = 'b' and loss < 1"
    more = ("--filter", text) if words[0] == "traces" else (text,)
    done = history(*words, *more)
    lines = done.err.splitlines()
    at = lines.index(f"    {text}")
    assert lines[at + 1].rstrip() == " " * (4 + text.index("loss")) + "^"


@pytest.fixture
def watched(history: Command, folder: Path) -> Command:
    """Two runs of which the machine tells more than the user."""
    with Workspace.open(folder) as workspace:
        for number, name in enumerate(("one", "two")):
            run = workspace.track.start(Start("watched", name, tags={"interlock.host": name, "team": name}))
            machine = {f"system/cpu_{part}_percentage": float(number) for part in range(5)}
            for step in range(2):
                workspace.track.log_metrics(run.id, {**machine, "zeta": 0.25 + number}, step)
            workspace.track.finish(run.id)
    return history


def test_lists_show_the_users_own_metrics_first(watched: Command) -> None:
    shown = watched("runs", "ls", "watched").out
    assert "zeta=0.25" in shown
    assert "system/" not in shown
    everything = watched("runs", "ls", "watched", "--all").out
    assert "zeta=0.25, system/cpu_0_percentage=0" in everything
    assert "system/cpu_0_percentage" in watched("runs", "ls", "watched", "--json").out


def test_comparisons_leave_out_what_the_machine_says(watched: Command) -> None:
    done = watched("runs", "compare", "one", "two")
    assert ("zeta" in done.out, "team" in done.out) == (True, True)
    assert "system/" not in done.out
    assert "interlock.host" not in done.out
    assert "--all" in done.err
    everything = watched("runs", "compare", "one", "two", "--all")
    assert "system/cpu_0_percentage" in everything.out
    assert "interlock.host" in everything.out
    assert "6 more" not in everything.err


def test_a_users_curve_is_drawn_before_those_of_the_machine(watched: Command) -> None:
    assert watched("runs", "compare", "one", "two", "--plot", "x.svg").err.splitlines()[-1] == "zeta: x.svg"


def test_a_diff_leaves_out_what_the_machine_says(watched: Command) -> None:
    lines = watched("runs", "diff", "one", "two").out.splitlines()
    assert "metric zeta" in lines
    assert not [line for line in lines if "system/" in line or "interlock.host" in line]
    everything = watched("runs", "diff", "one", "two", "--all").out.splitlines()
    assert {"metric zeta", "metric system/cpu_0_percentage", "tag interlock.host"} <= set(everything)


@pytest.mark.parametrize("status", ["finished", "FINISHED", "Finished"])
def test_a_status_is_found_however_it_is_written(history: Command, status: str) -> None:
    assert "run-0" in history("runs", "ls", "--filter", f"status = '{status}' and params.depth > 1").out
    assert history("runs", "ls", "--filter", f"not (status = '{status}')").out == "none\n"


def test_runs_are_found_by_date(history: Command) -> None:
    assert "run-0" in history("runs", "ls", "--filter", "start_time > '2026-01-01'").out
    assert "run-0" in history("runs", "ls", "--filter", "created > '2026-01-01' and end_time < '2999-01-01'").out
    assert history("runs", "ls", "--filter", "created < '2026-01-01T00:00:00Z'").out == "none\n"


def test_runs_are_named_by_name_too(history: Command) -> None:
    assert json.loads(history("runs", "show", "run-1", "--json").out)["params"] == {"depth": "12"}
    missing = history("runs", "show", "no such run")
    assert (missing.code, "interlock runs ls" in missing.err) == (3, True)


def test_a_comparison_shows_what_differs_and_nothing_else(history: Command) -> None:
    done = history("runs", "compare", "run-0", "run-1")
    assert "depth" in done.out
    assert "auc" not in done.out
    assert "same in all 2 runs" in done.err
    everything = json.loads(history("runs", "compare", "run-0", "run-1", "--all", "--json").out)
    assert {found["name"] for found in everything["differences"]} >= {"depth", "auc", "loss", "code", "status"}
    assert history("runs", "compare", "run-0").code == 2


@pytest.mark.parametrize(("name", "begin"), [("curves.svg", b"<svg"), ("curves.png", b"\x89PNG")])
def test_curves_are_drawn(history: Command, folder: Path, name: str, begin: bytes) -> None:
    done = history("runs", "compare", "run-0", "run-1", "--plot", name, "--metric", "loss")
    assert done.code == 0, done.err
    assert (folder / name).read_bytes().startswith(begin)


def test_what_cannot_be_drawn_is_told(history: Command) -> None:
    assert "no .svg or .png" in history("runs", "compare", "run-0", "run-1", "--plot", "x.gif").err
    assert "'loss'" in history("runs", "compare", "run-0", "run-1", "--plot", "x.svg", "--metric", "los").err


def test_a_diff_shows_facts_code_and_packages(history: Command) -> None:
    lines = history("runs", "diff", "run-0", "run-1").out.splitlines()
    assert lines[lines.index("param depth") + 1 : lines.index("param depth") + 3] == ["- 3", "+ 12"]
    assert "-depth = 3" in lines
    assert "+depth = 12" in lines
    assert "package numpy: 2.0 -> 2.1" in lines
    assert not [line for line in lines if "polars" in line]
    assert history("runs", "diff", "run-0", "run-0").out == "Nothing differs.\n"


def test_deleted_runs_come_back(history: Command) -> None:
    assert history("runs", "rm", "run-0").code == 0
    assert "run-0" not in history("runs", "ls").out
    assert "run-0" in history("runs", "ls", "--deleted").out
    ident = json.loads(history("runs", "ls", "--deleted", "--json").out)["runs"][0]["id"]
    assert history("runs", "restore", ident).code == 0
    assert "run-0" in history("runs", "ls").out


def test_runs_are_exported_as_table_facts_or_folder(history: Command, folder: Path) -> None:
    assert history("runs", "export", "run-0", "run-1", "-o", "runs.csv").code == 0
    rows = list(csv.DictReader((folder / "runs.csv").read_text().splitlines()))
    assert [row["params.depth"] for row in rows] == ["3", "12"]
    assert float(rows[0]["metrics.loss"]) == math.exp(-4 * 3 / 10)
    assert history("runs", "export", "run-0", "-o", "runs.json").code == 0
    assert json.loads((folder / "runs.json").read_text())[0]["name"] == "run-0"
    assert history("runs", "export", "run-0", "-o", "out").code == 0
    (made,) = (folder / "out").iterdir()
    assert (made / "artifacts/notes/note.txt").read_text() == "note 0"
    curve = list(csv.reader((made / "metrics/001-loss.csv").read_text().splitlines()))
    assert [float(row[2]) for row in curve[1:]] == [math.exp(-step * 3 / 10) for step in range(5)]
    assert history("runs", "export", "run-0", "-o", "out").code != 0


def test_a_run_shows_the_versions_that_it_made(history: Command, folder: Path) -> None:
    assert json.loads(history("runs", "show", "run-0", "--json").out)["versions"] == []
    with Workspace.open(folder) as workspace:
        ident = workspace.track.search(filter="attributes.run_name = 'run-0'").runs[0].id
    assert history("registry", "register", "notes", ident, f"run:{ident}/notes").code == 0
    assert json.loads(history("runs", "show", "run-0", "--json").out)["versions"] == ["model:notes@1"]
    assert "model:notes@1" in history("runs", "show", "run-0").out

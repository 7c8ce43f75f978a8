"""A workspace in a folder and one behind an address give the same results and errors: every operation."""

from __future__ import annotations

import itertools
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cases import CASES, Case, Past
from notes_service import SERVICES as NOTES

from interlock.core.clock import FixedClock
from interlock.core.errors import Error
from interlock.core.operations import Operation
from interlock.sdk.catalog import Catalog
from interlock.sdk.services import SERVICES
from interlock.sdk.workspace import Workspace
from interlock.server.run import serving
from interlock.store import Store, create_store
from interlock.store.manifests import put_folder
from interlock.store.series import LatestValue
from interlock.store.spans import Span, SpanEvent
from interlock.track.logged_models import ModelDraft, ModelMetric
from interlock.track.traces import SpanBatch, Traces
from interlock.track.tracker import Tracker

if TYPE_CHECKING:
    import polars as pl

ALL = {**NOTES, **SERVICES}
CATALOG = Catalog(ALL)
OPERATIONS = {f"{s}.{n}": op for s in CATALOG.names for n, op in CATALOG.operations(s).items()}
# `m` is registered and deployed by hand; `grown` is what the loop trains, deploys and replaces by itself.
PROJECT = """
[project]
name = "alike"

[data.people]
id = "person"
target = "employed"

[data.people.columns]
age = { range = [0, 120] }

[pipeline.train]
entry = "pipeline:grow"

[model.grown]
pipeline = "train"
approve = "better than champion"

[model.grown.gates]
roc_auc = ">= 0.6"
leakage = "none"
approvals = 1

[deployment.g]
model = "grown@champion"
rollout = { canary = "25%", watch = "1 month" }

[monitor.g]
window = "1 month"

[[when]]
event = "monitor:g alarm"
do = "retrain train"

[[when]]
event = "model:grown validated"
do = "approve grown"

[[when]]
event = "model:grown approved"
do = "deploy g"
"""
PIPELINE = """
from sklearn.tree import DecisionTreeClassifier

from interlock import Model, holdout, step


def twice(number: int = 1) -> int:
    return 2 * number


@step
def fit(training):
    tree = DecisionTreeClassifier(max_depth=3, random_state=0)
    return tree.fit(training.select("age").to_numpy(), training["employed"].to_numpy())


def grow(people) -> Model:
    training, held_out = holdout(people, by="person", share=0.25)
    return Model(
        fit(training), inputs=training.select("age"), target="employed", evaluation=held_out, training=training
    )
"""
# What turns write when the loop goes all the way round.
ROUND = {"alarm.raised", "dataset_version.created", "model_version.created", "approval.given", "deployment.changed"}
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class StillClock(FixedClock):
    """A clock whose date moves from case to case only, while deadlines pass as ever."""

    def monotonic(self) -> float:
        return time.monotonic()


class Side:
    """One workspace with its past; names in its answers that are random are numbered as they appear."""

    random = re.compile(
        r"datetime\.datetime\([^()]*(?:\([^()]*\))?[^()]*\)"  # instants
        r"|\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b"  # ids
        r"|(?<!\.)\b(?:[0-9a-f]{64}|[0-9a-f]{16})\b"  # digests, whole and shortened: of what holds ids; no fractions
        r"|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"  # ids of deliveries
        r"|[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{57,}={0,2}"  # hashes and signatures in checkpoints, keys
        r"|(?<=-)[0-9a-hjkmnp-tv-z]{6}(?=')"  # the ends of ids in names of runs
        r"|pid=\d+|http://127\.0\.0\.1:\d+"
        r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*(?:Z|\+00:00)"
    )
    # Durations and rates, and the bytes of the events that hold them.
    measured = re.compile(r"(_s': |_s=|kind='events', objects=\d+, size_bytes=)[\d.e+-]+")

    def __init__(self, workspace: Workspace, past: Past, project: Path) -> None:
        self.workspace = workspace
        self.past = past
        self.project = project
        self.seen: dict[str, str] = {}

    def play(self, case: Case) -> str:
        """Return what a case does here, as text; types show in it, and so does NaN."""
        arguments = case.arguments(self.past) if callable(case.arguments) else case.arguments or {}
        service, _, operation = case.operation.partition(".")
        return self.told(lambda: self.workspace.call(service, operation, arguments), case.operation)

    def told(self, call: Any, operation: str) -> str:
        """Return what a call returns or raises, as text."""
        try:
            result = call()
        except Error as error:
            return f"{type(error).__name__}: {error.to_problem()}"
        self.past.results.setdefault(operation, []).append(result)
        return repr(result)

    def numbered(self, text: str) -> str:
        """Return a text in which what differs from one workspace to the next is numbered."""
        text = text.replace(str(self.project), "<project>")
        text = self.measured.sub(r"\1<measured>", text)  # not numbered: two of them may be equal by chance
        return self.random.sub(lambda match: self.seen.setdefault(match.group(), f"<{len(self.seen)}>"), text)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    draw_people().write_csv(folder / "people.csv")
    draw_people(1000, [*range(18, 28), *range(60, 70)]).write_csv(folder / "apart.csv")
    draw_people(2000, range(53, 105), until=75).write_csv(folder / "older.csv")
    (folder / "strange.csv").write_text("person,age,extra\n1,30,a\n1,410,b\n")
    (folder / "empty.csv").write_text("")
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Workspace, Workspace]]:
    """Return three workspaces: a copy in a folder; the same, behind a server; and that server's own."""
    base = tmp_path_factory.mktemp("workspaces")
    store = create_store(base / "original/.interlock")
    put_folder(store.objects, make_bundle(base / "bundle"))
    make_traces(store)
    store.close()
    (base / "original/interlock.toml").write_text(PROJECT)
    (base / "original/pipeline.py").write_text(PIPELINE)
    for name in ("left", "right"):
        shutil.copytree(base / "original", base / name)
    stores = [create_store(base / name / ".interlock", StillClock(NOW)) for name in ("left", "right")]
    left, right = (Workspace.over(store, services=ALL) for store in stores)
    with left, right, serving(right) as address, Workspace.open(address, services=ALL) as remote:
        yield left, remote, right
        for workspace in (left, right):
            for deployment in workspace.deploy.deployments():
                workspace.deploy.stop(deployment.name)


def sides(served: tuple[Workspace, Workspace, Workspace], files: Path) -> list[Side]:
    projects = [served[number].store.project for number in (0, 2, 2)]
    store = served[0].store
    bundle = put_folder(store.objects, store.project.parent / "bundle")
    return [Side(workspace, Past(files, bundle), project) for workspace, project in zip(served, projects, strict=True)]


def draw_people(first: int = 0, ages: Iterable[int] = range(18, 70), until: int = 200) -> pl.DataFrame:
    """Return people of these ages, numbered from `first`, who are employed from about 44 until some age."""
    import numpy as np
    import polars as pl

    chance = np.random.default_rng(first)
    age = chance.choice([*ages], 400)
    felt = age + chance.normal(0, 15, 400)
    employed = ((felt > 44) & (felt < until)).astype(np.int64)
    return pl.DataFrame({"person": first + np.arange(400), "age": age, "employed": employed})


def make_bundle(folder: Path) -> Path:
    """Return a folder that holds the bundle of a small model."""
    from sklearn.linear_model import LogisticRegression

    from interlock.registry.flavors.build import build_bundle

    frame = draw_people()
    estimator = LogisticRegression().fit(frame.select("age"), frame["employed"])
    build_bundle(estimator, inputs=frame.select("age"), target="employed", evaluation=frame, folder=folder)
    return folder


def make_traces(store: Store) -> None:
    """Put into a workspace what only applications and clients of MLflow make: traces, and a logged model."""
    tracker, traces = Tracker(store), Traces(store)
    tracker.experiments.ensure_default()
    for number in range(1, 6):
        at = (1_700_000_000 + number) * 10**9
        facts = {"model": "small", "mlflow.spanType": "LLM", "tokens": number, "share": float("nan"), "raw": b"\x00"}
        ids = [number.to_bytes(16, "big"), *(n.to_bytes(8, "big") for n in (1, 2))]
        root = Span(ids[0], ids[1], b"", "answer", at, at + 10**9, 1)
        child = Span(ids[0], ids[2], ids[1], "ask", at + 1, at + 5 * 10**8, 1, "", facts, (SpanEvent("token", at, {}),))
        traces.take("0", [SpanBatch((root, child), {})])
    store.database.write(lambda tx: tracker.logged_models.create(tx, ModelDraft("0", "tree", "sklearn", id="m-1")))
    metric = ModelMetric("auc", LatestValue(1, 1_700_000_000_000_000, 0.75), dataset_name="test")
    store.database.write(lambda tx: tracker.logged_models.log_metric(tx, "m-1", metric))


def check_alike(what: str, here: str, there: str) -> None:
    """Fail, with the place, where two long texts differ."""
    if here != there:
        alike = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(here, there, strict=False)))
        start = max(0, alike - 100)
        pytest.fail(f"{what} differs:\nlocal  ...{here[start : start + 300]}\nremote ...{there[start : start + 300]}")


def test_every_operation_has_a_case() -> None:
    missing = sorted(OPERATIONS.keys() - {case.operation for case in CASES})
    assert missing == [], "add them to tests/sdk/cases.py"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")  # a deployment outlives its call
def test_story_is_told_alike(served: tuple[Workspace, Workspace, Workspace], files: Path) -> None:
    left, remote, right = sides(served, files)
    right.past = remote.past
    wrote: dict[str, set[str]] = {}
    for number, case in enumerate(CASES):
        if case.operation not in OPERATIONS:  # of a service that this installation leaves out
            continue
        if case.operation != "notes.settle":  # which waits for what another thread does about the case before
            for side in (left, right):
                side.workspace.store.clock.at = NOW + timedelta(minutes=number)
        there = remote.play(case)
        assert not re.match(r"Error: .'code': '(server|database)\.", there), f"case {number}, {case.operation}: {there}"
        if OPERATIONS[case.operation].permission.reads_only:
            check_alike(f"case {number}, {case.operation}, read", right.play(case), there)
        ledger = left.workspace.store.ledger
        before = ledger.size()
        check_alike(f"case {number}, {case.operation}", left.numbered(left.play(case)), remote.numbered(there))
        kinds = {event.kind for event in ledger.events(after=before - 1, limit=10_000)}
        wrote.setdefault(case.operation, set()).update(kinds)
    declared = {name: set(operation.emits) for name, operation in OPERATIONS.items()}
    undeclared = {name: kinds - declared[name] for name, kinds in wrote.items() if not kinds <= declared[name]}
    assert undeclared == {}, "these events are written and not declared: mend `emits`"
    own = {name for name in wrote if not name.startswith("notes.")}
    silent = {name for name in own if declared[name] and not wrote[name]}
    assert silent == set(), "these operations only refuse in the story, or find nothing to do: let them do their work"
    # A turn that fails at its jobs writes events too, and both sides would fail alike.
    assert wrote.get("loop.turn", ROUND) >= ROUND, "the loop did not go all the way round"


@pytest.mark.parametrize("name", OPERATIONS)
def test_arguments_are_refused_alike(name: str, served: tuple[Workspace, Workspace, Workspace], files: Path) -> None:
    left, remote, _ = sides(served, files)
    operation = OPERATIONS[name]
    for arguments in wrong_arguments(operation):
        # Straight to what runs it, past the checks that `Workspace` makes before it sends anything.
        here = left.told(lambda given=arguments: left.workspace.backend.call(operation, given), name)
        there = remote.told(lambda given=arguments: remote.workspace.backend.call(operation, given), name)
        assert here == there
        assert here.startswith("Invalid"), f"{name} took {arguments}"
        with pytest.raises(Error) as caught:
            remote.workspace.call(operation.service, operation.name, arguments)
        assert f"Invalid: {caught.value.to_problem()}" == here


def wrong_arguments(operation: Operation) -> Iterator[dict[str, Any]]:
    """Yield arguments that an operation must refuse: an unknown one, none where some are needed, of wrong types."""
    required = {parameter.name: parameter for parameter in operation.parameters if parameter.required}
    wrong = {name: mistyped(parameter.type) for name, parameter in required.items()}
    given = {name: value for name, value in wrong.items() if value is not None}
    yield {"no_such_argument": 1}
    if required:
        yield {}
    if given.keys() == required.keys() and given:
        yield given
    if operation.parameters:
        yield dict.fromkeys(required or [operation.parameters[0].name], 2**70)


def mistyped(kind: Any) -> Any:
    """Return a value that a type refuses, or None where it takes everything."""
    for value in ({"no": {"such": {"thing": 1}}}, [[[1]]], 3, "x"):
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError:
            return value
    return None

"""A small real project, brought as far as a test needs it: built once a session, copied for each test.

applied -> serving (version 1 answers everything) -> rival (version 2 is validated) -> trial (version 2 is a canary).
Version 2 learned the opposite of version 1, and passes its gates on its own rows: what is true outside decides which
of the two is better. Servers are stopped before a workspace is copied; a stopped deployment stays so in a turn.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from interlock.core.actor import acting_as
from interlock.core.clock import to_micros
from interlock.core.events import Event
from interlock.core.files import StoredFile
from interlock.core.ids import new_id
from interlock.loop.apply import applied_text
from interlock.loop.arcs.candidate import make_candidate
from interlock.loop.context import Context
from interlock.loop.jobs import Job, Jobs
from interlock.loop.project import parse_project
from interlock.loop.service import LoopService
from interlock.loop.turn import Turn
from interlock.monitor.replay import score_rows
from interlock.registry.service import ModelVersion
from interlock.store import Store, create_store, open_store
from interlock.store.manifests import read_manifest
from interlock.store.predictions import Prediction, PredictionWriter
from interlock.train.loader import leave

PEOPLE = 1500
PERSON = "user:mary"
TOML = """
[project]
name = "happy"

[data.people]
source = "people.csv"
id = "person"
target = "happy"
sensitive = ["group"]

[data.people.columns]
age = { range = [0, 200] }
income = { range = [-100, 200] }

[pipeline.train]
entry = "pipeline:train"

[model.happy]
pipeline = "train"
approve = "better than champion"

[model.happy.gates]
roc_auc = ">= 0.65"
leakage = "none"
approvals = 1

[deployment.happy]
model = "happy@champion"
rollout = { canary = "20%", watch = "1 month" }

[deployment.aside]
model = "happy@champion"

[monitor.aside]
window = "1 month"

[monitor.happy]
window = "1 month"
quality = { at_least = 0.7 }

[[when]]
event = "monitor:happy alarm"
do = "retrain train"

[[when]]
event = "model:happy validated"
do = "approve happy"

[[when]]
event = "model:happy approved"
do = "deploy happy"

[[when]]
event = "data:people new"
do = "train train"
"""
PIPELINE = '''
"""What a test does to training from outside: a file `interrupt`, `busy` or `broken` beside this one."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from sklearn.linear_model import LogisticRegression

from interlock import Model, holdout, pipeline, step
from interlock.core.errors import Unavailable

INPUTS = ["age", "income"]


@step
def fit(training: pl.DataFrame) -> LogisticRegression:
    return LogisticRegression().fit(training.select(INPUTS).to_numpy(), training["happy"].to_numpy())


@pipeline
def train(people: pl.DataFrame, turned: bool = False) -> Model:
    folder = Path(__file__).parent
    if (folder / "interrupt").exists():
        raise KeyboardInterrupt
    if (folder / "busy").exists():
        raise Unavailable("The table is locked.", about="source")
    if (folder / "broken").exists():
        raise ZeroDivisionError("nothing to divide by")
    rows = people.with_columns(happy=1 - pl.col("happy")) if turned else people
    training, held_out = holdout(rows, by="person", share=0.25)
    return Model(fit(training), inputs=training.select(INPUTS), target="happy", evaluation=held_out, training=training)
'''


def draw(first: int, count: int, income: float = 1.0) -> pl.DataFrame:
    """Return people whose truth follows from age and, as much as `income` says, from income."""
    chance = np.random.default_rng(first)
    age, money = chance.integers(18, 65, count), chance.normal(30, 10, count).round(2)
    truth = chance.random(count) < 1 / (1 + np.exp(-((age - 40) / 8 + income * (money - 30) / 10)))
    columns = {"person": np.arange(first, first + count), "age": age, "income": money}
    return pl.DataFrame({**columns, "group": chance.integers(1, 3, count), "happy": truth.astype(int)})


class World:
    """A workspace, and what happens around it: requests, answers, truths, persons who sign."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.loop = LoopService(store)
        self.people = draw(0, PEOPLE)
        self.context = self._context()

    def _context(self) -> Context:
        try:
            return Context(self.store, parse_project(applied_text(self.store)), datetime(2026, 2, 1, tzinfo=UTC))
        except LookupError:
            self.loop.apply()
            return self._context()

    @staticmethod
    def draw(first: int, count: int, income: float = 1.0) -> pl.DataFrame:
        return draw(first, count, income)

    @staticmethod
    def turned(rows: pl.DataFrame) -> pl.DataFrame:
        """Return rows whose truth is the opposite: what version 2 learned."""
        return rows.with_columns(happy=1 - pl.col("happy"))

    def scored(self, month: int, rows: pl.DataFrame, version: int = 1, deployment: str = "happy") -> None:
        """Let a version answer for people in a month of 2026, written as the data plane writes it."""
        model = self.version(version)
        scores = score_rows(self.context.registry, model.bundle, rows)
        start = datetime(2026, month, 1, tzinfo=UTC)
        writer = PredictionWriter(self.store.predictions.folder)
        made = [
            Prediction(
                id=new_id(),
                at=to_micros(start),
                occurred_at=to_micros(start + timedelta(minutes=number)),
                deployment=deployment,
                model=model.ref,
                bundle=model.bundle,
                revision=version,
                request_id=f"{month}-{version}-{number}",
                row=0,
                subject=str(row["person"]),
                inputs={"age": row["age"], "income": row["income"]},
                score=float(scores[number]),
                label=int(scores[number] > 0.5),
                route="champion",
            )
            for number, row in enumerate(rows.iter_rows(named=True))
        ]
        writer.append(made).result(10)
        writer.close()

    def told(self, rows: pl.DataFrame, monitor: str = "happy") -> None:
        """Let the truth about people come."""
        content = rows.select("person", "happy", "group").write_csv().encode()
        self.context.monitor.label(monitor, StoredFile("labels.csv", self.store.objects.put(content), len(content)))

    def brought(self, rows: pl.DataFrame) -> None:
        """Let somebody bring the next version of the dataset."""
        content = rows.write_csv().encode()
        self.context.data.ingest("people", [StoredFile("new.csv", self.store.objects.put(content), len(content))])

    def turn(self, until: str = "2026-01-15") -> Turn:
        """Take a turn; by default before the first window is over."""
        return self.loop.turn(until)

    def candidate(self, **args: bool) -> ModelVersion:
        return make_candidate(self.context, "train", args, cause="", job="")

    def sign(self, version: int) -> None:
        with acting_as(PERSON):
            self.context.audit.approve(f"model:happy@{version}", "looked at it")

    def version(self, number: int) -> ModelVersion:
        return self.context.registry.version(f"model:happy@{number}")

    def versions(self) -> list[int]:
        return [version.version for version in self.context.registry.versions("happy")]

    def routes(self, deployment: str = "happy") -> list[tuple[int, float]]:
        """Return the versions that shall answer, with their shares."""
        shown = self.context.deploy.show(deployment).routes
        return [(int(route.model.rpartition("@")[2]), round(route.weight, 6)) for route in shown]

    def jobs(self) -> list[Job]:
        """Return jobs, oldest first."""
        return Jobs(self.store).jobs()[::-1]

    def job(self, kind: str) -> Job:
        """Return the newest job of a kind."""
        return next(job for job in reversed(self.jobs()) if job.kind == kind)

    def events(self, *kinds: str, subject: str = "") -> list[Event]:
        return self.store.ledger.events(kinds=kinds, subject=subject)

    def validated(self, version: int) -> Event:
        """Return the event of a version's validation."""
        moved = self.events("model_version.moved", subject=f"model:happy@{version}")
        return next(event for event in moved if (event.data or {})["stage"] == "validated")

    def free_jobs(self) -> None:
        """Make jobs of this process look as if their worker had died, and those that pause as if they had waited."""
        self.store.database.write(
            lambda tx: tx.run("UPDATE jobs SET lease_until = 0, worker = '' WHERE state IN ('queued', 'running')")
        )

    @contextlib.contextmanager
    def damaged(self, digest: str) -> Iterator[None]:
        """Let the bytes of an object be wrong inside the block."""
        path = self.store.root / "objects" / digest[:2] / digest[2:]
        path.chmod(0o644)
        sound = path.read_bytes()
        path.write_bytes(sound[:-1])
        yield
        path.write_bytes(sound)

    def serving_part(self, version: int) -> str:
        """Return the digest of the file that answers for a version."""
        bundle = self.version(version).bundle
        path = self.context.registry.read_bundle(bundle).files["serving"]
        return read_manifest(self.store.objects, bundle).find(path).digest

    def stop(self) -> None:
        for row in self.store.database.all("SELECT name FROM deployments"):
            self.context.deploy.stop(row["name"])


def _copy(origin: Path, target: Path) -> World:
    shutil.copytree(origin, target)
    return World(open_store(target / ".interlock"))


def _let_go(world: World) -> Path:
    world.stop()
    world.store.close()
    return world.store.project


@pytest.fixture(scope="session")
def applied_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("applied") / "project"
    folder.mkdir()
    (folder / "interlock.toml").write_text(TOML)
    (folder / "pipeline.py").write_text(PIPELINE)
    draw(0, PEOPLE).write_csv(folder / "people.csv")
    store = create_store(folder / ".interlock")
    LoopService(store).apply()
    with acting_as("loop:nobody"):  # the first rows shall wake no trigger here; test_candidate.py lets others do
        store.database.write(
            lambda tx: tx.run(
                "INSERT INTO trigger_cursors (name, next_idx) VALUES ('triggers', :n)", {"n": store.ledger.size()}
            )
        )
    return _let_go(World(store))


@pytest.fixture(scope="session")
def serving_folder(applied_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = _copy(applied_folder, tmp_path_factory.mktemp("serving") / "project")
    world.candidate()
    world.turn()
    world.sign(1)
    world.turn()
    return _let_go(world)


@pytest.fixture(scope="session")
def rival_folder(serving_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = _copy(serving_folder, tmp_path_factory.mktemp("rival") / "project")
    world.candidate(turned=True)
    return _let_go(world)


@pytest.fixture(scope="session")
def trial_folder(rival_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = _copy(rival_folder, tmp_path_factory.mktemp("trial") / "project")
    world.sign(2)
    world.turn()
    return _let_go(world)


@pytest.fixture
def _world(tmp_path: Path) -> Iterator[Callable[[Path], World]]:
    made: list[World] = []

    def copy(origin: Path) -> World:
        made.append(_copy(origin, tmp_path / "world"))
        return made[-1]

    yield copy
    for world in made:
        _let_go(world)
    leave()


@pytest.fixture
def applied(_world: Callable[[Path], World], applied_folder: Path) -> World:
    """Nothing but what `apply` made."""
    return _world(applied_folder)


@pytest.fixture
def serving(_world: Callable[[Path], World], serving_folder: Path) -> World:
    """Version 1 is champion of deployment `happy`, whose server is stopped."""
    return _world(serving_folder)


@pytest.fixture
def rival(_world: Callable[[Path], World], rival_folder: Path) -> World:
    """Version 2, the opposite of the champion, is validated; nobody has looked at it yet."""
    return _world(rival_folder)


@pytest.fixture
def trial(_world: Callable[[Path], World], trial_folder: Path) -> World:
    """Version 2 has been approved by a person and gets 20 % of the traffic; the server is stopped."""
    return _world(trial_folder)

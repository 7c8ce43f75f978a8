"""What a challenger learns from: rows of the champion, and labelled predictions as of an instant."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from interlock.core.clock import to_micros
from interlock.core.files import StoredFile
from interlock.core.ids import new_id
from interlock.data.records import Declaration
from interlock.data.service import DataService
from interlock.loop.arcs.retrain import gather
from interlock.loop.context import Context
from interlock.loop.project import About, Project
from interlock.monitor.records import MonitorPlan
from interlock.monitor.service import MonitorService
from interlock.registry.service import ModelVersion, RegistryService
from interlock.store import Store
from interlock.store.predictions import Prediction, PredictionWriter

START = datetime(2026, 1, 1, tzinfo=UTC)


def world(store: Store, version: ModelVersion, held: pl.DataFrame, ident: str) -> None:
    """A dataset, a watched deployment with twenty labelled answers of ten days, and no subject for ten of them."""
    data, monitor = DataService(store), MonitorService(store)
    data.declare("people", Declaration(ident, "", "happy"))
    data.add("people", held)
    monitor.set("happy", MonitorPlan("happy", ident, "happy"))
    monitor.watch("happy", version.ref)
    answers(store, version, range(20))


def answers(store: Store, version: ModelVersion, numbers: range) -> None:
    made = [
        Prediction(
            id=new_id(),
            at=to_micros(START),
            occurred_at=to_micros(START + timedelta(days=number // 2)),
            deployment="happy",
            model=version.ref,
            bundle=version.bundle,
            revision=1,
            request_id=str(number),
            row=0,
            subject=f"p{number}" if number % 2 else "",
            inputs={"age": 30 + number % 5, "income": 25.5},
            score=0.5,
            label=1,
            route="champion",
        )
        for number in numbers
    ]
    writer = PredictionWriter(store.predictions.folder)
    writer.append(made).result(10)
    writer.close()
    sink = io.BytesIO()
    pl.DataFrame({"prediction_id": [row.id for row in made], "happy": [1] * len(made)}).write_parquet(sink)
    content = sink.getvalue()
    MonitorService(store).label("happy", StoredFile("l.parquet", store.objects.put(content), len(content)))


@pytest.fixture
def held(people: pl.DataFrame) -> pl.DataFrame:
    rows = people.head(200).select("age", "income", "happy")
    return rows.with_columns(person=pl.Series([f"p{number}" for number in range(200)]))


def context(store: Store, days: int = 300) -> Context:
    return Context(store, Project(About("test")), START + timedelta(days=days))


def test_rows_without_a_subject_are_all_kept_and_known_the_next_time(
    store: Store, register: Callable[[], ModelVersion], held: pl.DataFrame
) -> None:
    version = register()
    world(store, version, held, "person")
    made = gather(context(store), "happy", version.ref, "event:1")
    assert made.rows == 210  # ten of the twenty are about people who were there
    rows = DataService(store).frame(made.ref)
    assert rows["person"].n_unique() == 210


def test_what_happened_after_the_instant_is_not_learned_from(
    store: Store, register: Callable[[], ModelVersion], held: pl.DataFrame
) -> None:
    version = register()
    world(store, version, held, "person")
    assert gather(context(store, days=3), "happy", version.ref, "event:1").rows == 203


def test_without_an_id_column_all_rows_are_kept_and_none_twice(
    store: Store, register: Callable[[], ModelVersion], held: pl.DataFrame
) -> None:
    version = register()
    world(store, version, held.drop("person"), "")
    first = gather(context(store), "happy", version.ref, "event:1")
    assert first.rows == 220
    run = register().run
    second = RegistryService(store).register("challenger", run, version.bundle, [first.ref])
    answers(store, version, range(20, 22))
    assert gather(context(store), "happy", second.ref, "event:2").rows == 222

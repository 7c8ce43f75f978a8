"""Golden rows on the way that requests take: what changes on that way is seen, with the column's name."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import random
import weakref
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from interlock.core.clock import SystemClock
from interlock.serve.columns import InputColumns
from interlock.serve.control import Control
from interlock.serve.engine import Engine
from interlock.serve.golden import check_golden
from interlock.serve.hands import Hands
from interlock.serve.revision import load_revision
from interlock.serve.selfcheck import EVERY_S, SelfCheck
from interlock.serve.sources import Wanted
from interlock.serve.turns import Ask
from interlock.serve.watch import Watcher


class Clock(SystemClock):
    """Time that goes on when it is told to."""

    def __init__(self):
        self.now_s = 100.0

    def monotonic(self):
        return self.now_s


class Direct(ThreadPoolExecutor):
    """A pool that does everything at once."""

    def submit(self, function, /, *arguments, **named):
        done = Future()
        done.set_result(function(*arguments, **named))
        return done


@pytest.fixture
def scene(shop, tools):
    """Return an engine, a watcher that has loaded its deployment, and a function that lets time go by."""

    def make(kind="people", **changes):
        shop.deploy(tools.route(shop.bundle(kind, **changes)))
        clock = Clock()
        engine = Engine("shop", None, clock, Hands(Direct(1)))
        watcher = Watcher(engine, shop.source())
        watcher.tick()

        def later(seconds=EVERY_S + 0.1):
            clock.now_s += seconds
            watcher.tick()
            return engine.selfcheck.findings(engine.revision)

        return engine, watcher, later

    return make


def columns_of(findings):
    return {found.column for found in findings if found.column}


@pytest.mark.parametrize("kind", ["people", "customers"])
def test_all_rows_are_asked_again_and_again_and_are_right(scene, kind):
    engine, _, later = scene(kind)
    (live,) = engine.revision.routes
    seen = [engine.selfcheck.of(live.model).rows]
    for _ in range(4):
        assert later() == []
        seen.append(engine.selfcheck.of(live.model).rows)
    assert seen[0] > 0
    assert all(after > before for before, after in itertools.pairwise(seen))
    assert seen[-1] > len(live.model.golden.rows)
    assert engine.check() == []


def test_between_two_times_nothing_is_asked(scene):
    engine, _, later = scene()
    asked = engine.selfcheck.of(engine.revision.routes[0].model).rows
    later(EVERY_S / 2)
    assert engine.selfcheck.of(engine.revision.routes[0].model).rows == asked


@pytest.mark.parametrize("column", ["age", "income"])
def test_a_reader_that_changes_a_column_is_seen_within_a_minute_with_its_name(scene, monkeypatch, column):
    engine, watcher, later = scene()
    assert later() == []
    at = [c.name for c in engine.revision.whole.columns].index(column)
    typed = InputColumns.typed

    def sabotaged(self, rows):
        return typed(self, [[v + 7 if i == at else v for i, v in enumerate(row)] for row in rows])

    monkeypatch.setattr(InputColumns, "typed", sabotaged)
    found = later()
    assert columns_of(found) == {column}
    assert "self_check_column" in {one.rule for one in found}
    assert columns_of(engine.check()) == {column}  # which looks at golden rows by another way, that is sound
    status = asyncio.run(Control(engine, watcher, engine.clock.now())._model(report(engine)))
    assert not status.ready
    assert any(repr(column) in why for why in status.errors)
    monkeypatch.undo()
    later()
    assert later() == []
    assert engine.check() == []


def test_a_column_that_lies_elsewhere_in_the_input_is_named(scene, monkeypatch):
    _, _, later = scene()
    typed = InputColumns.typed

    def swapped(self, rows):
        prepared = typed(self, rows)
        for name, feed in prepared.feeds.items():
            prepared.feeds[name] = feed[:, [1, 0, 2]]
        return prepared

    monkeypatch.setattr(InputColumns, "typed", swapped)
    found = later()
    assert columns_of(found) == {"age", "hours"}
    assert "self_check_differs" in {one.rule for one in found}


@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_engine_in_which_a_column_means_something_else_is_seen_with_its_name(scene, at):
    engine, _, later = scene()
    (live,) = engine.revision.routes
    run = live.model.engine.run

    class Sabotaged:
        name = live.model.engine.name

        def run(self, feeds):
            ((name, matrix),) = feeds.items()
            changed = matrix.copy()
            changed[:, at] *= 1.3
            return run({name: changed})

    live.model.engine = Sabotaged()
    found = later()
    assert columns_of(found) == {engine.revision.whole.columns[at].name}
    assert {one.rule for one in found} == {"self_check_differs", "self_check_effect"}


def test_a_model_that_fails_is_told_and_asked_again(scene):
    engine, _, later = scene()
    (live,) = engine.revision.routes
    kept = live.model.engine

    class Broken:
        name = kept.name

        def run(self, feeds):
            raise MemoryError

    live.model.engine = Broken()
    assert next(one.rule for one in later()) == "self_check_failed"
    live.model.engine = kept
    later()
    assert later() == []  # 20 golden rows are asked in two goes


def as_column(graph: bytes, name: str) -> bytes:
    """Return a graph whose one input is called otherwise."""
    import onnx

    model = onnx.load_from_string(graph)
    was, model.graph.input[0].name = model.graph.input[0].name, name
    for node in model.graph.node:
        node.input[:] = [name if one == was else one for one in node.input]
    return model.SerializeToString()


def test_a_matrix_that_is_called_as_a_column_is_no_column(scene, kinds):
    engine, _, later = scene(graph=as_column(kinds["people"].graph, "hours"))
    assert next(iter(engine.revision.routes[0].model.engine.inputs))[0] == "hours"
    assert later() == []
    assert engine.selfcheck.of(engine.revision.routes[0].model).rows > 0


def test_a_slow_model_that_fails_is_asked_its_row_and_no_more(scene):
    engine, _, later = scene()
    (live,) = engine.revision.routes
    run, asked = live.model.engine.run, []

    class Wrong:
        name = live.model.engine.name

        def run(self, feeds):
            asked.append(max(map(len, feeds.values())))
            return 1 - run(feeds)

    live.model.engine, live.model.call_s = Wrong(), 1.0
    engine.selfcheck.of(live.model).effects = None
    assert {one.rule for one in later(60.0)} == {"self_check_differs"}
    assert set(asked) == {1}


def test_of_more_columns_than_are_tried_it_says_so(scene, monkeypatch):
    monkeypatch.setattr("interlock.serve.skew._WIDEST", 2)
    monkeypatch.setattr("interlock.serve.skew._MOST_PROBES", 5)
    engine, _, later = scene()
    (live,) = engine.revision.routes
    run = live.model.engine.run
    live.model.engine = type("Wrong", (), {"name": "onnx", "run": lambda _, feeds: 1 - run(feeds)})()
    (found,) = later()
    assert found.message.endswith("Which column does it is not looked for: it has more than 2.")


@pytest.mark.parametrize(
    ("source", "told"),
    [("training", "than in training"), ("example", "than when it was opened"), ("zeros", "than when it was opened")],
)
def test_nothing_is_said_of_training_where_nobody_knows_what_it_saw(scene, source, told):
    engine, _, later = scene()
    (live,) = engine.revision.routes
    live.model.parts = live.model.parts._replace(source=source)
    run = live.model.engine.run
    live.model.engine = type("Wrong", (), {"name": "onnx", "run": lambda _, feeds: 1 - run(feeds)})()
    assert told in later()[0].message
    assert told in check_golden(live.model, live.model.golden)[0].message
    live.model.engine = type("Broken", (), {"name": "onnx", "run": lambda _, __: 1 / 0})()
    later()
    told_now = " ".join(found.message for found in later())
    assert "are not answered" in told_now
    assert ("training" in told_now) is (source == "training")


def test_what_no_thread_takes_is_asked_when_one_does(scene, monkeypatch, caplog):
    engine, _, later = scene()
    (live,) = engine.revision.routes
    soon, asked = engine.soon, engine.selfcheck.of(live.model).rows

    def refused(model, function):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(engine, "soon", refused)
    later()
    later()
    assert [record.getMessage() for record in caplog.records] == [
        "shop is not asked its golden rows: can't start new thread"
    ]
    monkeypatch.setattr(engine, "soon", soon)
    later()
    assert engine.selfcheck.of(live.model).rows > asked


def test_of_a_model_that_is_let_go_meanwhile_nothing_is_logged(scene, monkeypatch, caplog):
    engine, _, later = scene()

    def ending(model, function):
        engine.revision = load_revision  # anything else than what is being asked
        raise RuntimeError("cannot schedule new futures after shutdown")

    monkeypatch.setattr(engine, "soon", ending)
    monkeypatch.setattr(SelfCheck, "findings", lambda *_: [])
    later()
    assert caplog.records == []


def test_each_route_is_asked_by_itself(shop, tools):
    one, two = (
        tools.route(shop.bundle(kind), f"model:buyer@{n}", 0.5, role)
        for kind, n, role in (("people", 1, "champion"), ("reversed", 2, "challenger"))
    )
    shop.deploy(one, two)
    engine = Engine("shop", None, Clock(), Hands(Direct(1)))
    Watcher(engine, shop.source()).tick()
    assert [engine.selfcheck.of(live.model).rows for live in engine.revision.routes] == [16, 16]
    assert engine.selfcheck.findings(engine.revision) == []


def test_a_model_that_is_served_no_more_is_let_go(scene):
    engine, _, later = scene()
    later()
    model = weakref.ref(engine.revision.routes[0].model)
    engine.revision = None
    gc.collect()
    assert model() is None


def test_it_works_a_five_hundredth_of_the_time_at_most(scene, monkeypatch):
    engine, _, later = scene()
    spent = iter([0.0, 0.04])
    monkeypatch.setattr("interlock.serve.selfcheck.time.thread_time", lambda: next(spent))
    later()
    checked = engine.selfcheck.of(engine.revision.routes[0].model)
    assert checked.due == pytest.approx(engine.clock.now_s + 500 * 0.04)


def test_a_server_says_what_it_asked(serve, shop, tools):
    shop.deploy(tools.route(shop.bundle("people")))
    server = serve()
    tools.until(lambda: server.status()["routes"][0]["checked"] > 0)
    assert server.status()["routes"][0]["skew"] == []
    text = server.client.get("/metrics").text
    assert 'interlock_self_check_failing{model="model:buyer@1"} 0.0' in text
    assert 'interlock_self_checked_rows{model="model:buyer@1"}' in text
    assert server.status()["log"]["written"] == 0  # they are no predictions
    assert server.status()["routes"][0]["rows"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["people", "customers"])
def test_100_000_rows_get_the_very_same_scores_by_requests_as_by_columns(shop, tools, kinds, kind):
    shop.deploy(tools.route(shop.bundle(kind)))
    spec = shop.store.database.one("SELECT spec FROM deployments")["spec"]
    revision = load_revision(shop.source(), Wanted(1, spec), {})
    (live,) = revision.routes
    chance, known = random.Random(7), kinds[kind].rows
    rows = [{name: chance.choice(known)[name] for name in known[0]} for _ in range(100_000)]
    for row in rows[::3]:
        row.update({n: v * chance.uniform(0.5, 1.5) for n, v in row.items() if type(v) is float})
    wanted = live.model.scores({name: [row[name] for row in rows] for name in known[0]})
    found = []
    for first in range(0, len(rows), 1000):
        read, _ = revision.whole.rows.read(json.dumps({"instances": rows[first : first + 1000]}).encode())
        turn = Ask({}, len(read), typed=read)
        found += live.model.run(tools_turn(revision, turn)).scores
    assert np.array_equal(wanted, np.asarray(found))


def tools_turn(revision, ask):
    from interlock.serve.turns import Turn

    return Turn(ask, revision, revision.whole, "r", 0).parts()[0].prepared


def report(engine):
    from interlock.serve.engine import Report

    return Report(engine.name, engine, ())


def test_of_nothing_nothing_is_said(scene):
    engine, _, _ = scene()
    assert SelfCheck(lambda: 0.0).findings(engine.revision) == []

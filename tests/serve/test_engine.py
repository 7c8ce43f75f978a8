"""The engine over a real journal, without HTTP: routing, recording, refusing."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from interlock.core.bundles import Range, Serving
from interlock.core.clock import SystemClock
from interlock.core.errors import Invalid, NotFound, Unavailable
from interlock.core.ids import is_ulid, milliseconds, new_id
from interlock.serve.engine import Ask, Engine
from interlock.serve.hands import Hands
from interlock.serve.journal import Journal
from interlock.serve.revision import load_revision
from interlock.serve.row_ids import row_ids
from interlock.serve.sources import Wanted
from interlock.store.predictions import PredictionWriter

ROW = {"age": 40, "hours": 38.0, "income": 30.0}


@pytest.fixture
def revision(shop, tools):
    """Load a revision of deployment `shop` with these routes."""

    def load(*routes, number=1, serving=None, loaded=None):
        shop.deploy(*routes, revision=number, serving=serving)
        spec = shop.store.database.one("SELECT spec FROM deployments")["spec"]
        return load_revision(shop.source(), Wanted(number, spec), loaded or {})

    return load


def ask(count=1, columns=ROW, **changes):
    return Ask({name: [value] * count for name, value in columns.items()}, count, **changes)


def play(shop, scene):
    """Run a scene with a fresh engine; return what the scene returns."""

    async def run():
        with ThreadPoolExecutor(1) as pool:
            journal = Journal(lambda: PredictionWriter(shop.store.predictions.folder))
            try:
                return await scene(Engine("shop", journal, SystemClock(), Hands(pool)))
            finally:
                await journal.close()

    return asyncio.run(run())


def predict(shop, revision, asked, request_id="r", name="shop", version=""):
    async def scene(engine):
        engine.revision = revision
        return await engine.predict(asked, revision, revision.view(name, version), request_id)

    return play(shop, scene)


@pytest.fixture
def canary(shop, tools, revision):
    return revision(
        tools.route(shop.bundle("people"), "model:buyer@1", 0.7),
        tools.route(shop.bundle("reversed"), "model:buyer@2", 0.3, "challenger"),
    )


def test_row_ids_are_ulids_in_order_and_never_again_the_same():
    ids = row_ids(1_700_000_000_000, 3000)
    assert all(map(is_ulid, ids[::500]))
    assert {milliseconds(i) for i in ids[::500]} == {1_700_000_000_000}
    assert ids == sorted(set(ids))
    assert not set(ids) & set(row_ids(1_700_000_000_000, 3000))
    assert len(row_ids(0, 1)) == 1


def test_every_row_is_recorded_with_what_made_it(shop, tools, revision):
    loaded = revision(tools.route(shop.bundle("people")))
    answer = predict(shop, loaded, ask(2, subjects=["ann", ""], occurred_at=[5, 6]))
    found = {row.id: row for row in shop.store.predictions.rows()}
    rows = [found[i] for i in answer.ids]
    assert [(r.row, r.subject, r.occurred_at, r.inputs) for r in rows] == [(0, "ann", 5, ROW), (1, "", 6, ROW)]
    assert [(r.score, r.label) for r in rows] == list(zip(answer.scores, answer.labels, strict=True))
    only = loaded.routes[0].route
    assert {(r.deployment, r.model, r.bundle, r.revision, r.request_id, r.route) for r in rows} == {
        ("shop", only.model, only.bundle, 1, "r", "champion")
    }
    assert dict(answer.headers) == {
        b"interlock-model": b"model:buyer@1",
        b"interlock-revision": b"1",
        b"interlock-configuration": loaded.spec[:16].encode(),
    }


def test_a_subject_stays_with_its_route_whatever_else_is_in_the_request(shop, canary):
    people = [f"p{i}" for i in range(300)]
    together = predict(shop, canary, ask(300, subjects=people))
    champion, challenger = (predict(shop, canary, ask(1), version=v).scores[0] for v in ("1", "2"))
    by_score = {champion: 0, challenger: 1}
    chosen = [by_score[score] for score in together.scores]
    assert chosen == [canary.whole.pick(p) for p in people]
    assert Counter(chosen)[1] == pytest.approx(90, abs=30)
    backwards = predict(shop, canary, ask(300, subjects=people[::-1]))
    assert [by_score[score] for score in backwards.scores] == chosen[::-1]
    assert together.model in {"model:buyer@1, model:buyer@2", "model:buyer@2, model:buyer@1"}


def test_the_log_says_which_route_answered_each_row(shop, canary):
    answer = predict(shop, canary, ask(100, subjects=[f"p{i}" for i in range(100)]))
    found = {row.id: row for row in shop.store.predictions.rows()}
    for row, (i, score) in enumerate(zip(answer.ids, answer.scores, strict=True)):
        live = canary.routes[canary.whole.pick(f"p{row}")]
        assert (found[i].row, found[i].model, found[i].route) == (row, live.route.model, live.route.role)
        assert found[i].score == score


def test_rows_without_a_subject_go_where_their_request_goes(shop, canary):
    for i in range(20):
        answer = predict(shop, canary, ask(3), request_id=f"r{i}")
        assert len(set(answer.scores)) == 1
        assert [live.route for live in answer.routes] == [canary.routes[canary.whole.pick(f"r{i}")].route]


def test_a_row_that_one_route_refuses_is_refused_wherever_it_would_go(shop, canary):
    people = [f"p{i}" for i in range(50)]
    asked = ask(50, subjects=people)
    asked.columns["age"][33] = "x"
    with pytest.raises(Invalid) as caught:
        predict(shop, canary, asked)
    assert caught.value.findings[0].rows == (33,)
    assert list(shop.store.predictions.rows()) == []


def test_a_model_or_a_version_may_be_named(shop, canary):
    assert predict(shop, canary, ask(), name="buyer", version="2").model == "model:buyer@2"
    assert predict(shop, canary, ask(), version="1").model == "model:buyer@1"
    for name, version in (("buyer", "3"), ("other", ""), ("shop", "3")):
        with pytest.raises(NotFound):
            canary.view(name, version)


def test_routes_with_different_columns_take_the_union(shop, tools, revision):
    loaded = revision(
        tools.route(shop.bundle("people"), "model:buyer@1", 0.5),
        tools.route(shop.bundle("customers"), "model:buyer@2", 0.5),
    )
    assert [column.name for column in loaded.whole.columns] == ["age", "hours", "income", "city", "spend"]
    everything = {**ROW, "city": "Oslo", "spend": 9.0}
    people = [f"p{i}" for i in range(40)]
    answer = predict(shop, loaded, ask(40, everything, subjects=people, extras="refuse"))
    assert len(set(answer.scores)) == 2
    recorded = {row.subject: set(row.inputs) for row in shop.store.predictions.rows()}
    for person in people:
        names = {"age", "hours", "income"} if loaded.whole.pick(person) == 0 else {"city", "age", "spend"}
        assert recorded[person] == names


def test_unknown_columns_are_dropped_or_refused_as_told(shop, tools, revision):
    loaded = revision(tools.route(shop.bundle("people")))
    predict(shop, loaded, ask(1, {**ROW, "hat": "x"}))
    with pytest.raises(Invalid, match="'hourz'"):
        predict(shop, loaded, ask(1, {**ROW, "hourz": 1.0}, extras="refuse"))


def test_a_score_that_is_no_probability_is_counted_and_not_recorded(shop, tools, revision):
    loaded = revision(tools.route(shop.bundle("roots")))

    async def scene(engine):
        engine.revision = loaded
        with pytest.raises(Unavailable, match="no probability"):
            await engine.predict(ask(1, {**ROW, "age": -1}), loaded, loaded.whole, "r")
        return engine.metrics.models["model:buyer@1"]

    tally = play(shop, scene)
    assert (tally.garbage, tally.failures, tally.rows) == (1, 1, 0)
    assert list(shop.store.predictions.rows()) == []


def test_a_slow_model_answers_beside_the_event_loop(shop, tools, revision):
    loaded = revision(tools.route(shop.bundle("people")))
    loaded.routes[0].model.call_s = 1.0

    async def scene(engine):
        turns = 0

        async def turn():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(turn())
        asked = ask(5000)
        answer = await engine.predict(asked, loaded, loaded.whole, "r")
        beside.cancel()
        return turns, len(answer.ids)

    turns, count = play(shop, scene)
    assert count == 5000
    assert turns > 3


def test_nothing_loaded_is_unavailable_and_not_ready(shop):
    async def scene(engine):
        with pytest.raises(Unavailable):
            engine.current()
        return engine.check()

    assert [found.rule for found in play(shop, scene)] == ["not_loaded"]


def test_a_model_that_changed_its_mind_is_not_ready(shop, tools, revision):
    loaded = revision(tools.route(shop.bundle("people")))
    other = revision(tools.route(shop.bundle("reversed")))

    async def scene(engine):
        engine.revision = loaded
        before = engine.check()
        loaded.routes[0].model.engine = other.routes[0].model.engine
        return before, engine.check()

    before, after = play(shop, scene)
    assert before == []
    assert [found.rule for found in after] == ["golden_differs"]


def test_a_request_id_has_an_end(shop, tools, revision):
    loaded = revision(tools.route(shop.bundle("people")))
    predict(shop, loaded, ask(), request_id="r" * 200)
    with pytest.raises(Invalid):
        predict(shop, loaded, ask(), request_id=new_id() * 8)


def warning(answer):
    return dict(answer.headers).get(b"interlock-warning")


def test_an_answer_names_the_columns_that_are_unlike_training_and_they_are_counted(shop, revision, tools):
    seen = {"age": Range(50, 90), "income": Range(0, 10)}
    one = tools.route(shop.bundle("people", ranges=seen), "model:buyer@1", 0.5)
    other = tools.route(shop.bundle("people"), "model:buyer@2", 0.5, "challenger")
    loaded = revision(one, other)

    async def scene(engine):
        view = loaded.view("shop")
        asked = ask(40, subjects=[f"p{i}" for i in range(40)])
        both = await engine.predict(asked, loaded, view, "r")
        alone = await engine.predict(ask(1), loaded, loaded.view("shop", "2"), "r")
        return both, alone, engine.metrics.models

    both, alone, tallies = play(shop, scene)
    assert warning(both) == b'out-of-range; columns="age,income"'
    assert warning(alone) is None
    count = tallies["model:buyer@1"].rows
    assert 0 < count < 40
    assert tallies["model:buyer@1"].outside == {"age": count, "income": count}
    assert tallies["model:buyer@1"].warnings == {"out-of-range": 1}
    assert tallies["model:buyer@2"].warnings == {}


def test_rows_unlike_training_are_not_recorded_where_they_are_refused(shop, revision, tools):
    bundle = shop.bundle("people", ranges={"age": Range(50, 90)})
    loaded = revision(tools.route(bundle), serving=Serving(out_of_range="block"))
    with pytest.raises(Invalid, match="'age'"):
        predict(shop, loaded, ask(3))
    assert list(shop.store.predictions.rows()) == []


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("policy", ["block", "flag"])
def test_a_score_that_is_no_probability_is_given_with_a_warning_only_where_that_is_said(
    shop, revision, tools, policy, slow
):
    loaded = revision(tools.route(shop.bundle("roots")), serving=Serving(garbage=policy))
    view = loaded.view("shop")
    view.call_s = 1.0 if slow else 0.0

    async def scene(engine):
        with pytest.raises(Unavailable, match="no probability"):  # the root of a negative number is none at all
            await engine.predict(ask(1, {"age": -4, "hours": 1.0, "income": 1.0}), loaded, view, "r")
        try:
            return await engine.predict(ask(1, {"age": 121, "hours": 1.0, "income": 1.0}), loaded, view, "r")
        except Unavailable:
            return None

    answer = play(shop, scene)
    recorded = [row.score for row in shop.store.predictions.rows()]
    if policy == "block":
        assert (answer, recorded) == (None, [])
    else:
        assert warning(answer) == b"garbage-output"
        assert recorded == answer.scores == [pytest.approx(1.1)]


def test_how_many_rows_go_together_follows_the_revision(shop, revision, tools):
    bundle = shop.bundle("people")
    few = revision(tools.route(bundle), number=2, serving=Serving(batch_rows=2))
    many = revision(tools.route(bundle), number=3, serving=Serving(batch_rows=50), loaded={bundle: few.routes[0].model})

    async def scene(engine):
        for loaded in (few, many):
            loaded.whole.call_s = 1.0
            asked = (engine.predict(ask(1), loaded, loaded.whole, f"r{i}") for i in range(12))
            assert len([one.ids for one in await asyncio.gather(*asked)]) == 12
            most, batcher = engine._batchers[loaded.routes[0].model]
            counts.append((most, batcher.batches))

    counts = []
    play(shop, scene)
    assert [most for most, _ in counts] == [2, 50]
    assert counts[0][1] >= 6 > counts[1][1]


def test_who_follows_a_revision_can_keep_it_from_answering(shop, revision, tools):
    loaded = revision(tools.route(shop.bundle("people")), serving=Serving(concurrent=5))

    def refuse(serving):
        assert serving.concurrent == 5
        raise Unavailable("no log")

    async def scene(engine):
        engine.rules.followers.append(refuse)
        with pytest.raises(Unavailable):
            engine.adopt(loaded)
        assert engine.revision is None
        engine.rules.followers.clear()
        engine.adopt(loaded)
        assert engine.revision is loaded

    play(shop, scene)


class Held:
    """A model's engine that counts its calls, and answers none while it is shut."""

    def __init__(self, engine, name=""):
        self.engine = engine
        self.name = name or engine.name
        self.calls = 0
        self.open = threading.Event()
        self.begun = threading.Event()

    def run(self, feeds):
        self.calls += 1
        self.begun.set()
        assert self.open.wait(30)
        return self.engine.run(feeds)

    def __getattr__(self, name):
        return getattr(self.engine, name)


class Hand:
    """A clock that stands still until it is told."""

    def __init__(self):
        self.at = 100.0

    def monotonic(self):
        return self.at

    def now(self):
        return SystemClock().now()


def test_readiness_asks_a_slow_model_once_beside_the_loop_and_keeps_what_it_said(shop, tools, revision):
    loaded = revision(tools.route(shop.bundle("people")))
    model = loaded.routes[0].model
    model.call_s, model.engine = 1.0, Held(model.engine)

    async def scene(engine):
        engine.clock, engine.revision = Hand(), loaded
        asking = [asyncio.create_task(engine.verdict_all()) for _ in range(5)]
        await asyncio.to_thread(model.engine.begun.wait, 30)  # the loop goes on, although no answer comes
        asking[0].cancel()
        model.engine.open.set()
        assert await asyncio.gather(*asking[1:]) == [[]] * 4
        assert await engine.verdict() == []
        assert model.engine.calls == 1
        engine.clock.at += 1.5
        assert await engine.verdict() == []
        assert model.engine.calls == 2

    play(shop, scene)


def test_a_quick_model_is_asked_at_once_and_not_again_within_a_second(shop, tools, revision):
    loaded = revision(tools.route(shop.bundle("people")))
    model = loaded.routes[0].model
    model.call_s, model.engine = 0.0, Held(model.engine)
    model.engine.open.set()

    async def scene(engine):
        engine.clock, engine.revision = Hand(), loaded
        assert [await engine.verdict() for _ in range(3)] == [[]] * 3
        return model.engine.calls

    assert play(shop, scene) == 1


def test_an_original_that_hangs_stops_no_other_model(shop, tools, revision):
    hangs, other = (revision(tools.route(shop.bundle(kind)), number=n) for n, kind in ((2, "people"), (3, "reversed")))
    model = hangs.routes[0].model
    model.engine, hangs.whole.call_s = Held(model.engine, "worker"), 1.0

    async def scene(engine):
        waiting = [
            asyncio.create_task(engine.predict(ask(1), hangs, hangs.whole, "a")),
            asyncio.create_task(engine.answer(1 << 20, lambda: (ask(1), "b"), hangs, hangs.whole)),
        ]
        await asyncio.to_thread(model.engine.begun.wait, 30)
        answer = await asyncio.wait_for(engine.answer(1 << 20, lambda: (ask(2), "c"), other, other.whole), 30)
        assert await asyncio.wait_for(engine.hands.apart(lambda: 7), 30) == 7
        model.engine.open.set()
        assert [len((await one).ids) for one in waiting] == [1, 1]
        return len(answer.ids)

    assert play(shop, scene) == 2


@pytest.mark.parametrize("slow", [False, True])
def test_what_can_only_be_refused_again_is_not_asked_again(shop, tools, revision, slow):
    loaded = revision(tools.route(shop.bundle("people")))
    model = loaded.routes[0].model

    def down(_):
        nonlocal calls
        calls += 1
        raise Unavailable("gone")

    calls = 0
    model.engine = Held(model.engine)
    model.engine.run, loaded.whole.call_s = down, float(slow)

    async def scene(engine):
        with pytest.raises(Unavailable, match="gone"):
            await engine.predict(ask(1), loaded, loaded.whole, "r")

    play(shop, scene)
    assert calls == 1

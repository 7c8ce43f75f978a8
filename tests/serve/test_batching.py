"""Batches over a real model whose calls are slowed down and counted."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from interlock.core.errors import Error, Unavailable
from interlock.serve.batching import Batcher
from interlock.serve.model import LoadedModel

ROW = {"age": [40], "hours": [38.0], "income": [30.0]}


class Slowed:
    """A model's engine that takes a while, and remembers how many rows each call had."""

    def __init__(self, engine, pause_s):
        self.engine = engine
        self.pause_s = pause_s
        self.calls = []

    def run(self, feeds):
        self.calls.append(len(next(iter(feeds.values()))))
        time.sleep(self.pause_s)
        return self.engine.run(feeds)

    def __getattr__(self, name):
        return getattr(self.engine, name)


@pytest.fixture
def slow(shop):
    def load(kind="people", pause_s=0.02):
        model = LoadedModel.load(shop.store.objects, shop.bundle(kind))
        model.engine = Slowed(model.engine, pause_s)
        return model

    return load


def rows(model, ages):
    return model.prepare({"age": ages, "hours": [38.0] * len(ages), "income": [30.0] * len(ages)})


def run(scene, model, **options):
    async def all_of_it():
        with ThreadPoolExecutor(4) as pool:
            return await scene(Batcher(model, pool, **options))

    return asyncio.run(all_of_it())


def test_requests_that_wait_share_a_call_and_get_their_own_answers(slow):
    model = slow()
    alone = {age: model.run(rows(model, [age])).scores[0] for age in range(18, 88)}
    model.engine.calls.clear()

    async def scene(batcher):
        found = await asyncio.gather(*(batcher.run(rows(model, [age])) for age in alone))
        assert (batcher.batches, batcher.rows, batcher.waiting) == (len(model.engine.calls), len(alone), 0)
        return [scores.scores[0] for scores in found]

    assert run(scene, model) == pytest.approx([*alone.values()], abs=1e-6)
    assert len(model.engine.calls) <= 3
    assert sum(model.engine.calls) == len(alone)


def test_a_lone_request_waits_for_nobody(slow):
    model = slow()

    async def scene(batcher):
        for _ in range(3):
            await batcher.run(rows(model, [40]))
            assert batcher.window_s == 0.0

    run(scene, model)
    assert model.engine.calls == [1, 1, 1]


def test_rows_are_counted_and_not_requests(slow):
    model = slow()

    async def scene(batcher):
        sizes = [4, 4, 4, 50, 1, 9, 9]
        found = await asyncio.gather(*(batcher.run(rows(model, [40] * size)) for size in sizes))
        assert [len(scores.scores) for scores in found] == sizes

    run(scene, model, most_rows=10)
    assert model.engine.calls == [4, 8, 50, 10, 9]


def test_one_bad_request_fails_alone(slow):
    model = slow("roots", 0.005)

    async def scene(batcher):
        first = asyncio.create_task(batcher.run(rows(model, [25])))  # while it runs, the others gather
        await asyncio.sleep(0)
        ages = [36] * 10 + [-36] + [49] * 10
        return await asyncio.gather(first, *(batcher.run(rows(model, [age])) for age in ages), return_exceptions=True)

    found = run(scene, model)
    bad = [answer for answer in found if isinstance(answer, BaseException)]
    assert len(found) == 22
    assert [type(answer) for answer in bad] == [type(found[11])]
    assert not isinstance(found[11], Unavailable) or "probability" in str(found[11])
    assert [answer.scores[0] for answer in (*found[1:11], *found[12:])] == pytest.approx([0.6] * 10 + [0.7] * 10)


def test_who_has_gone_leaves_the_queue(slow):
    model = slow()

    async def scene(batcher):
        first = asyncio.create_task(batcher.run(rows(model, [40])))
        await asyncio.sleep(0)
        gone = [asyncio.create_task(batcher.run(rows(model, [41] * 5))) for _ in range(10)]
        kept = asyncio.create_task(batcher.run(rows(model, [42, 43])))
        await asyncio.sleep(0)
        assert batcher.waiting == 52
        for task in gone:
            task.cancel()
        assert len((await kept).scores) == 2
        await first
        assert batcher.waiting == 0

    run(scene, model)
    assert model.engine.calls == [1, 2]


def test_where_requests_come_fast_the_first_waits_for_the_next(slow):
    model = slow(pause_s=0.01)

    async def scene(batcher):
        for _ in range(60):
            await asyncio.gather(*(batcher.run(rows(model, [40])) for _ in range(8)))
            if batcher.window_s:
                break
        assert 0 < batcher.window_s <= 0.005
        before = len(model.engine.calls)
        one = asyncio.create_task(batcher.run(rows(model, [40])))
        await asyncio.sleep(0.0005)
        two = asyncio.create_task(batcher.run(rows(model, [41])))
        await asyncio.gather(one, two)
        assert model.engine.calls[before:] in ([2], [1, 1])  # one call, unless the machine was slow

    run(scene, model)


def test_an_engine_that_breaks_is_told_to_all_who_waited(slow):
    model = slow()

    async def scene(batcher):
        def broken(_):
            raise OSError("gone")

        model.engine.engine.run = broken
        return await asyncio.gather(*(batcher.run(rows(model, [40])) for _ in range(3)), return_exceptions=True)

    found = run(scene, model)
    assert [type(error) for error in found] == [Unavailable] * 3


def test_a_fault_of_ours_over_one_request_is_that_requests_alone(slow, caplog):
    model = slow(pause_s=0.005)

    async def scene(batcher):
        first = asyncio.create_task(batcher.run(rows(model, [25])))
        await asyncio.sleep(0)
        wrong = rows(model, [30])
        wrong.feeds = None
        asked = [rows(model, [36]), wrong, rows(model, [49])]
        return await asyncio.gather(first, *map(batcher.run, asked), return_exceptions=True)

    found = run(scene, model)
    assert isinstance(found[2], Error)
    assert [len(answer.scores) for answer in found if answer is not found[2]] == [1, 1, 1]
    assert "a model's call failed" in caplog.text


class Resting:
    """An engine that is killed over one row, and then answers nobody until it has rested."""

    def __init__(self, engine, bad):
        self.engine = engine
        self.bad = bad
        self.until = 0.0

    @property
    def rest_s(self):
        return max(self.until - time.monotonic(), 0.0)

    def run(self, feeds):
        if self.rest_s:
            raise Unavailable("It was killed a moment ago.")
        if any(self.bad in column for column in feeds.values()):
            self.until = time.monotonic() + 0.05
            raise Unavailable("It did not answer in time.")
        return self.engine.run(feeds)

    def __getattr__(self, name):
        return getattr(self.engine, name)


def test_those_who_shared_a_call_that_killed_the_engine_wait_until_it_has_rested(slow):
    model = slow(pause_s=0.005)
    model.engine = Resting(model.engine, 31)

    async def scene(batcher):
        first = asyncio.create_task(batcher.run(rows(model, [25])))
        await asyncio.sleep(0)
        return await asyncio.gather(
            first, *(batcher.run(rows(model, [age])) for age in (36, 31, 49)), return_exceptions=True
        )

    found = run(scene, model)
    assert [type(answer).__name__ for answer in found] == ["Scores", "Scores", "Unavailable", "Scores"]
    assert "in time" in str(found[2])

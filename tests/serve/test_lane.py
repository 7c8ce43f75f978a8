"""Large bodies beside the event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from interlock.serve.lane import Lane
from interlock.serve.shares import Pace


def run(scene, *, small_ones=False):
    """Return what a scene with a lane of two places returns."""

    async def main():
        pace = Pace()
        if small_ones:
            pace.small_at = time.perf_counter() + 3600
        with ThreadPoolExecutor(4) as pool:
            return await scene(Lane(pool, 2, pace), asyncio.get_running_loop())

    return asyncio.run(main())


class Watched:
    """Counts how many of its calls run at once."""

    def __init__(self):
        self.now = self.most = 0
        self.order = []
        self.lock = threading.Lock()

    def __call__(self, name):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.order.append(name)
        time.sleep(0.002)
        with self.lock:
            self.now -= 1
        return name


def test_results_and_errors_come_back():
    async def scene(it, loop):
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(it.new, lambda: 1 / 0)
        return await loop.run_in_executor(it.new, pow, 2, 5)

    assert run(scene) == 32


def test_as_many_run_as_there_are_places():
    watched = Watched()

    async def scene(it, loop):
        return await asyncio.gather(*(loop.run_in_executor(it.new, watched, name) for name in range(12)))

    assert run(scene) == list(range(12))
    assert watched.most == 2


def test_one_runs_at_a_time_while_small_requests_come():
    alone = []
    lock = threading.Lock()

    def call():
        got = lock.acquire(blocking=False)
        time.sleep(0.002)
        alone.append(got)
        if got:
            lock.release()

    async def scene(it, loop):
        await asyncio.gather(*(loop.run_in_executor(it.new, call) for _ in range(12)))

    run(scene, small_ones=True)
    assert alone == [True] * 12


def test_what_was_begun_goes_before_what_was_not():
    watched = Watched()

    async def scene(it, loop):
        new = [loop.run_in_executor(it.new, watched, f"new {place}") for place in range(6)]
        begun = [loop.run_in_executor(it.further, watched, f"begun {place}") for place in range(3)]
        await asyncio.gather(*new, *begun)

    run(scene)
    assert watched.order[2:5] == ["begun 0", "begun 1", "begun 2"]


def test_pieces_rest_in_proportion_to_what_they_took():
    ends, begins = [], []

    def busy():
        begins.append(time.perf_counter())
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass
        ends.append(time.perf_counter())

    async def scene(it, loop):
        await asyncio.gather(*(loop.run_in_executor(it.new, busy) for _ in range(6)))

    run(scene, small_ones=True)
    rests = [begun - ended for ended, begun in zip(ends[:-1], begins[1:], strict=True)]
    assert min(rests) > 0.02  # one and a half times 20 ms; more on a busy machine, and never less


def test_who_gave_up_is_not_worked_for():
    watched = Watched()

    async def scene(it, loop):
        waiting = [loop.run_in_executor(it.new, watched, name) for name in range(8)]
        for one in waiting[4:]:
            one.cancel()
        await asyncio.gather(*waiting[:4])
        await asyncio.sleep(0.02)

    run(scene)
    assert sorted(watched.order) == [0, 1, 2, 3]

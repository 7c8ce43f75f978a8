"""Where work is done."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from interlock.serve import sizes
from interlock.serve.hands import Hands


@pytest.fixture
def hands():
    with ThreadPoolExecutor(2) as pool:
        yield Hands(pool)


def come(hands):
    """Let a small request come."""
    hands.pace.small_at = time.perf_counter() + 3600


def turn(rows, columns, row_s):
    return SimpleNamespace(ask=SimpleNamespace(rows=rows), view=SimpleNamespace(columns=[None] * columns, row_s=row_s))


def model(name="onnx"):
    class Model:
        engine = SimpleNamespace(name=name)

    return Model()


def test_bodies_are_read_here_up_to_a_size_and_larger_ones_while_nobody_small_asks(hands):
    assert hands.read_here(sizes.LARGE)
    assert hands.read_here(sizes.QUIET_BYTES)
    assert not hands.read_here(sizes.QUIET_BYTES + 1)
    come(hands)
    assert hands.read_here(sizes.LARGE)
    assert not hands.read_here(sizes.LARGE + 1)


def test_rows_are_scored_here_if_few_or_quick(hands):
    many = sizes.MANY_VALUES // 4 + 1
    assert hands.score_here(turn(many - 1, 4, sizes.QUIET_S / many))
    assert not hands.score_here(turn(many - 1, 4, sizes.QUIET_S))  # few, and each takes its time
    assert hands.score_here(turn(many, 4, sizes.QUIET_S / many / 2))
    assert not hands.score_here(turn(many, 4, sizes.QUIET_S / many * 2))
    come(hands)
    assert not hands.score_here(turn(many, 4, 0.0))


def test_rows_are_recorded_here_if_few_and_never_if_they_would_hold_the_loop(hands):
    assert hands.recorder(sizes.MANY_RECORDED) is None
    assert hands.recorder(sizes.QUIET_VALUES) is None
    assert hands.recorder(sizes.QUIET_VALUES + 1) is not None
    come(hands)
    assert hands.recorder(sizes.MANY_RECORDED) is None
    assert hands.recorder(sizes.MANY_RECORDED + 1) is not None


def test_large_work_leaves_the_loop(hands):
    async def scene():
        here = await hands.work(10, threading.get_ident)
        there = await hands.work(sizes.QUIET_BYTES + 1, threading.get_ident)
        asked = await hands.beside([model()], threading.get_ident)
        return threading.get_ident(), here, there, asked, await hands.apart(threading.get_ident)

    loop, here, there, asked, apart = asyncio.run(scene())
    assert loop == here
    assert loop not in {there, asked, apart}


def test_an_original_has_a_thread_of_its_own_whoever_asks_first(hands):
    original, other = model("worker"), model("worker")
    found = []
    threads = [threading.Thread(target=lambda: found.append(hands.of(original))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
    assert hands.of(other) is not found[0]
    assert hands.of(model()) is hands.of(model())

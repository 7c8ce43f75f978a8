"""Who is answered when more is asked than can be."""

from __future__ import annotations

import asyncio
import time

import pytest

from interlock.serve import shares, sizes
from interlock.serve.shares import RECENT_S, Pace, Shares

SMALL, LARGE = 100, sizes.SMALL + 1


def served(scene):
    """Return what a scene of requests leaves behind, in the order of the answers."""

    async def run():
        answered: list[str] = []
        await scene(Shares(Pace()), answered)
        return answered

    return asyncio.run(run())


def ask(all_, answered, peer, size, name):
    """Let a request come: it is answered now, or when its turn is."""
    if all_.admits(peer, size):
        answered.append(name)
    else:
        all_.put(peer, size, lambda: answered.append(name))


async def turns(count=1):
    for _ in range(count):
        await asyncio.sleep(0)


def test_requests_are_answered_where_they_are_read():
    async def scene(all_, answered):
        for place in range(50):
            ask(all_, answered, "a", SMALL, place)

    assert served(scene) == list(range(50))


def test_a_crowd_of_one_address_is_answered_in_slices_and_in_order(monkeypatch):
    monkeypatch.setattr(shares, "_ALONE", shares._Rule(0.0, 10))
    lengths = []

    async def scene(all_, answered):
        for place in range(30):
            ask(all_, answered, "a", SMALL, place)
        while len(answered) < 30:
            lengths.append(len(answered))
            await turns()

    assert served(scene) == list(range(30))
    assert lengths[0] == 10
    assert set(lengths) >= set(range(11, 30))  # a slice that has no time takes one a turn


def test_another_address_goes_before_a_crowd(monkeypatch):
    monkeypatch.setattr(shares, "_ALONE", shares._Rule(0.0, 10))
    monkeypatch.setattr(shares, "_MIXED", shares._Rule(0.0, 8))

    async def scene(all_, answered):
        for place in range(200):
            ask(all_, answered, "crowd", SMALL, place)
        await turns(2)
        ask(all_, answered, "one", SMALL, "one")
        await turns(300)

    answered = served(scene)
    assert answered.index("one") < 15
    assert [name for name in answered if name != "one"] == list(range(200))


def test_two_crowds_take_turns(monkeypatch):
    monkeypatch.setattr(shares, "_MIXED", shares._Rule(0.0, 1))

    async def scene(all_, answered):
        for place in range(20):
            ask(all_, answered, "a", SMALL, f"a{place}")
        for place in range(20):
            ask(all_, answered, "b", SMALL, f"b{place}")
        await turns(60)

    monkeypatch.setattr(shares, "_ALONE", shares._Rule(0.0, 1))
    answered = served(scene)
    assert len(answered) == 40
    waited = [name[0] for name in answered[2:]]
    assert waited[:20] == ["a", "b"] * 10


def test_large_bodies_wait_while_small_ones_come_and_only_then():
    async def scene(all_, answered):
        ask(all_, answered, "a", LARGE, "at once")
        all_._pace.small_at = time.perf_counter()
        ask(all_, answered, "a", SMALL, "small")
        ask(all_, answered, "a", LARGE, "later")
        ask(all_, answered, "a", SMALL, "small, too")  # not behind the large one of its own address
        await turns(3)
        all_._pace.small_at = time.perf_counter() - 2 * RECENT_S
        ask(all_, answered, "a", LARGE, "at once again")

    assert served(scene) == ["at once", "small", "small, too", "later", "at once again"]


def test_a_large_body_does_not_pass_those_who_wait(monkeypatch):
    monkeypatch.setattr(shares, "_ALONE", shares._Rule(0.0, 1))

    async def scene(all_, answered):
        for place in range(4):
            ask(all_, answered, "a", SMALL, place)
        ask(all_, answered, "b", LARGE, "large")
        assert answered == [0]
        await turns(9)

    assert set(served(scene)) == {0, 1, 2, 3, "large"}


def test_as_many_wait_for_a_disk_as_may_and_the_others_are_answered_in_the_end(monkeypatch):
    monkeypatch.setattr(shares, "_ALONE", shares._Rule(1.0, 3))
    under_way, most, enough = 0, 0, asyncio.Event()

    async def disk(answered, place):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        answered.append(place)
        if len(answered) == 17:
            enough.set()

    async def scene(all_, answered):
        for place in range(20):
            if not all_.admits("a", SMALL):
                all_.put("a", SMALL, lambda place=place: asyncio.ensure_future(disk(answered, place)))
        await asyncio.wait_for(enough.wait(), 10)

    assert sorted(served(scene)) == list(range(3, 20))
    assert most == 3


@pytest.mark.parametrize("failing", [0, 1])
def test_an_answer_that_fails_does_not_stop_those_behind_it(failing, monkeypatch, caplog):
    monkeypatch.setattr(shares, "_ALONE", shares._Rule(1.0, 1))

    async def scene(all_, answered):
        assert all_.admits("a", SMALL)
        for place in range(3):
            assert not all_.admits("a", SMALL)
            all_.put("a", SMALL, lambda place=place: answered.append(place) if place != failing else 1 / 0)
        await turns(5)

    assert served(scene) == [place for place in range(3) if place != failing]
    assert "ZeroDivisionError" in caplog.text

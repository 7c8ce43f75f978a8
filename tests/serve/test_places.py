"""Places for large bodies."""

from __future__ import annotations

import asyncio

import pytest

from interlock.serve import places
from interlock.serve.places import Places


def test_who_waits_longest_gets_the_next_place():
    async def scene():
        all_, order = Places(), []

        async def use(name):
            assert await all_.take(4)
            order.append(name)
            await asyncio.sleep(0.001)
            all_.give_back()

        await asyncio.gather(*(use(name) for name in range(10)))
        return all_, order

    all_, order = asyncio.run(scene())
    assert order == list(range(10))
    assert all_.taken == 0


def test_who_finds_none_for_long_is_refused(monkeypatch):
    monkeypatch.setattr(places, "_PATIENCE_S", 0.01)

    async def scene():
        all_ = Places()
        assert await all_.take(2)
        assert not await all_.take(2)
        assert all_.taken == 1
        assert not all_._waiting  # who gave up stands in nobody's way
        all_.give_back()
        assert await all_.take(2)

    asyncio.run(scene())


def test_too_many_are_refused_at_once(monkeypatch):
    monkeypatch.setattr(places, "_MOST_WAITING", 0)

    async def scene():
        all_ = Places()
        assert await all_.take(2)
        assert not await asyncio.wait_for(all_.take(2), 0.5)

    asyncio.run(scene())


@pytest.mark.parametrize("handed", [False, True])
def test_who_goes_away_takes_no_place_with_them(handed):
    async def scene():
        all_ = Places()
        assert await all_.take(2)
        waiting = asyncio.ensure_future(all_.take(2))
        await asyncio.sleep(0)
        if handed:
            all_.give_back()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        if not handed:
            all_.give_back()
        return all_.taken

    assert asyncio.run(scene()) == 0


def test_an_address_has_half_of_the_places_and_the_others_go_before_it():
    async def scene():
        all_ = Places()
        assert await all_.take(4, "a")
        assert await all_.take(4, "a")
        third = asyncio.ensure_future(all_.take(4, "a"))
        await asyncio.sleep(0)
        assert await all_.take(4, "b")
        fourth = asyncio.ensure_future(all_.take(4, "b"))
        fifth = asyncio.ensure_future(all_.take(4, "b"))
        await asyncio.sleep(0)
        assert (third.done(), fourth.done(), fifth.done()) == (False, True, False)
        all_.give_back("b")
        await asyncio.sleep(0)
        assert (third.done(), fifth.done()) == (False, True)
        all_.give_back("a")
        await asyncio.sleep(0)
        assert third.done()
        for peer in "aabb":
            all_.give_back(peer)
        return all_

    all_ = asyncio.run(scene())
    assert (all_.taken, all_._by) == (0, {})

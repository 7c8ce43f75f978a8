"""Models that are served no more leave memory when their last request is done, not when the collector comes."""

from __future__ import annotations

import asyncio
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from interlock.core.bundles import DeploymentSpec
from interlock.core.clock import SystemClock
from interlock.core.errors import Invalid
from interlock.serve.engine import Ask, Engine
from interlock.serve.hands import Hands
from interlock.serve.journal import open_journal
from interlock.serve.revision import load_revision
from interlock.serve.sources import Wanted
from interlock.serve.watch import Watcher

ROW = {"age": 40, "hours": 38.0, "income": 30.0}


@pytest.fixture(autouse=True)
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def load(shop, tools, kind="people", **changes):
    """Return a revision of one model."""
    routes = (tools.route(shop.bundle(kind, **changes)),)
    spec = shop.store.objects.put(msgspec.json.encode(DeploymentSpec("shop", 1, routes)))
    return load_revision(shop.source(), Wanted(1, spec), {})


def asked(**row):
    return Ask({name: [value] for name, value in {**ROW, **row}.items()}, 1)


async def scene_of(shop, play):
    with ThreadPoolExecutor(1) as pool:
        journal = open_journal(shop.store.predictions.folder, "1s")
        engine = Engine("shop", journal, SystemClock(), Hands(pool))
        try:
            await play(engine)
        finally:
            await journal.close()


@pytest.mark.parametrize("call_s", [0.0, 1.0], ids=["in the loop", "in the pool"])
def test_a_model_leaves_memory_with_its_revision(shop, tools, call_s):
    async def play(engine):
        engine.revision = load(shop, tools)
        engine.revision.whole.call_s = call_s
        model = weakref.ref(engine.revision.routes[0].model)
        await engine.predict(asked(), engine.revision, engine.revision.whole, "r")
        with pytest.raises(Invalid):
            await engine.predict(asked(age="x"), engine.revision, engine.revision.whole, "r")
        assert engine.check() == []
        engine.revision = None
        await asyncio.sleep(0.05)  # the pool's thread lets go of its last call
        assert model() is None

    asyncio.run(scene_of(shop, play))


def test_a_request_keeps_the_model_that_it_began_with(shop, tools):
    async def play(engine):
        revision = load(shop, tools)
        revision.whole.call_s = 1.0
        model = weakref.ref(revision.routes[0].model)
        under_way = asyncio.ensure_future(engine.predict(asked(), revision, revision.whole, "r"))
        del revision
        await asyncio.sleep(0)
        assert model() is not None
        assert len((await under_way).ids) == 1
        del under_way
        await asyncio.sleep(0.05)
        assert model() is None

    asyncio.run(scene_of(shop, play))


def test_a_model_that_is_refused_is_not_kept_with_the_reason(shop, tools, kinds, monkeypatch):
    shop.deploy(tools.route(shop.bundle("reversed", scores=kinds["people"].scores)))
    loaded = []

    async def play(engine):
        source = shop.source()
        load_model = source.load

        def noted(bundle):
            model = load_model(bundle)
            loaded.append(weakref.ref(model))
            return model

        monkeypatch.setattr(source, "load", noted)
        watcher = Watcher(engine, source)
        watcher.check()
        assert "takes no traffic" in str(watcher.error)
        assert [model() for model in loaded] == [None]

    asyncio.run(scene_of(shop, play))

"""Many models in one server: loaded and unloaded by name, while others answer."""

from __future__ import annotations

import asyncio
import threading

import pytest

from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.serve.stock import Nothing


def test_a_model_is_loaded_asked_and_unloaded(shop, house, register):
    register("credit", 1, shop.bundle("people"))
    register("other", 4, shop.bundle("reversed"))

    async def scene(home):
        assert (await home.client.get("/v2/health/ready")).status_code == 200
        assert (await home.infer("credit")).status_code == 404
        for name in ("credit", "other@4"):
            response = await home.post(f"/v2/repository/models/{name}/load", {})
            assert (response.status_code, response.content) == (200, b"")
        first, second = [(await home.infer(name)).json() for name in ("credit", "other@4")]
        assert (first["model_name"], first["model_version"], second["model_version"]) == ("credit", "1", "4")
        assert first["outputs"][0]["data"] != second["outputs"][0]["data"]
        # by the model's own name and version, too
        assert (await home.infer("other/versions/4")).status_code == 200
        listed = (await home.post("/v2/repository/index")).json()
        assert {(row["name"], row["version"], row["state"]) for row in listed} == {
            ("credit", "1", "READY"),
            ("other@4", "4", "READY"),
        }
        assert {"credit", "other", "other@4"} <= set((await home.client.get("/v2/models")).json()["models"])
        stats = (await home.client.get("/v2/models/stats")).json()["model_stats"]
        assert {row["name"]: row["inference_count"] for row in stats} == {"credit": 1, "other": 2}
        assert (
            await home.post("/v2/repository/models/credit/unload", {"parameters": {"unload_dependents": True}})
        ).is_success
        gone = await home.infer("credit")
        assert gone.status_code == 404
        assert set(gone.json()) == {"error"}
        assert (await home.infer("other")).status_code == 200
        assert (await home.post("/v2/repository/models/credit/unload")).status_code == 404

    house(scene)
    sources = {(row.model, row.deployment) for row in shop.store.predictions.rows()}
    assert sources == {("model:credit@1", "serve:credit"), ("model:other@4", "serve:other")}


def test_one_that_fails_is_refused_with_its_reason_and_the_others_go_on(shop, house, register):
    register("good", 1, shop.bundle("people"))
    register("bad", 1, shop.bundle("people", scores=[0.99] * 20))

    async def scene(home):
        await home.models.load("good")
        response = await home.post("/v2/repository/models/bad/load")
        assert response.status_code == 400
        assert "golden rows" in response.json()["error"]
        rows = {row["name"]: row for row in (await home.post("/v2/repository/index", {"ready": False})).json()}
        assert rows["bad"]["state"] == "UNAVAILABLE"
        assert "golden rows" in rows["bad"]["reason"]
        assert [row["name"] for row in (await home.post("/v2/repository/index", {"ready": True})).json()] == ["good"]
        assert (await home.infer("good")).status_code == 200
        assert (await home.client.get("/v2/health/ready")).status_code == 200  # nobody started the server for it
        assert (await home.post("/v2/repository/models/nobody/load")).status_code == 404
        assert (await home.post("/v2/repository/models/good/load", {"parameters": {"config": "{}"}})).status_code == 400

    house(scene)


def test_what_the_server_was_started_for_has_to_be_there(shop, house, register):
    register("good", 1, shop.bundle("people"))
    register("bad", 1, shop.bundle("people", scores=[0.99] * 20))

    async def scene(home):
        home.mean("good")
        home.mean("bad")
        assert home.models.number() is None
        await asyncio.to_thread(lambda: [entry.tick() for entry in home.models._entries.values()])
        assert home.models.number() == 1
        assert (await home.infer("good")).status_code == 200
        assert (await home.client.get("/v2/health/ready")).status_code == 503
        assert (await home.client.get("/v2/models/good/ready")).status_code == 200
        with pytest.raises(Invalid, match="named twice"):
            home.mean("good")

    house(scene, explicit=False)


def test_an_unload_waits_for_what_was_begun(shop, house, register):
    register("credit", 1, shop.bundle("people"))

    async def scene(home):
        await home.models.load("credit")
        engine, revision, _ = home.engine.named("credit")
        engine.answering += 1
        going = asyncio.create_task(home.models.unload("credit"))
        await asyncio.sleep(0.05)
        assert not going.done()
        assert engine.revision is revision  # its model is still whole
        with pytest.raises(NotFound):
            home.models.find("credit")
        assert [row["state"] for row in home.models.index()] == ["UNLOADING"]
        engine.answering -= 1
        await going
        assert engine.revision is None
        assert home.models.index() == []

    house(scene)


def test_nobody_loses_an_answer_while_others_are_loaded_and_unloaded(shop, house, register):
    register("credit", 1, shop.bundle("people"))
    register("other", 1, shop.bundle("reversed"))

    async def scene(home):
        await home.models.load("credit")
        done, found = asyncio.Event(), {"credit": set(), "other": set()}

        async def ask(name):
            while not done.is_set():
                found[name].add((await home.infer(name)).status_code)
                await asyncio.sleep(0)  # without a socket nothing else lets the loop go on

        asking = [asyncio.create_task(ask(name)) for name in ("credit", "other") for _ in range(4)]
        for _ in range(10):
            await home.models.load("other")
            await asyncio.sleep(0.01)
            await home.models.unload("other")
        done.set()
        await asyncio.gather(*asking)
        assert found == {"credit": {200}, "other": {200, 404}}

    house(scene)


def test_a_load_takes_over_what_an_alias_means_now(shop, house, register):
    register("credit", 1, shop.bundle("people"))

    async def scene(home):
        await home.models.load("credit")
        register("credit", 2, shop.bundle("reversed"))
        await home.models.load("credit")
        assert home.models.find("credit").current().number == 2
        with pytest.raises(Conflict, match="loaded already"):
            await home.models.load("credit", anew=False)

    house(scene)


def test_a_load_beyond_the_memory_is_refused_before_and_after(shop, house, register):
    register("credit", 1, shop.bundle("people"))
    there = [1000]

    async def scene(home):
        response = await home.post("/v2/repository/models/credit/load")
        assert (response.status_code, home.models.engines()) == (507, [])
        home.models._memory_bytes = 1_000_000
        answers = iter([1000, 2_000_000])
        home.models._resident = lambda: next(answers)
        assert (await home.post("/v2/repository/models/credit/load")).status_code == 507
        assert home.models.engines() == []
        home.models._resident = lambda: 1000
        assert (await home.post("/v2/repository/models/credit/load")).status_code == 200

    house(scene, memory_bytes=1100, resident=lambda: there[0])


def test_nobody_changes_a_server_that_was_not_started_for_it(shop, house, register):
    register("credit", 1, shop.bundle("people"))

    async def refused(home):
        for path in ("/v2/repository/models/credit/load", "/v2/repository/models/credit/unload"):
            assert (await home.post(path)).status_code == 400
        response = await home.post("/models", {"model_name": "x", "url": "credit"})
        assert response.status_code == 400
        assert "--model-control" in response.json()["message"]

    async def from_a_page(home):
        for name, value in (("Origin", "https://example.org"), ("Sec-Fetch-Site", "cross-site")):
            response = await home.post("/v2/repository/models/credit/load", headers={name: value})
            assert response.status_code == 403

    house(refused, explicit=False)
    house(from_a_page)


@pytest.mark.parametrize("name", ["a b", "x" * 201, "a%2Fb", "ä"])
def test_a_name_is_plain(house, name):
    async def scene(home):
        response = await home.post(f"/v2/repository/models/{name}/load")
        assert response.status_code in {400, 404}

    house(scene)


def test_a_server_without_a_model_has_nothing_wanted():
    with pytest.raises(NotFound):
        Nothing().wanted()


def test_a_load_whose_caller_has_gone_goes_on_and_no_other_change_begins_before_its_end(
    shop, house, register, monkeypatch
):
    register("credit", 1, shop.bundle("people"))
    begun, go = threading.Event(), threading.Event()

    async def scene(home):
        found = home.stock.source

        def source(place):
            begun.set()
            assert go.wait(30)
            return found(place)

        monkeypatch.setattr(home.stock, "source", source)
        gone = asyncio.create_task(home.models.load("credit"))
        await asyncio.to_thread(begun.wait, 30)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        going = asyncio.create_task(home.models.unload("credit"))
        await asyncio.sleep(0.02)
        assert not going.done()
        assert [row["state"] for row in home.models.index()] == ["LOADING"]
        go.set()
        await going  # it was loaded, else there would be nothing to unload
        assert home.models.index() == []

    house(scene)

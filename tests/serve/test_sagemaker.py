"""SageMaker's contract for several models in a container, and for batch transform."""

from __future__ import annotations

import pytest

ROWS = {"dataframe_records": [{"age": 40, "hours": 38.0, "income": 30.0}]}


@pytest.fixture
def folder(shop, tmp_path):
    """Return a folder as SageMaker unpacks a model's archive."""

    def make(name, kind="people", **changes):
        bundle = shop.bundle(kind, **changes)
        from interlock.store.manifests import read_manifest, write_folder

        (tmp_path / "ml" / name).mkdir(parents=True)
        files = read_manifest(shop.store.objects, bundle).files
        write_folder(files, tmp_path / "ml" / name / "model", shop.store.objects.fetch)
        return tmp_path / "ml" / name / "model"

    return make


def test_the_five_routes(shop, house, folder, tmp_path):
    one, two = str(folder("one")), str(folder("two", "reversed"))

    async def scene(home):
        assert (await home.client.get("/ping")).status_code == 200  # before any model is loaded
        assert (await home.client.get("/models")).json() == {"models": []}
        loaded = await home.post("/models", {"model_name": "one", "url": one})
        assert (loaded.status_code, loaded.json()) == (200, {"modelName": "one", "modelUrl": one})
        assert (await home.post("/models", {"model_name": "one", "url": one})).status_code == 409
        assert (await home.post("/models", {"model_name": "two", "url": two})).status_code == 200
        assert (await home.client.get("/models/two")).json() == {"modelName": "two", "modelUrl": two}
        target = {"X-Amzn-SageMaker-Target-Model": "prefix/one.tar.gz"}
        answers = [await home.post(f"/models/{name}/invoke", ROWS, headers=target) for name in ("one", "two")]
        assert [a.status_code for a in answers] == [200, 200]
        assert answers[0].headers["x-amzn-sagemaker-target-model"] == "prefix/one.tar.gz"
        found = [a.json()["predictions"][0]["buys"] for a in answers]
        assert found[0] != found[1]
        gone = await home.client.delete("/models/one")
        assert (gone.status_code, gone.content) == (200, b"")
        assert (await home.client.delete("/models/one")).status_code == 404
        assert (await home.client.get("/models/one")).status_code == 404
        response = await home.post("/models/one/invoke", ROWS)
        assert response.status_code == 404
        assert set(response.json()) == {"error_code", "message"}

    house(scene, roots=(tmp_path / "ml",))
    models = {row.model for row in shop.store.predictions.rows()}
    assert len(models) == 2
    assert all(model.startswith("model:model@sha-") for model in models)


def test_the_list_has_pages(house, register, shop):
    bundle = shop.bundle("people")
    for number in range(5):
        register(f"m{number}", 1, bundle)

    async def scene(home):
        for number in range(5):
            assert (await home.post("/models", {"model_name": f"m{number}", "url": f"m{number}@1"})).status_code == 200
        names, token = [], ""
        for _ in range(5):
            page = (await home.client.get("/models", params={"limit": 2, "next_page_token": token})).json()
            names += [one["modelName"] for one in page["models"]]
            token = page.get("nextPageToken", "")
            if not token:
                break
        assert names == [f"m{number}" for number in range(5)]
        assert (await home.client.get("/models?limit=two")).status_code == 400

    house(scene)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"model_name": "x"}, 400),
        ({"model_name": "x", "url": 7}, 400),
        ({"model_name": "x/y", "url": "credit"}, 400),
        ({"model_name": "x", "url": ""}, 400),
        ({"model_name": "x", "url": "/etc"}, 403),
        ({"model_name": "x", "url": "file:///etc"}, 403),
        ({"model_name": "x", "url": "s3://bucket/model.tar.gz"}, 400),
        ({"model_name": "x", "url": "nobody@3"}, 404),
    ],
)
def test_a_bad_load_is_a_4xx(house, tmp_path, body, status):
    (tmp_path / "ml").mkdir()

    async def scene(home):
        assert (await home.post("/models", body)).status_code == status
        assert (await home.client.post("/models", content=b"{")).status_code == 400

    house(scene, roots=(tmp_path / "ml",))


def test_a_link_does_not_lead_out_of_the_roots(house, tmp_path):
    (tmp_path / "ml").mkdir()
    (tmp_path / "ml" / "away").symlink_to("/etc")

    async def scene(home):
        for url in (tmp_path / "ml" / "away", tmp_path / "ml" / ".." / "elsewhere"):
            assert (await home.post("/models", {"model_name": "x", "url": str(url)})).status_code == 403
        missing = await home.post("/models", {"model_name": "x", "url": str(tmp_path / "ml" / "none")})
        assert missing.status_code == 404

    house(scene, roots=(tmp_path / "ml",))


def test_no_room_is_507(house, folder, tmp_path):
    place = str(folder("one"))

    async def scene(home):
        assert (await home.post("/models", {"model_name": "one", "url": place})).status_code == 507

    house(scene, roots=(tmp_path / "ml",), memory_bytes=1000)


def test_a_pickle_is_refused(house, tmp_path):
    place = tmp_path / "ml" / "model"
    place.mkdir(parents=True)
    (place / "model.pkl").write_bytes(b"\x80\x04N.")

    async def scene(home):
        response = await home.post("/models", {"model_name": "one", "url": str(place)})
        assert response.status_code == 400
        assert "pickle" in response.json()["message"]

    house(scene, roots=(tmp_path / "ml",))


def test_batch_transform_is_told_how_to_ask(house, live):
    async def scene(home):
        return (await home.client.get("/execution-parameters")).json()

    for found in (house(scene), live.client.get("/execution-parameters").json()):
        assert found["BatchStrategy"] == "MULTI_RECORD"
        assert 1 <= found["MaxConcurrentTransforms"] * found["MaxPayloadInMB"] <= 100


def test_a_deployment_lists_what_it_serves_and_loads_nothing(live):
    assert live.client.get("/models").json()["models"][0]["modelName"] == "buyer"
    assert live.client.post("/models", json={"model_name": "x", "url": "buyer"}).status_code == 400
    assert live.client.delete("/models/buyer").status_code == 400
    row = {"city": "Oslo", "age": 40, "spend": 1.0}
    assert live.client.post("/models/buyer/invoke", json={"instances": [row]}).status_code == 200

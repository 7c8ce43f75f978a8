"""Where a server's models come from, and which of them may be shown."""

from __future__ import annotations

import os
import shutil
import time
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from interlock.core.clock import FixedClock
from interlock.core.errors import Denied, GateClosed, Invalid, NotFound
from interlock.registry.gc import DAY_S, collect
from interlock.serve.sources import Named
from interlock.serve.stock import Files, Stock, called, inmost, is_folder
from interlock.store.manifests import read_manifest, write_folder


@pytest.fixture
def folder(shop, tmp_path):
    """Return the folder of a bundle, and the bundle's digest."""
    bundle = shop.bundle("people")
    files = read_manifest(shop.store.objects, bundle).files
    write_folder(files, tmp_path / "credit", shop.store.objects.fetch)
    return tmp_path / "credit", bundle


@pytest.mark.parametrize(
    ("place", "found"),
    [("./a", True), ("../a", True), ("/a", True), ("~/a", True), ("file:///a", True), (".", True), ("a", False)],
)
def test_a_folder_is_told_from_a_reference(place, found):
    assert is_folder(place) is found
    assert is_folder("model:credit@7") is False


def test_a_name_is_the_folders_or_the_reference(folder):
    assert called(str(folder[0])) == "credit"
    assert called("model:credit@7") == called("credit@7") == "credit@7"


def test_papers_beside_the_files_do_not_change_what_they_are(shop, folder):
    place, bundle = folder
    (place / "model.approval.txt").write_text("note")
    (place / "model.proof.json").write_text("{}")
    source = Files(place, shop.store)
    assert source.bundle == bundle
    route = source.spec(source.wanted()).routes[0]
    assert (route.model, route.bundle) == (f"model:credit@sha-{bundle[:12]}", bundle)
    assert source.load(bundle).digest == bundle
    (place / "more.txt").write_text("x")
    assert Files(place, shop.store).wanted() != source.wanted()


def test_folders_in_folders_are_opened(folder, tmp_path):
    place = tmp_path / "outer" / "inner"
    place.mkdir(parents=True)
    folder[0].rename(place / "credit")
    assert inmost(tmp_path / "outer") == place / "credit"
    with pytest.raises(NotFound):
        inmost(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Invalid, match="empty"):
        inmost(tmp_path / "empty")


def test_a_folder_that_is_served_is_not_collected(shop, folder):
    store = shop.store
    source = Files(folder[0], store)
    begun = time.time()

    def after(hours: float):
        """Let so many hours pass for the server; the objects grow as old, and a collection looks."""
        store.clock = source._clock = FixedClock(datetime.fromtimestamp(begun, UTC) + timedelta(hours=hours))
        source.wanted()
        return {entry.digest for entry in read_manifest(store.objects, source.bundle).files}

    files = {source.bundle, *after(0)}

    def age():
        for digest in files:
            os.utime(store.root / "objects" / digest[:2] / digest[2:], (begun - 2 * DAY_S,) * 2)

    age()
    assert after(0.9)  # not yet: it would be a touch a file, four times a second
    assert collect(store, apply=False).share("garbage").objects >= len(files)
    after(1.1)
    assert collect(store, apply=False).share("garbage").objects == 0
    age()
    assert collect(store, apply=True).removed >= len(files)  # the machine slept
    with pytest.raises(NotFound):
        read_manifest(store.objects, source.bundle)
    after(50)
    assert source.load(source.bundle).digest == source.bundle
    shutil.rmtree(folder[0])
    age()
    collect(store, apply=True)
    after_all = FixedClock(datetime.fromtimestamp(begun, UTC) + timedelta(hours=100))
    source._clock = after_all
    assert source.wanted().revision == 1  # the model is in memory


def test_only_below_a_root(shop, folder, tmp_path):
    inside = Stock(shop.store, roots=[tmp_path])
    assert inside.size(inside.source(str(folder[0]))) > 1000
    with pytest.raises(Denied):
        Stock(shop.store, roots=[tmp_path / "credit" / "deep"]).source(str(folder[0]))
    with pytest.raises(Denied):
        Stock(shop.store, roots=()).source(f"file://{folder[0]}")


def test_a_link_in_a_folder_is_refused(shop, folder):
    (folder[0] / "passwords").symlink_to("/etc/passwd")
    with pytest.raises(Invalid, match="plain file"):
        Files(folder[0], shop.store)


def test_what_nobody_approved_is_not_shown(shop, folder, register):
    place, bundle = folder
    register("credit", 1, bundle, "registered")
    register("credit", 2, bundle, "approved")
    stock = Stock(shop.store, approved_only=True)
    with pytest.raises(GateClosed):
        stock.source(str(place))
    with pytest.raises(GateClosed):
        stock.source("credit@1")
    assert stock.source("credit@2").wanted().revision == 2
    seen = []
    assert Stock(shop.store, approved_only=True, admit=lambda *it: seen.append(it)).source(str(place))
    assert seen == [(place, bundle)]

    def refuse(*_):
        raise GateClosed("no", about="server")

    with pytest.raises(GateClosed):
        Stock(shop.store, approved_only=True, admit=refuse).source(str(place))


def test_a_damaged_bundle_is_refused(shop, folder, house, tmp_path):
    place = folder[0]
    bundle = msgspec.json.decode((place / "bundle.json").read_bytes())
    (place / "bundle.json").write_bytes(msgspec.json.encode({**bundle, "files": {}}))

    async def scene(home):
        response = await home.post("/models", {"model_name": "x", "url": str(place)})
        assert response.status_code == 400, response.text
        assert "message" in response.json()

    house(scene, roots=(tmp_path,))


def test_a_missing_alias_of_a_model_says_how_to_set_it(shop, register):
    register("happy", 1, shop.bundle())
    store = shop.store
    named = Named("happy@champion", store.database, store.objects)
    with pytest.raises(NotFound, match="no alias as yet.*`interlock registry alias happy champion VERSION`"):
        named.wanted()
    with pytest.raises(NotFound, match="Did you mean 'model:happy'"):
        Named("hapy@champion", store.database, store.objects).wanted()

from __future__ import annotations

import msgspec
import pytest

from interlock.core.errors import NotFound
from interlock.registry.diff import Difference
from interlock.store import Store
from interlock.store.manifests import Entry, put_entries
from interlock.track.environment import Environment
from interlock.track.records import Start
from interlock.track.service import TrackService


def test_each_part_that_differs_is_named(store: Store, make, manifest, registry) -> None:
    track = TrackService(store)
    files = [manifest(a=b"1", b=b"same"), manifest(a=b"2", b=b"same", c=b"new")]
    for number, bundle in enumerate(files):
        code = store.objects.put(b"print(%d)" % number)
        env = Environment("3.12", "CPython", "Linux", 2, {"numpy": f"2.{number}", "same": "1"})
        start = Start(
            "e",
            params={"depth": str(number), "same": "x"},
            inputs=(f"data:people@{number + 1}",),
            code=put_entries(store.objects, [Entry("train.py", 8, code)]),
            environment=store.objects.put(msgspec.json.encode(env)),
        )
        run = track.start(start)
        track.log_metrics(run.id, {"auc": 0.5 + number / 4})
        make(bundle=bundle, run=run.id, tags={"n": str(number)})
    found = {(d.part, d.name): (d.left, d.right) for d in registry.diff("m@1", "m@2")}
    assert set(found) == {
        ("params", "depth"),
        ("metrics", "auc"),
        ("data", "people"),
        ("packages", "numpy"),
        ("code", "train.py"),
        ("files", "a"),
        ("files", "c"),
        ("tags", "n"),
    }
    assert found["params", "depth"] == ("0", "1")
    assert found["metrics", "auc"] == ("0.5", "0.75")
    assert found["data", "people"] == ("data:people@1", "data:people@2")
    assert found["packages", "numpy"] == ("2.0", "2.1")
    assert found["files", "c"][0] is None
    assert registry.diff("m@1", "m@1") == []


def test_signatures_of_bundles_are_compared_with_what_is_none(make, manifest, registry, register) -> None:
    register()
    make(bundle=manifest(a=b"1"))
    found = registry.diff("happy@1", "m@1")
    assert Difference("signature", "format", "bundle", "opaque") in found
    assert Difference("inputs", "age", "integer, place 1", None) in found
    make("bare")
    assert registry.diff("bare@1", "m@1")
    with pytest.raises(NotFound):
        registry.diff("m@1", "m@7")

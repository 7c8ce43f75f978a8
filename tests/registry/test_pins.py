from __future__ import annotations

import msgspec

from interlock.registry import pins
from interlock.store import Store
from interlock.track.records import Start
from interlock.track.service import TrackService


def test_a_version_pins_what_its_run_had(store: Store, make, manifest, registry) -> None:
    track = TrackService(store)
    code, environment = (store.objects.put(text) for text in (b"code", b"environment"))
    start = Start("e", params={"depth": "3"}, inputs=("data:people@1", "model:x@1"), code=code, environment=environment)
    run = track.start(start)
    track.log_metrics(run.id, {"auc": 0.5, "odd": float("nan")})
    track.log_metrics(run.id, {"auc": 0.75}, step=2)
    made = make(bundle=manifest(a=b"a"), run=run.id)
    held = registry.pins(made.ref)
    assert (held.bundle, held.run, held.code, held.environment) == (made.bundle, run.ref, code, environment)
    assert (held.data, held.params, held.metrics) == (("data:people@1",), {"depth": "3"}, {"auc": "0.75", "odd": "nan"})
    track.log(run.id, {"late": "1"})
    assert registry.pins(made.ref) == held
    assert make(bundle=made.bundle, run=run.id).pins != made.pins
    assert make(bundle=made.bundle, run=run.id, data=["data:other@2"]).data == ("data:other@2",)


def test_a_run_that_is_not_here_is_named_and_no_more(store: Store, make, registry) -> None:
    made = make(run="elsewhere")
    assert registry.pins(made.ref) == pins.Pins("", "run:elsewhere", "", "", (), {}, {})


def test_a_version_of_old_has_empty_pins(store: Store) -> None:
    assert pins.read(store.objects, "").params == {}


def test_one_id_stands_for_code_data_model_and_params(store: Store, make, manifest, registry) -> None:
    """`pins` of a version is a digest of all of them: another one for each that changes, the same when none does."""
    start = Start("e", params={"depth": "3"}, code=store.objects.put(b"code"))
    made = make(bundle=manifest(a=b"a"), run=TrackService(store).start(start).id, data=["data:people@1"])
    held = registry.pins(made.ref)
    others = {"bundle": manifest(a=b"b"), "code": "0" * 64, "data": ("data:people@2",), "params": {"depth": "4"}}
    found = {made.pins} | {
        pins.keep(store.objects, msgspec.structs.replace(held, **{name: value})) for name, value in others.items()
    }
    assert len(found) == 1 + len(others)
    assert pins.keep(store.objects, msgspec.structs.replace(held)) == made.pins
    assert registry.version(made.ref).pins == made.pins

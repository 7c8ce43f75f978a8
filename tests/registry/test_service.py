from __future__ import annotations

from collections.abc import Callable

import pytest

from interlock.core.errors import Conflict, Corrupt, Denied, Invalid, NotFound
from interlock.registry.service import ModelVersion, RegistryService
from interlock.store import Store
from interlock.track.records import Start
from interlock.track.service import TrackService

Register = Callable[[], ModelVersion]


def test_versions_count_up_and_a_run_is_registered_once(registry: RegistryService, register: Register) -> None:
    first, second = register(), register()
    assert (first.version, second.version, first.stage) == (1, 2, "registered")
    assert registry.register("happy", first.run, first.bundle, []).version == 1
    assert [v.version for v in registry.versions("happy")] == [1, 2]
    assert registry.version("model:happy") == second
    assert registry.version("models:/happy/1") == first
    assert registry.model("happy").versions == 2


def test_what_is_no_bundle_is_not_registered(store: Store, registry: RegistryService) -> None:
    with pytest.raises(Invalid, match="no bundle"):
        registry.register("happy", "run:01", store.objects.put(b"{}"), [])
    with pytest.raises(NotFound):
        registry.register("happy", "run:01", "0" * 64, [])
    assert registry.models() == []


def test_aliases_point_to_versions_but_champion_only_to_approved_ones(
    store: Store, registry: RegistryService, register: Register
) -> None:
    version = register()
    store.database.write(lambda tx: registry.guard(tx, "happy"))
    assert registry.alias("happy", "staging", 1).aliases == {"staging": 1}
    assert registry.version("model:happy@staging").aliases == ("staging",)
    with pytest.raises(Conflict, match="approved"):
        registry.alias("happy", "champion", 1)
    with pytest.raises(Invalid, match="latest"):
        registry.alias("happy", "latest", 1)
    with pytest.raises(NotFound):
        registry.alias("happy", "staging", 2)
    for stage in ("environment prepared", "validated", "approved"):
        store.database.write(lambda tx, stage=stage: registry.advance(tx, version.ref, stage, "test"))
    assert registry.alias("happy", "champion", 1).aliases["champion"] == 1
    assert registry.alias("happy", "staging", 0).aliases == {"champion": 1}
    moved = [e.data for e in store.ledger.events(kinds=("alias.moved",))]
    assert moved[-1] == {"alias": "staging", "version": 0, "previous": 1}


def test_by_hand_a_version_only_goes_back_or_away(store: Store, registry: RegistryService, register: Register) -> None:
    version = register()
    for stage in ("approved", "deployed", "validated"):
        with pytest.raises(Denied, match="by hand"):
            registry.move(version.ref, stage, "please")
    assert registry.move(version.ref, "development", "not good").stage_reason == "not good"
    assert registry.move(version.ref, "retired", "old").stage == "retired"
    with pytest.raises(Conflict):
        registry.move(version.ref, "development", "again")
    assert [e.data["stage"] for e in store.ledger.events(kinds=("model_version.moved",)) if e.data] == [
        "registered",
        "development",
        "retired",
    ]


def test_an_illegal_move_rolls_the_whole_change_back(
    store: Store, registry: RegistryService, register: Register
) -> None:
    version = register()
    size = store.ledger.size()
    with pytest.raises(Conflict):
        store.database.write(
            lambda tx: [registry.advance(tx, version.ref, stage, "x") for stage in ("environment prepared", "deployed")]
        )
    assert registry.version(version.ref).stage == "registered"
    assert store.ledger.size() == size


def test_near_names_are_offered(registry: RegistryService, register: Register) -> None:
    register()
    for text in ("model:hapy", "model:happy@2", "model:happy@champion"):
        with pytest.raises(NotFound) as caught:
            registry.version(text)
        assert "happy" in caught.value.hint or "champion" in str(caught.value)


def test_parts_of_a_bundle_are_verified_when_read(store: Store, registry: RegistryService, register: Register) -> None:
    version = register()
    assert registry.bundle(version.ref).target == "happy"
    assert registry.part(version.bundle, "serving")
    for digest in list(store.objects.digests()):
        path = store.root / "objects" / digest[:2] / digest[2:]
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(Corrupt):
        registry.part(version.bundle, "serving")


def test_a_folder_of_a_run_is_registered_by_its_place(store: Store, registry: RegistryService) -> None:
    """By reference, as MLflow writes it, or by the path alone; the same files are one version."""
    run = "01JD0000000000000000000000"
    for owner in (run, "other"):
        for path in ("models/tree/model.onnx", "models/tree/sub/a", "models/trees/x"):
            digest = store.objects.put(path.encode())
            values = {"owner": owner, "path": path, "digest": digest, "size": len(path)}
            store.database.write(
                lambda tx, values=values: tx.run(
                    "INSERT INTO artifacts (owner, path, digest, size_bytes) VALUES (:owner, :path, :digest, :size)",
                    values,
                )
            )
    with pytest.raises(NotFound, match="run"):
        registry.register("rf", run, "models/tree")
    TrackService(store).start(Start("e", id=run))
    made = registry.register("rf", f"run:{run}", f"run:{run}/models/tree")
    assert [file.path for file in registry.inspect(made.ref)] == ["model.onnx", "sub/a"]
    for place in (f"runs:/{run}/models/tree", "models/tree", "models/tree/"):
        assert registry.register("rf", run, place) == made
    alone = registry.register("rf", run, "models/tree/model.onnx")
    assert [file.path for file in registry.inspect(alone.ref)] == ["model.onnx"]
    assert len(list(registry.inspect(registry.register("all", run, f"run:{run}").ref))) == 3
    with pytest.raises(NotFound, match="models/tre") as missing:
        registry.register("none", run, "models/tre")
    assert "models/tree" in missing.value.hint
    with pytest.raises(Invalid, match="no place of"):
        registry.register("none", run, "run:other/models/tree")
    with pytest.raises(Invalid):
        registry.register("none", run, "models/../tree")
    assert [model.name for model in registry.models()] == ["all", "rf"]

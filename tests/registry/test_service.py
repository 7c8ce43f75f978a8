from __future__ import annotations

from collections.abc import Callable

import pytest

from interlock.core.errors import Conflict, Corrupt, Denied, Invalid, NotFound
from interlock.registry.service import ModelVersion, RegistryService
from interlock.store import Store

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

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from interlock.core.errors import Invalid, NotFound
from interlock.registry.service import RegistryService
from interlock.registry.signatures import check_signed, sign
from interlock.registry.verify import see
from interlock.store import Store, create_store
from interlock.store.manifests import Entry, put_entries, read_manifest, write_folder


def path_of(store: Store, digest: str) -> Path:
    return store.root / "objects" / digest[:2] / digest[2:]


def test_a_version_is_signed_when_it_is_registered(store: Store, make, manifest, registry) -> None:
    made = make(bundle=manifest(a=b"a", b=b"b"))
    assert registry.verify(made.ref).ok
    assert registry.verify(made.ref).signature == "good"
    event = store.ledger.events(kinds=("model_version.created",))[-1]
    assert made.bundle in event.data["signature"]
    with pytest.raises(Invalid, match="not pinned"):
        registry.verify(make().ref)


def test_each_changed_missing_and_extra_file_is_named(store: Store, make, manifest, registry, tmp_path: Path) -> None:
    made, folder = make(bundle=manifest(a=b"a", b=b"b", c=b"c")), tmp_path / "copy"
    write_folder(read_manifest(store.objects, made.bundle).files, folder, store.objects.fetch)
    assert registry.verify(made.ref, see(folder)).ok
    (folder / "a").write_bytes(b"x")
    (folder / "b").unlink()
    (folder / "d").write_bytes(b"d")
    found = registry.verify(made.ref, see(folder))
    assert [(fault.fault, fault.path) for fault in found.faults] == [("changed", "a"), ("missing", "b"), ("extra", "d")]
    assert (found.ok, found.signature) == (False, "good")
    path_of(store, store.objects.put(b"c")).unlink()
    assert [(fault.fault, fault.path) for fault in registry.verify(made.ref).faults] == [("missing", "c")]


def test_a_manifest_that_was_put_in_its_place_is_not_what_was_signed(store: Store, make, manifest, registry) -> None:
    made, other = make(bundle=manifest(a=b"a")), manifest(a=b"evil")
    store.database.write(lambda tx: tx.run("UPDATE model_versions SET bundle = :b", {"b": other}))
    found = registry.verify(made.ref)
    assert (found.ok, found.signature) == (False, "missing")


def test_another_workspace_cannot_sign_for_this_one(store: Store, make, manifest, registry, tmp_path: Path) -> None:
    stranger = create_store(tmp_path / "other" / ".interlock")
    note = sign(stranger, manifest(a=b"a"))
    stranger.close()
    from interlock.registry import versions

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(versions, "sign", lambda store, digest: note)
        made = make(bundle=manifest(a=b"a"))
    assert registry.verify(made.ref).signature == "wrong"


def test_signatures_follow_a_rename(store: Store, make, manifest, registry) -> None:
    make("old", bundle=manifest(a=b"a"))
    registry.rename("old", "new")
    assert registry.verify("new@1").ok
    assert registry.signature("old@1").note


def test_a_folder_is_checked_without_the_workspace(store: Store, make, manifest, registry, tmp_path: Path) -> None:
    made, folder = make(bundle=manifest(a=b"a", b=b"b")), tmp_path / "copy"
    signed = registry.signature(made.ref)
    assert signed.note.startswith(f"interlock model manifest v1\n{made.bundle}\n\n\u2014 interlock/")
    write_folder(read_manifest(store.objects, made.bundle).files, folder, store.objects.fetch)
    assert check_signed(signed, signed.key, see(folder)) == []
    (folder / "a").write_bytes(b"A")
    assert [fault.path for fault in check_signed(signed, signed.key, see(folder))] == ["a"]
    replace = msgspec.structs.replace
    other = registry.signature(make(bundle=manifest(a=b"other")).ref)
    for forged in (
        replace(signed, manifest=other.manifest),
        replace(signed, note=other.note),
        replace(signed, note=signed.note.replace(made.bundle, "0" * 64)),
    ):
        with pytest.raises(Invalid):
            check_signed(forged, signed.key, see(folder))
    stranger = create_store(tmp_path / "stranger" / ".interlock")
    theirs = put_entries(stranger.objects, [Entry("a", 1, stranger.objects.put(b"A"))])
    forged = RegistryService(stranger).signature(RegistryService(stranger).register("m", "", theirs).ref)
    assert [fault.path for fault in check_signed(forged, forged.key, see(folder))] == ["b"]
    with pytest.raises(Invalid):  # what it says of its own key is not believed
        check_signed(forged, signed.key, see(folder))
    stranger.close()


def test_what_was_registered_before_signatures_says_so(store: Store, make, manifest, registry) -> None:
    made = make(bundle=manifest(a=b"a"))
    index = store.ledger.events(kinds=("model_version.created",))[-1].index
    store.database.write(lambda tx: store.ledger.erase(tx, index, "test"))
    assert registry.verify(made.ref).signature == "missing"
    with pytest.raises(NotFound, match="was not signed"):
        registry.signature(made.ref)


def test_twins_are_shown(make, manifest, registry, register) -> None:
    twin = registry.twin(register().ref)
    assert (twin.verdict, twin.rows > 1000, "onnx" in twin.versions) == ("agrees", True, True)
    assert registry.twin(make(bundle=manifest(a=b"a")).ref).reason == "no record came with its files"
    assert "holds no record" in registry.twin(make(bundle=manifest(twin__json=b"\xff")).ref).reason

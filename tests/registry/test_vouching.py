"""Notes that a version is approved, which hold without the workspace."""

from __future__ import annotations

import pytest

from interlock.core.errors import Corrupt, GateClosed, Invalid
from interlock.registry.reading import version_of
from interlock.registry.vouching import check_vouched, kept_back, vouched
from interlock.store.manifests import put_entries, read_manifest


@pytest.fixture
def version(store, register):
    """Return a registered version, in the stage that is asked for."""

    def version(stage):
        made = register()
        store.database.write(lambda tx: tx.run("UPDATE model_versions SET stage = :stage", {"stage": stage}))
        return version_of(store.database, made.ref)

    return version


@pytest.mark.parametrize("stage", ["approved", "deployed"])
def test_an_approved_version_is_vouched_for(store, version, stage):
    made = version(stage)
    found = vouched(store, made)
    assert (found.version, check_vouched(found.note, found.key, made.bundle)) == (made.ref, made.ref)
    with pytest.raises(Invalid):
        check_vouched(found.note.replace(made.bundle, "b" * 64), found.key, "b" * 64)
    with pytest.raises(Invalid, match="other files"):
        check_vouched(found.note, found.key, "b" * 64)


@pytest.mark.parametrize("stage", ["registered", "validated", "development", "retired"])
def test_any_other_is_not(store, version, stage):
    with pytest.raises(GateClosed, match=stage):
        vouched(store, version(stage))


def test_a_version_without_its_held_out_rows_is_vouched_for_too(store, version):
    made = version("approved")
    found = vouched(store, made)
    assert found.without == ("evaluation.parquet",)
    files = read_manifest(store.objects, made.bundle).files

    def digest(*without):
        return put_entries(store.objects, [one for one in files if one.path not in without])

    assert check_vouched(found.note, found.key, digest(*found.without)) == made.ref
    for other in ("golden.json", "bundle.json"):
        for without in ([other], [other, *found.without]):
            with pytest.raises(Invalid, match="other files"):
                check_vouched(found.note, found.key, digest(*without))


def test_what_else_has_a_part_stays_and_what_is_no_bundle_is_said():
    assert kept_back(["model.onnx"], b"") == ()
    with pytest.raises(Corrupt, match=r"bundle\.json"):
        kept_back(["bundle.json"], b"[]")

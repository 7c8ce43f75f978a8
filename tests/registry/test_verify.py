from __future__ import annotations

from pathlib import Path

import pytest

from interlock.core.errors import Invalid
from interlock.registry.verify import FileFault, see, seen_faults, stored_faults
from interlock.store import Store
from interlock.store.manifests import read_manifest, write_folder


def test_each_stored_file_is_read(store: Store, manifest) -> None:
    bundle = manifest(a=b"a" * 3_000_000, b=b"b", c=b"c")
    assert stored_faults(store.objects, bundle) == []
    digests = {store.objects.get(digest)[:1]: digest for digest in store.objects.digests()}
    changed = store.root / "objects" / digests[b"a"][:2] / digests[b"a"][2:]
    changed.chmod(0o644)
    changed.write_bytes(b"A")
    (store.root / "objects" / digests[b"b"][:2] / digests[b"b"][2:]).unlink()
    faults = stored_faults(store.objects, bundle)
    assert [(fault.path, fault.fault) for fault in faults] == [("a", "changed"), ("b", "missing")]
    assert faults[0].found == "559aead08264d5795d3909718cdd05abd49572e84fe55590eef31a88a08fdffd"


def test_a_folder_elsewhere_is_compared_file_by_file(store: Store, manifest, tmp_path: Path) -> None:
    bundle, folder = manifest(a=b"a", b=b"b", c=b"c"), tmp_path / "copy"
    write_folder(read_manifest(store.objects, bundle).files, folder, store.objects.fetch)
    assert seen_faults(store.objects, bundle, see(folder)) == []
    (folder / "a").write_bytes(b"x")
    (folder / "b").unlink()
    (folder / "sub").mkdir()
    (folder / "sub/d").write_bytes(b"d")
    faults = seen_faults(store.objects, bundle, see(folder))
    assert [(fault.path, fault.fault) for fault in faults] == [("a", "changed"), ("b", "missing"), ("sub/d", "extra")]
    assert isinstance(faults[0], FileFault)
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(Invalid, match="not a plain file"):
        see(folder)

from __future__ import annotations

import hashlib
import io
import os
import resource
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.errors import Corrupt, Invalid, NotFound, Unavailable
from interlock.store.manifests import Entry, put_entries, put_folder, read_manifest, write_folder
from interlock.store.objects import FolderObjects


@pytest.fixture
def objects(tmp_path: Path) -> FolderObjects:
    return FolderObjects(tmp_path / "objects")


def stored(objects: FolderObjects, digest: str) -> Path:
    return objects.root / digest[:2] / digest[2:]


@given(data=st.binary(max_size=5000))
def test_bytes_come_back_whatever_way_they_came(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    objects = FolderObjects(tmp_path_factory.getbasetemp() / "shared")
    path = tmp_path_factory.getbasetemp() / "source"
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    assert objects.put(data) == objects.put(path) == objects.put(io.BytesIO(data)) == digest
    assert objects.get(digest) == data
    assert objects.size(digest) == len(data)
    objects.fetch(digest, path)
    assert path.read_bytes() == data


def test_an_object_is_there_once_and_listed(objects: FolderObjects) -> None:
    digests = sorted({objects.put(b"a"), objects.put(b"b"), objects.put(b"a")})
    assert list(objects.digests()) == digests
    assert not list((objects.root / "incoming").iterdir())


def test_a_flipped_byte_is_corrupt_and_named_on_every_way_out(objects: FolderObjects, tmp_path: Path) -> None:
    digest = objects.put(b"hello world")
    path = stored(objects, digest)
    path.chmod(0o644)
    path.write_bytes(b"hello w0rld")
    with pytest.raises(Corrupt, match=digest):
        objects.get(digest)
    with pytest.raises(Corrupt, match=digest):
        objects.fetch(digest, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_not_there_and_what_is_no_digest(objects: FolderObjects, tmp_path: Path) -> None:
    missing = "0" * 64
    assert objects.size(missing) is None
    with pytest.raises(NotFound):
        objects.get(missing)
    with pytest.raises(NotFound):
        objects.fetch(missing, tmp_path / "out")
    for text in ("../../etc/passwd", "", "A" * 64, "0" * 63, "0" * 64 + "\n"):
        with pytest.raises(Invalid):
            objects.get(text)


def test_a_source_that_breaks_leaves_nothing_behind(objects: FolderObjects) -> None:
    class Breaking(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise OSError("the disk is gone")
            return super().read(3)

    with pytest.raises(OSError, match="gone"):
        objects.put(Breaking(b"abcdef"))
    assert not list((objects.root / "incoming").iterdir())
    assert not list(objects.digests())


def test_a_full_disk_is_unavailable_and_leaves_nothing_behind(objects: FolderObjects) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # what a full disk does, for this process alone
    try:
        with pytest.raises(Unavailable, match="cannot be stored"):
            objects.put(bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(objects.digests()) == []
    assert list((objects.root / "incoming").iterdir()) == []


def test_bytes_and_name_are_synced_before_the_digest_is_told(
    objects: FolderObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("sync"), sync(handle))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("rename"), replace(a, b))[1])
    objects.put(b"x" * 10)
    assert order[0] == "sync"
    assert order[-2:] == ["rename", "sync"]


def test_many_threads_may_store_the_same_bytes(objects: FolderObjects) -> None:
    threads = [threading.Thread(target=objects.put, args=(b"same" * 1000,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(objects.digests())) == 1


def test_a_folder_comes_back_and_equal_folders_have_equal_digests(objects: FolderObjects, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "b.txt").write_text("b")
        (tmp_path / name / "deep" / "a.txt").write_text("a")
    digest = put_folder(objects, tmp_path / "one")
    assert put_folder(objects, tmp_path / "two") == digest
    assert [e.path for e in read_manifest(objects, digest).files] == ["b.txt", "deep/a.txt"]
    write_folder(read_manifest(objects, digest).files, tmp_path / "back", objects.fetch)
    assert put_folder(objects, tmp_path / "back") == digest
    with pytest.raises(NotFound, match=r"b\.txt"):
        read_manifest(objects, digest).find("b.tx")


def test_links_are_refused_and_a_manifest_cannot_lead_outside(objects: FolderObjects, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to("/etc/hostname")
    with pytest.raises(Invalid, match="link"):
        put_folder(objects, tmp_path / "folder")
    evil = put_entries(objects, [Entry("../evil", 1, objects.put(b"x"))])
    with pytest.raises(Corrupt, match="outside"):
        write_folder(read_manifest(objects, evil).files, tmp_path / "target", objects.fetch)
    assert not (tmp_path / "evil").exists()
    with pytest.raises(Corrupt, match="no folder manifest"):
        read_manifest(objects, objects.put(b"[]"))


def test_who_holds_an_object_while_its_removal_decides_keeps_it(
    objects: FolderObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever moment it is held at: it stays, or the holder is told that it is gone."""
    digest = objects.put(b"wanted")
    os.utime(stored(objects, digest), (1000, 1000))
    replace, held = Path.replace, []

    def held_before(path: Path, target: Path) -> Path:
        if not held:
            held.append(objects.hold(digest))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", held_before)
    assert not objects.remove(digest, 2000.0)
    assert held == [True]
    assert objects.get(digest) == b"wanted"
    monkeypatch.undo()

    os.utime(stored(objects, digest), (1000, 1000))
    told = []

    def held_after(path: Path, target: Path) -> Path:
        moved = replace(path, target)
        told.append((objects.hold(digest), objects.get(digest)))
        return moved

    monkeypatch.setattr(Path, "replace", held_after)
    assert objects.remove(digest, 2000.0)
    assert told == [(False, b"wanted")]
    with pytest.raises(NotFound):
        objects.get(digest)

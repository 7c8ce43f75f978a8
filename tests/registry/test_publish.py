from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from interlock.core.errors import Invalid, NotFound
from interlock.core.files import StoredFile
from interlock.core.ids import new_id
from interlock.store import Store


@pytest.fixture
def send(store: Store):
    def upload(data: bytes, name: str = "f") -> StoredFile:
        digest, size = store.uploads.put(io.BytesIO(data), new_id())
        return StoredFile(name, digest, size)

    return upload


def test_files_become_a_version(store: Store, registry, send, bundle_folder: Path) -> None:
    files = {path.name: send(path.read_bytes()) for path in bundle_folder.iterdir()}
    made = registry.publish("happy", files, "run:01ARZ3NDEKTSV4RRFFQ69G5FAV", ["data:people@1"])
    assert (made.format, made.version, made.data) == ("bundle", 1, ("data:people@1",))
    assert registry.bundle("happy").target == "happy"
    assert registry.publish("happy", files, made.run).version == 1
    other = registry.publish("happy", {"deep/model.onnx": files["model.onnx"]})
    assert (other.version, other.run, other.format) == (2, "", "onnx")


@pytest.mark.parametrize("path", ["../x", "/x", "a//b", "", "a/../b", "a\\b"])
def test_paths_that_leave_are_refused(store: Store, registry, send, path: str) -> None:
    with pytest.raises(Invalid, match="no path"):
        registry.publish("m", {path: send(b"x")})
    assert list(store.objects.digests()) == []


def test_what_is_refused_is_not_kept(store: Store, registry, send) -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("../x", b"x")
    refused = [
        lambda: registry.publish("m", {"good": send(b"x"), "bad.zip": send(sink.getvalue())}),
        lambda: registry.publish("m", {"a": send(b"x"), "a/b": send(b"y")}),
        lambda: registry.publish("m", {}),
        lambda: registry.publish("m/n", {"a": send(b"x")}),
        lambda: registry.publish("m", {"a": send(b"x")}, "data:people@1"),
    ]
    for call in refused:
        with pytest.raises(Invalid):
            call()
    with pytest.raises(NotFound):
        registry.publish("m", {"a": StoredFile("a", "0" * 64, 1)})
    assert list(store.objects.digests()) == []
    assert store.ledger.size() == 0

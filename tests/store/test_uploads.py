from __future__ import annotations

import hashlib
import io
import os
import time
from pathlib import Path

import pytest

from interlock.core.errors import Conflict, Corrupt, Invalid, NotFound
from interlock.core.ids import new_id
from interlock.store.objects import FolderObjects
from interlock.store.uploads import Uploads

ABC = hashlib.sha256(b"abc").hexdigest()


@pytest.fixture
def objects(tmp_path: Path) -> FolderObjects:
    return FolderObjects(tmp_path / "objects")


@pytest.fixture
def uploads(tmp_path: Path, objects: FolderObjects) -> Uploads:
    return Uploads(tmp_path / "uploads", objects)


def test_bytes_wait_until_they_are_kept_or_released(uploads: Uploads, objects: FolderObjects, tmp_path: Path) -> None:
    kept, refused = new_id(), new_id()
    assert uploads.put(io.BytesIO(b"abc"), kept) == uploads.put(io.BytesIO(b"abc"), refused) == (ABC, 3)
    assert objects.size(ABC) is None
    uploads.fetch(ABC, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"abc"
    uploads.release(refused)
    assert uploads.size(ABC) == 3  # the other call's
    uploads.keep([ABC])
    uploads.release(kept)
    assert list(uploads.root.iterdir()) == []
    assert objects.get(ABC) == b"abc"
    assert uploads.size(ABC) == 3
    uploads.fetch(ABC, tmp_path / "copy")
    uploads.keep([ABC])  # again, as by a call that is repeated


def test_what_is_not_here_can_neither_be_read_nor_kept(uploads: Uploads, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        uploads.fetch(ABC, tmp_path / "copy")
    with pytest.raises(NotFound):
        uploads.keep([ABC])
    for digest in ("../objects", "*", ""):
        with pytest.raises(Invalid):
            uploads.size(digest)
    assert not uploads.root.exists()


def test_an_upload_that_changed_is_not_kept_under_its_old_digest(uploads: Uploads, objects: FolderObjects) -> None:
    call = new_id()
    uploads.put(io.BytesIO(b"abc"), call)
    (uploads.root / call / ABC).write_bytes(b"abd")
    with pytest.raises(NotFound):
        uploads.keep([ABC])
    assert objects.size(ABC) is None


def test_a_changed_object_is_not_hidden_by_an_upload(uploads: Uploads, objects: FolderObjects, tmp_path: Path) -> None:
    objects.put(b"abc")
    file = objects.root / ABC[:2] / ABC[2:]
    file.chmod(0o644)
    file.write_bytes(b"abd")
    uploads.put(io.BytesIO(b"abc"), new_id())
    with pytest.raises(Corrupt):
        uploads.fetch(ABC, tmp_path / "copy")


@pytest.mark.parametrize("call", ["", "..", "a/b", "*", "01arz3ndektsv4rrffq69g5fav"])
def test_the_id_of_a_call_is_a_ulid(uploads: Uploads, call: str) -> None:
    with pytest.raises(Invalid):
        uploads.put(io.BytesIO(b"abc"), call)
    uploads.release(call)
    assert not uploads.root.exists()


def test_an_upload_that_breaks_off_leaves_nothing(uploads: Uploads) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() >= 4:
                raise ConnectionResetError
            return super().read(4)

    with pytest.raises(ConnectionResetError):
        uploads.put(Broken(b"abcdefgh"), new_id())
    assert list(uploads.root.glob("*/*")) + list(uploads.root.glob("*/.*")) == []


def test_what_nobody_came_for_is_thrown_away_after_a_day(uploads: Uploads) -> None:
    old, new = new_id(), new_id()
    uploads.put(io.BytesIO(b"abc"), old)
    ago = time.time() - 25 * 3600
    os.utime(uploads.root / old, (ago, ago))
    uploads.put(io.BytesIO(b"def"), new)
    assert [folder.name for folder in uploads.root.iterdir()] == [new]


class Broken(io.RawIOBase):
    """A stream that breaks off."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces

    def read(self, _: int = -1) -> bytes:
        if not self.pieces:
            raise ConnectionResetError
        return self.pieces.pop()


def test_an_upload_that_breaks_off_leaves_no_folder(uploads: Uploads) -> None:
    call = new_id()
    for pieces in ([], [b"abc"]):
        with pytest.raises(ConnectionResetError):
            uploads.put(Broken(pieces), call)  # type: ignore[arg-type]
        assert list(uploads.root.iterdir()) == []
    uploads.put(io.BytesIO(b"abc"), call)
    with pytest.raises(ConnectionResetError):
        uploads.put(Broken([b"abc"]), call)  # type: ignore[arg-type]
    assert [path.name for path in uploads.root.iterdir()] == [call]


def test_an_upload_whose_call_ends_meanwhile_is_refused(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    call, replace = new_id(), Path.replace

    def released(self: Path, target: Path) -> Path:
        uploads.release(call)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", released)
    with pytest.raises(Conflict, match="ended"):
        uploads.put(io.BytesIO(b"abc"), call)
    assert list(uploads.root.iterdir()) == []


def test_what_a_dead_server_was_receiving_goes_after_a_day(uploads: Uploads) -> None:
    uploads.put(io.BytesIO(b"abc"), new_id())
    half = uploads.root / ".half"
    half.write_bytes(b"ab")
    os.utime(half, (time.time() - 90_000,) * 2)
    uploads.put(io.BytesIO(b"abc"), new_id())
    assert not half.exists()

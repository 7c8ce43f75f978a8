from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from notes_service import SERVICES

from interlock.core.errors import Invalid, NotFound
from interlock.core.files import StoredFile
from interlock.core.ids import new_id
from interlock.sdk.catalog import Catalog
from interlock.sdk.files import check_files, is_file_type, open_file, receive_file, send_files
from interlock.store import Store, create_store

ADD = Catalog(SERVICES).operation("notes", "add")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = create_store(tmp_path / ".interlock")
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (StoredFile, True),
        (StoredFile | None, True),
        (list[StoredFile], True),
        (dict[str, StoredFile], True),
        (list[StoredFile] | None, True),
        (str, False),
        (list[str], False),
        (dict[str, Any], False),
    ],
)
def test_which_types_are_files(kind: Any, expected: bool) -> None:
    assert is_file_type(kind) is expected


def test_paths_are_sent_where_files_are_wanted_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = StoredFile("x", "0" * 64, 1)
    asked: list[Path] = []

    def put(path: Path) -> StoredFile:
        asked.append(path)
        return stored

    for name in ("one", "two"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    given = {"title": "a/b", "files": ("one", Path("two"), stored), "cover": None, "tags": ["t"]}
    assert send_files(ADD, given, put) == {"title": "a/b", "files": [stored] * 3, "cover": None, "tags": ["t"]}
    assert asked == [Path("one"), Path("two")]


def test_a_file_that_is_not_there_has_near_names(tmp_path: Path) -> None:
    (tmp_path / "people.csv").touch()
    with pytest.raises(NotFound) as caught:
        open_file(tmp_path / "poeple.csv")
    assert caught.value.hint == "Did you mean 'people.csv'?"
    with pytest.raises(NotFound, match="folder is not there"):
        open_file(tmp_path / "no/such/people.csv")


def test_folders_and_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="is a folder"):
        open_file(tmp_path)
    with pytest.raises(Invalid, match="null"):
        open_file(tmp_path / "a\x00b")
    with pytest.raises(Invalid, match="cannot be read"):
        open_file(tmp_path / ("x" * 300))
    locked = tmp_path / "locked"
    locked.touch(0o000)
    if os.geteuid() != 0:  # root reads everything
        with pytest.raises(Invalid, match="cannot be read: Permission denied"):
            open_file(locked)


def test_no_file_is_sent_when_one_is_missing(tmp_path: Path) -> None:
    (tmp_path / "one").touch()
    with pytest.raises(NotFound):
        send_files(ADD, {"title": "a", "files": [tmp_path / "one", tmp_path / "two"]}, lambda _: pytest.fail("sent"))


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b", "a\nb", "\x7f", "x" * 256])
def test_names_that_no_file_has(store: Store, name: str) -> None:
    with pytest.raises(Invalid):
        receive_file(store, io.BytesIO(b"abc"), name, new_id())
    assert not store.uploads.root.exists()
    digest = store.objects.put(b"abc")
    with pytest.raises(Invalid):
        check_files(store, [StoredFile(name, digest, 3)])


def test_stored_files_are_what_they_claim(store: Store) -> None:
    file = receive_file(store, io.BytesIO(b"abc"), "a.csv", new_id())
    check_files(store, {"a": [file, (file,)], "b": 3})
    with pytest.raises(Invalid, match="has 3 bytes, not 4"):
        check_files(store, StoredFile("a.csv", file.digest, 4))
    with pytest.raises(NotFound, match="object"):
        check_files(store, [file, StoredFile("a.csv", "1" * 64, 3)])
    with pytest.raises(Invalid, match="no digest"):
        check_files(store, StoredFile("a.csv", "../../etc", 3))

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.store.objects import FolderObjects
from interlock.store.parts import WAIT_S, Parts, Plan


@pytest.fixture
def objects(tmp_path: Path) -> FolderObjects:
    return FolderObjects(tmp_path / "objects")


@pytest.fixture
def parts(tmp_path: Path, objects: FolderObjects) -> Parts:
    return Parts(tmp_path / "uploads", objects)


def put(parts: Parts, name: str, number: int, data: bytes) -> tuple[int, str]:
    return number, parts.put(name, number, io.BytesIO(data))


def test_parts_in_any_order_become_one_object(parts: Parts, objects: FolderObjects, tmp_path: Path) -> None:
    name = parts.begin(Plan("run:1/a", 3, 1000))
    assert parts.plan(name).owner == "run:1/a"
    sent = [put(parts, name, number, data) for number, data in ((3, b"c"), (1, b"aaa"), (2, b"bb"))]
    digest, size = parts.join(name, sorted(sent))
    assert (objects.get(digest), size) == (b"aaabbc", 6)
    assert not parts.done(name)
    parts.end(name)
    assert parts.done(name)
    assert [path.name for path in (tmp_path / "uploads").rglob("*") if path.is_file()] == ["done"]
    with pytest.raises(NotFound):
        parts.put(name, 1, io.BytesIO(b"late"))


@settings(max_examples=25, deadline=None)
@given(pieces=st.lists(st.binary(max_size=50), min_size=1, max_size=6), seed=st.randoms())
def test_what_comes_out_is_what_went_in(tmp_path_factory, pieces: list[bytes], seed) -> None:
    root = tmp_path_factory.mktemp("parts")
    objects = FolderObjects(root / "objects")
    parts = Parts(root / "uploads", objects)
    name = parts.begin(Plan("", len(pieces), 10_000))
    order = list(enumerate(pieces, 1))
    seed.shuffle(order)
    wanted = sorted(put(parts, name, number, data) for number, data in order)
    digest, size = parts.join(name, wanted)
    assert objects.get(digest) == b"".join(pieces)
    assert (digest, size) == (hashlib.sha256(b"".join(pieces)).hexdigest(), sum(map(len, pieces)))


def test_a_part_that_comes_again_replaces_the_first(parts: Parts, objects: FolderObjects) -> None:
    name = parts.begin(Plan("", 1, 100))
    old = put(parts, name, 1, b"old")
    new = put(parts, name, 1, b"new")
    with pytest.raises(Conflict, match="Part 1 did not come, or came with other bytes"):
        parts.join(name, [old])
    assert objects.get(parts.join(name, [new])[0]) == b"new"


def test_parts_that_are_missing_or_others_are_refused(parts: Parts) -> None:
    name = parts.begin(Plan("", 2, 100))
    first = put(parts, name, 1, b"a")
    for wanted in ([first], [first, first], [first, (2, "0" * 64)], [first, (2, "../../x")], [(2, ""), first], []):
        with pytest.raises(Conflict):
            parts.join(name, wanted)


def test_a_part_that_changed_on_disk_is_noticed(parts: Parts, tmp_path: Path) -> None:
    name = parts.begin(Plan("", 1, 100))
    sent = put(parts, name, 1, b"aaaa")
    next((tmp_path / "uploads").rglob("part-*")).write_bytes(b"aaab")
    with pytest.raises(Conflict, match="changed on disk"):
        parts.join(name, [sent])
    assert list((tmp_path / "objects").rglob("*/*")) == []


def test_what_is_too_large_is_refused(parts: Parts) -> None:
    name = parts.begin(Plan("", 2, 5))
    sent = [put(parts, name, number, b"abc") for number in (1, 2)]
    with pytest.raises(Invalid, match="larger than 5 bytes"):
        parts.join(name, sent)


@pytest.mark.parametrize("count", [0, -1, 10_001])
def test_counts_of_parts(parts: Parts, count: int) -> None:
    with pytest.raises(Invalid):
        parts.begin(Plan("", count, 1))


@pytest.mark.parametrize("name", ["", "x", "../" * 5, "a" * 32, "A" * 32, "0" * 31 + "\n"])
def test_names_that_are_none(parts: Parts, name: str) -> None:
    for call in (parts.plan, lambda text: parts.put(text, 1, io.BytesIO()), lambda text: parts.join(text, [])):
        with pytest.raises(NotFound):
            call(name)


def test_parts_beyond_the_plan(parts: Parts) -> None:
    name = parts.begin(Plan("", 2, 100))
    for number in (0, 3, -1):
        with pytest.raises(Invalid, match="parts 1 to 2"):
            parts.put(name, number, io.BytesIO(b""))


def test_what_nobody_wants_goes(parts: Parts, tmp_path: Path) -> None:
    given_up, old, fresh = (parts.begin(Plan("", 1, 100)) for _ in range(3))
    put(parts, given_up, 1, b"a")
    parts.give_up(given_up)
    parts.give_up(given_up)
    folder = tmp_path / "uploads" / f"parts-{old}"
    past = folder.stat().st_mtime - WAIT_S - 1
    os.utime(folder, (past, past))
    parts.begin(Plan("", 1, 100))
    for name in (given_up, old):
        with pytest.raises(NotFound):
            parts.plan(name)
    assert parts.plan(fresh).parts == 1


def test_a_part_that_breaks_off_leaves_nothing(parts: Parts, tmp_path: Path) -> None:
    class Broken(io.RawIOBase):
        def read(self, _: int = -1) -> bytes:
            raise OSError("gone")

    name = parts.begin(Plan("", 1, 100))
    with pytest.raises(OSError, match="gone"):
        parts.put(name, 1, Broken())
    assert [path.name for path in (tmp_path / "uploads").rglob("*") if path.is_file()] == ["plan.json"]

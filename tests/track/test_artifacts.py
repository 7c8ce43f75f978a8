from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.core.errors import Invalid, NotFound
from interlock.core.files import StoredFile
from interlock.core.ids import new_id
from interlock.store import Store
from interlock.track.artifacts import Artifacts, Listed, check_path
from interlock.track.tracker import Tracker

ONE, TWO = "1" * 64, "2" * 64


def put(tracker: Tracker, write: Any, run: str, path: str, digest: str = ONE, size: int = 3) -> None:
    write(tracker.artifacts.put, "run", run, StoredFile(path, digest, size))


def test_files_are_listed_by_folder(tracker: Tracker, write: Any, run: str) -> None:
    for path in ("b.txt", "a/x", "a/y/z", "a.txt", "a b/c", "a0"):
        put(tracker, write, run, path)
    shown = [(file.path, file.is_folder, file.size_bytes) for file in tracker.artifacts.list(run)]
    assert shown == [
        ("a b", True, 0),
        ("a.txt", False, 3),
        ("a", True, 0),
        ("a0", False, 3),
        ("b.txt", False, 3),
    ]
    assert tracker.artifacts.list(run, "a") == [Listed("a/x", False, 3), Listed("a/y", True, 0)]
    for nothing in ("a/x", "no", "a/", "b"):
        assert tracker.artifacts.list(run, nothing) == []
    assert tracker.artifacts.find(run, "a/y/z") == StoredFile("a/y/z", ONE, 3)


@pytest.mark.parametrize(
    ("first", "second"), [("a", "a/b"), ("a/b", "a"), ("a/b/c", "a"), ("a", "a/b/c"), ("a/b", "a/b/c/d")]
)
def test_a_path_is_a_file_or_a_folder(tracker: Tracker, write: Any, run: str, first: str, second: str) -> None:
    put(tracker, write, run, first)
    with pytest.raises(Invalid, match="cannot be a file beside"):
        put(tracker, write, run, second)
    assert [file.name for file in tracker.artifacts.all(run)] == [first]


@pytest.mark.parametrize("path", ["a", "a/b"])
def test_neighbours_in_order_are_no_folder(tracker: Tracker, write: Any, run: str, path: str) -> None:
    for beside in (f"{path}!", f"{path}.", f"{path}0", f"{path}\U0001f600", f"{path} x/y"):
        put(tracker, write, run, beside)
    put(tracker, write, run, path)
    assert len(tracker.artifacts.all(run)) == 6


@pytest.mark.parametrize(
    "path", ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "a\\b", "a\x00b", "a\nb", "x" * 2001, "a/\x7f"]
)
def test_paths_that_leave_their_run(tracker: Tracker, write: Any, run: str, path: str) -> None:
    with pytest.raises(Invalid, match="is no path inside a run"):
        put(tracker, write, run, path)


def test_the_same_file_again_is_nothing_new_and_another_replaces_it(
    tracker: Tracker, write: Any, store: Store, run: str
) -> None:
    put(tracker, write, run, "a")
    size = store.ledger.size()
    put(tracker, write, run, "a")
    assert store.ledger.size() == size
    put(tracker, write, run, "a", TWO, 9)
    put(tracker, write, run, "a")
    assert store.ledger.size() == size + 2
    assert tracker.artifacts.find(run, "a") == StoredFile("a", ONE, 3)


def test_folders_go_with_all_that_is_in_them(tracker: Tracker, write: Any, run: str, kinds: Any) -> None:
    for path in ("a/x", "a/y/z", "a0", "ab"):
        put(tracker, write, run, path)
    write(tracker.artifacts.delete, "run", run, "a")
    assert [file.name for file in tracker.artifacts.all(run)] == ["a0", "ab"]
    assert kinds(f"run:{run}").count("run.artifact_deleted") == 2
    with pytest.raises(NotFound, match="'a'"):
        write(tracker.artifacts.delete, "run", run, "a")
    put(tracker, write, run, "a")  # the folder's name is free again


def test_owners_do_not_see_each_others_files(tracker: Tracker, write: Any, run: str) -> None:
    put(tracker, write, run, "a")
    with pytest.raises(NotFound, match="There is no artifact 'a'"):
        tracker.artifacts.find(new_id(), "a")
    with pytest.raises(NotFound, match="Did you mean 'a'"):
        tracker.artifacts.find(run, "aa")


PARTS = st.lists(st.sampled_from(["a", "b", "a!", "a0", "\u00e9", "a.b"]), min_size=1, max_size=3).map("/".join)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.booleans(), PARTS), max_size=12))
def test_any_puts_and_deletes_leave_a_tree(store: Store, steps: list[tuple[bool, str]]) -> None:
    artifacts, owner = Artifacts(store), new_id()
    model: set[str] = set()
    for puts, path in steps:
        inside = {held for held in model if held.startswith(f"{path}/")}
        above = {held for held in model if path.startswith(f"{held}/")}
        wanted = not (inside | above) if puts else bool(inside or path in model)
        try:
            if puts:
                store.database.write(lambda tx, p=path: artifacts.put(tx, "run", owner, StoredFile(p, ONE, 1)))
                model.add(path)
            else:
                store.database.write(lambda tx, p=path: artifacts.delete(tx, "run", owner, p))
                model -= inside | {path}
        except (Invalid, NotFound):
            assert not wanted
        else:
            assert wanted
    assert {file.name for file in artifacts.all(owner)} == model


@given(st.text())
def test_no_accepted_path_leaves_its_folder(path: str) -> None:
    try:
        check_path(path)
    except Invalid:
        return
    assert not path.startswith("/")
    assert not {"", ".", ".."} & set(path.split("/"))

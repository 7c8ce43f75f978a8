"""The spool: what is on disk is found again whatever was torn off, in the batches in which it was written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.errors import Corrupt
from interlock.core.ids import new_id
from interlock.sdk.recording import spool as module
from interlock.sdk.recording.entries import Ended, Filed, Resumed, Said, Started
from interlock.sdk.recording.spool import Spool, SpoolReader, outbox_of
from interlock.store import blocklog


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(str(tmp_path))


def words(reader: SpoolReader, *, ended: bool = True) -> list[tuple[int, list[str]]]:
    return [(batch.number, [entry.log for entry in batch.entries]) for batch in reader.batches(ended=ended)]


def say(spool: Spool, *logs: str, cut: bool = True) -> None:
    spool.append([Said("r", log=log) for log in logs], cut=cut)


def test_batches_come_back_as_they_were_cut(spool: Spool) -> None:
    say(spool, "a", cut=False)
    say(spool, "b", "c")
    say(spool, "d")
    say(spool, "e", cut=False)
    reader = SpoolReader(spool.folder)
    assert words(reader, ended=False) == [(1, ["a", "b", "c"]), (2, ["d"])]
    assert words(reader) == [(1, ["a", "b", "c"]), (2, ["d"]), (3, ["e"])]
    assert reader.location() == str(spool.folder.parents[2])


def test_what_is_marked_does_not_come_again(spool: Spool) -> None:
    for log in "abc":
        say(spool, log)
    reader = SpoolReader(spool.folder)
    for batch in list(reader.batches(ended=False))[:2]:
        reader.mark(batch)
    assert words(reader) == [(3, ["c"])]
    say(spool, "d")
    assert words(SpoolReader(spool.folder)) == [(3, ["c"]), (4, ["d"])]


def test_full_files_are_followed_by_others_and_removed_when_delivered(spool: Spool, monkeypatch) -> None:
    monkeypatch.setattr(module, "_ROTATE", 500)
    for number in range(30):
        say(spool, f"{number}" * 50)
    reader = SpoolReader(spool.folder)
    files = len(reader.logs)
    assert files > 3
    assert [number for number, _ in words(reader)] == list(range(1, 31))
    for batch in reader.batches(ended=False):
        reader.mark(batch)
    assert len(reader.logs) < 3
    monkeypatch.setattr(module, "_ROTATE", 1)
    say(spool, "full")
    (batch,) = reader.batches(ended=False)
    reader.mark(batch)
    say(spool, "last", cut=False)
    assert words(SpoolReader(spool.folder)) == [(32, ["last"])], "the number goes on although its files are gone"


def test_runs_that_were_begun_and_not_ended_are_known_across_files(spool: Spool, monkeypatch) -> None:
    monkeypatch.setattr(module, "_ROTATE", 300)
    spool.append([Started("one", "exp"), Started("two", "exp"), Started("child", "exp", mine=False)], cut=True)
    for _ in range(10):
        say(spool, "x" * 100)
    spool.append([Ended("one", "finished"), Resumed("three")], cut=True)
    reader = SpoolReader(spool.folder)
    for batch in reader.batches(ended=False):
        reader.mark(batch)
    assert sorted(reader.open_runs()[0]) == ["three", "two"]


def test_staged_files_go_with_their_batch(spool: Spool) -> None:
    path = spool.stage()
    path.write_bytes(b"x")
    spool.append([Filed("r", "a.txt", path.name)], cut=True)
    reader = SpoolReader(spool.folder)
    (batch,) = reader.batches(ended=False)
    assert path.exists()
    reader.mark(batch)
    assert not path.exists()


def test_a_failed_write_is_said_again_elsewhere_and_comes_once(spool: Spool, monkeypatch) -> None:
    say(spool, "a")
    monkeypatch.setattr(blocklog, "_sync_data", _full)
    with pytest.raises(OSError, match="No space"):
        say(spool, "b")
    monkeypatch.undo()
    say(spool, "b")
    assert words(SpoolReader(spool.folder)) == [(1, ["a"]), (2, ["b"])]


def _full(handle: int) -> None:
    raise OSError(28, "No space left on device")


def test_damage_in_the_middle_is_told(spool: Spool) -> None:
    for log in "abc":
        say(spool, log * 100)
    (path,) = SpoolReader(spool.folder).logs
    data = bytearray(path.read_bytes())
    data[data.index(b"b" * 100) + 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(Corrupt):
        list(SpoolReader(spool.folder).batches(ended=True))


@given(
    st.lists(st.tuples(st.text("ab", min_size=1, max_size=20), st.booleans()), min_size=1, max_size=12), st.floats(0, 1)
)
def test_a_torn_tail_costs_only_what_was_not_acknowledged(tmp_path_factory, said, share) -> None:
    spool = Spool(str(tmp_path_factory.mktemp("torn") / new_id()))
    (path,) = SpoolReader(spool.folder).logs
    sizes = [path.stat().st_size]
    for log, cut in said:
        say(spool, log, cut=cut)
        sizes.append(path.stat().st_size)
    keep = sizes[0] + int(share * (sizes[-1] - sizes[0]))
    os.truncate(path, keep)
    whole = sum(size <= keep for size in sizes[1:])
    found = [log for _, logs in words(SpoolReader(spool.folder)) for log in logs]
    assert found == [log for log, _ in said[:whole]]
    numbers = [number for number, _ in words(SpoolReader(spool.folder))]
    assert numbers == list(range(1, len(numbers) + 1))
    spool.forget()


def test_what_is_meant_for_an_address_waits_in_the_user_s_state_folder(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert outbox_of("http://127.0.0.1:1") == tmp_path / "interlock/outbox"
    assert outbox_of(str(tmp_path)) == tmp_path / ".interlock/outbox"


def test_while_the_disk_is_full_the_writer_keeps_its_lock_and_leaves_no_files(spool: Spool, monkeypatch) -> None:
    say(spool, "a")
    (path,) = SpoolReader(spool.folder).logs
    monkeypatch.setattr(blocklog, "_sync_data", _full)
    handles = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with pytest.raises(OSError, match="No space"):
            say(spool, "b")
    assert SpoolReader(spool.folder).logs == [path]
    assert len(list(Path("/proc/self/fd").iterdir())) == handles
    assert not blocklog.settle(path), "nobody may take it for a dead writer's"
    monkeypatch.undo()
    say(spool, "b")
    assert words(SpoolReader(spool.folder)) == [(1, ["a"]), (2, ["b"])]
    assert blocklog.settle(path)


def test_a_file_that_cannot_follow_costs_nothing_of_what_is_on_disk(spool: Spool, monkeypatch) -> None:
    monkeypatch.setattr(module, "_ROTATE", 1)
    with monkeypatch.context() as patch:
        patch.setattr(module, "BlockWriter", lambda folder: _full(0))
        say(spool, "a")
        say(spool, "b")
    say(spool, "c")
    assert words(SpoolReader(spool.folder)) == [(1, ["a"]), (2, ["b"]), (3, ["c"])]

"""The output folder: what survives a kill at any point of it."""

from __future__ import annotations

import pytest

from interlock.core.errors import Conflict, Corrupt, Invalid, StorageFull
from interlock.deploy.batch_folder import OutputFolder
from interlock.deploy.batch_records import Options, Part, Plan, Report


def begun(folder):
    plan = Plan("01", "w", "model:a@1", "b" * 64, (), Options(), {}, -1)
    folder.begin(plan)
    return plan


def done(folder, number):
    name = f"00000-{number:05}.parquet"
    digest, size = folder.keep(name, lambda path: path.write_bytes(b"part %d" % number))
    part = Part(0, number * 10, 10, 10, 0, name, digest, size)
    folder.note(part)
    return part


def test_parts_and_plan_are_there_again(tmp_path):
    with OutputFolder(tmp_path / "out") as folder:
        plan, parts = begun(folder), [done(folder, n) for n in range(3)]
    with OutputFolder(tmp_path / "out") as folder:
        assert folder.plan() == plan
        assert folder.parts() == parts
        assert folder.done() is None


def test_a_folder_has_one_writer(tmp_path):
    with (
        OutputFolder(tmp_path / "out"),
        pytest.raises(Conflict, match=r"Process \d+ is scoring into"),
        OutputFolder(tmp_path / "out"),
    ):
        pass
    with OutputFolder(tmp_path / "out"):
        pass


def test_other_peoples_files_are_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(Conflict, match="holds other files"):
        OutputFolder(tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]
    with pytest.raises(Invalid, match="is a file"):
        OutputFolder(tmp_path / "out" / "thesis.txt")


@pytest.mark.parametrize("cut", range(1, 40, 7))
def test_a_line_that_was_cut_is_made_again(tmp_path, cut):
    with OutputFolder(tmp_path / "out") as folder:
        begun(folder)
        parts = [done(folder, n) for n in range(2)]
    journal = tmp_path / "out" / "_interlock" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-cut])
    with OutputFolder(tmp_path / "out") as folder:
        assert folder.parts() == parts[: 2 if cut == 1 else 1]
        third = done(folder, 2 if cut == 1 else 1)
    with OutputFolder(tmp_path / "out") as folder:
        assert folder.parts()[-1] == third


def test_zeros_after_a_power_cut_are_no_line(tmp_path):
    with OutputFolder(tmp_path / "out") as folder:
        begun(folder)
        first = done(folder, 0)
    journal = tmp_path / "out" / "_interlock" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes() + bytes(100))
    with OutputFolder(tmp_path / "out") as folder:
        assert folder.parts() == [first]
        done(folder, 1)
        assert len(folder.parts()) == 2


def test_a_damaged_line_stops_everything(tmp_path):
    with OutputFolder(tmp_path / "out") as folder:
        begun(folder)
        done(folder, 0)
        done(folder, 1)
        journal = tmp_path / "out" / "_interlock" / "journal.jsonl"
        journal.write_bytes(b"?" + journal.read_bytes()[1:])
        with pytest.raises(Corrupt, match="Line 1 of"):
            folder.parts()


def test_what_the_journal_does_not_name_is_taken_away(tmp_path):
    with OutputFolder(tmp_path / "out") as folder:
        begun(folder)
        part = done(folder, 0)
        folder.keep("00000-00001.parquet", lambda path: path.write_bytes(b"not noted"))
        (tmp_path / "out" / "_interlock" / "parts" / "x.tmp").write_bytes(b"half")
        assert folder.parts() == [part]
        assert [path.name for path in (tmp_path / "out" / "_interlock" / "parts").iterdir()] == [part.name]


@pytest.mark.parametrize("moved", range(3))
def test_publishing_goes_on_where_it_was_cut_off(tmp_path, moved):
    out = tmp_path / "out"
    with OutputFolder(out) as folder:
        begun(folder)
        parts = tuple(done(folder, n) for n in range(2))
        for part in parts[:moved]:
            (out / "_interlock" / "parts" / part.name).rename(out / part.name)
        assert folder.parts() == list(parts)
        report = Report("01", "model:a@1", "b" * 64, (), 20, 20, 0, 0, parts, 3)
        folder.publish(report)
        assert folder.done() == report
        with pytest.raises(Conflict, match="published"):
            folder.restart()
    assert sorted(path.name for path in out.glob("*.parquet")) == [part.name for part in parts]


def test_restart_throws_away_what_was_begun(tmp_path):
    with OutputFolder(tmp_path / "out") as folder:
        begun(folder)
        done(folder, 0)
        folder.restart()
        assert folder.plan() is None
        assert folder.parts() == []


@pytest.mark.parametrize("call", ["ftruncate", "pwrite"])
def test_a_folder_that_cannot_be_begun_is_let_go(tmp_path, monkeypatch, call):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(f"os.{call}", full)
        with pytest.raises(StorageFull) as caught:
            OutputFolder(tmp_path / "out")
    with OutputFolder(tmp_path / "out"):  # while the error, and what it came through, are still there
        assert caught.value

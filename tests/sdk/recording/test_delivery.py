"""Delivery to a real workspace: once whatever comes twice, and nothing lost of what is refused."""

from __future__ import annotations

from array import array
from pathlib import Path

import pytest

from interlock.core.errors import Corrupt, Unavailable
from interlock.core.ids import new_id
from interlock.sdk.recording import delivery
from interlock.sdk.recording.delivery import WRITER, Courier
from interlock.sdk.recording.entries import Ended, Filed, Points, Published, Resumed, Said, Started, decode
from interlock.sdk.recording.spool import Batch, Place, Spool, SpoolReader
from interlock.sdk.recording.syncing import sync, waiting

STAGED = "01M81GD8882EYGPPAS08YGWZVE"


def points(run: str, *steps: int) -> Points:
    raw = array("q", steps).tobytes()
    return Points(run, {"x": (raw, raw, array("d", map(float, steps)).tobytes())})


@pytest.fixture
def courier(workspace, tmp_path: Path) -> Courier:
    folder = tmp_path / "outbox" / new_id()
    (folder / "files").mkdir(parents=True)
    return Courier(workspace, folder)


def batch(*entries, number: int = 1) -> Batch:
    return Batch(number, list(entries), Place(""))


def test_a_batch_that_comes_twice_counts_once(workspace, courier: Courier) -> None:
    run = new_id()
    (courier._folder / "files" / STAGED).write_bytes(b"file")
    whole = batch(
        Started(run, "exp", name="n", tags={"a": "b"}),
        points(run, 1, 2),
        Said(run, params={"p": "1"}, log="line\n"),
        Filed(run, "f.txt", STAGED),
        points(run, 3),
        Ended(run, "finished", at=10**15),
    )
    for _ in range(3):
        courier.carry(whole)
    found = workspace.track.run(run)
    assert workspace.track.metric(run, "x").steps == (1, 2, 3)
    assert workspace.track.logs(run) == "line"
    assert (found.status, found.params, found.tags[WRITER]) == ("finished", {"p": "1"}, courier._writer)
    assert [(file.name, workspace.read(file.digest)) for file in found.artifacts] == [("f.txt", b"file")]
    assert courier.refusals == []


def test_a_batch_that_broke_off_is_carried_again_whole(workspace, courier: Courier, monkeypatch) -> None:
    run = new_id()
    whole = batch(Started(run, "exp"), points(run, 1), Ended(run, "finished"), Resumed(run), points(run, 2))
    calls = []
    carry = courier._carry

    def breaking(entry) -> None:
        calls.append(entry)
        if len(calls) == 3:
            raise Unavailable("away")
        carry(entry)

    monkeypatch.setattr(courier, "_carry", breaking)
    with pytest.raises(Unavailable):
        courier.carry(whole)
    courier.carry(whole)
    assert workspace.track.metric(run, "x").steps == (1, 2)
    assert workspace.track.run(run).status == "running"


def test_what_is_refused_is_kept_and_the_rest_goes_on(workspace, courier: Courier) -> None:
    run = new_id()
    (courier._folder / "files" / STAGED).write_bytes(b"file")
    courier.carry(batch(Started(run, "exp", params={"lr": "1"})))
    courier.carry(
        batch(
            Said(run, params={"lr": "2"}, tags={"t": "v"}, log="said\n"),
            points(run, 7),
            Filed(run, "../up", STAGED),
            Filed(run, "ok.txt", STAGED),
            number=2,
        )
    )
    assert workspace.track.run(run).params == {"lr": "1"}
    assert workspace.track.run(run).tags["t"] == "v"
    assert workspace.track.logs(run) == "said"
    assert workspace.track.metric(run, "x").steps == (7,)
    assert [file.name for file in workspace.track.run(run).artifacts] == ["ok.txt"]
    assert [refusal.what for refusal in courier.refusals] == ["delivery", "filed"]
    (kept,) = (courier._folder.parent / "refused").iterdir()
    assert decode((kept / "entries.msgpack").read_bytes()).entries[0].params == {"lr": "2"}
    assert (kept / STAGED).read_bytes() == b"file"
    assert "'2' cannot replace it" in (kept / "why.txt").read_text()


def test_much_text_goes_in_parts(workspace, courier: Courier, monkeypatch) -> None:
    monkeypatch.setattr(delivery, "_LOG_PART", 10)
    run = new_id()
    courier.carry(batch(Started(run, "exp"), Said(run, log="0123456789abc\n"), points(run, 1), Said(run, log="d\n")))
    assert workspace.track.logs(run) == "0123456789abc\nd"
    assert workspace.track.metric(run, "x").steps == (1,)


def test_a_dead_writer_s_runs_end_as_killed_unless_they_went_on(workspace) -> None:
    spool = Spool(workspace.location)
    killed, resumed, added = new_id(), new_id(), new_id()
    workspace.track.start(delivery._start(Started(added, "exp"), "another"))
    spool.append([Started(killed, "exp"), Started(resumed, "exp"), Started(added, "exp", mine=False)], cut=True)
    spool.append([points(killed, 1), points(added, 1)], cut=False)
    spool.let_go()
    (found,) = sync(workspace, stop=lambda: False)
    assert found.batches == 2
    states = {run: workspace.track.run(run).status for run in (killed, resumed, added)}
    assert states == {killed: "killed", resumed: "killed", added: "running"}
    assert waiting(workspace.location) == []


def test_a_run_that_went_on_elsewhere_is_left_alone(workspace) -> None:
    spool = Spool(workspace.location)
    run = new_id()
    spool.append([Started(run, "exp")], cut=True)
    spool.let_go()
    workspace.track.start(delivery._start(Started(run, "exp"), "another writer"))
    sync(workspace)
    assert workspace.track.run(run).status == "running"


def test_a_damaged_spool_is_told_and_left(workspace) -> None:
    spool = Spool(workspace.location)
    for _ in range(2):
        spool.append([Said(new_id(), log="y" * 100)], cut=True)
    spool.let_go()
    (path,) = spool.folder.glob("*.log")
    data = bytearray(path.read_bytes())
    data[data.index(b"y" * 100) + 3] ^= 1
    path.write_bytes(data)
    (found,) = sync(workspace)
    assert "damaged" in found.refused[0]
    assert path.exists()


NAMES = ["../../../secret", "{secret}", "..", ".", "", "../" + STAGED, STAGED + "/../../secret", STAGED.lower()]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("published", [False, True])
def test_a_crafted_spool_reads_and_removes_nothing_of_others(workspace, tmp_path: Path, name, published) -> None:
    spool, run = Spool(workspace.location), new_id()
    secret = spool.folder.parents[1] / "secret"
    secret.write_text("key")
    name = name.format(secret=secret)
    crafted = Published(run, "m", {"a": name}) if published else Filed(run, "a", name)
    spool.append([Started(run, "exp"), crafted, Filed(run, "../up", name)], cut=True)
    spool.let_go()
    (told,) = sync(workspace)
    assert (told.batches, "no file of this outbox" in told.refused[0]) == (0, True)
    assert secret.read_text() == "key"
    assert workspace.track.runs() == [] or run not in str(workspace.track.runs())
    assert not (spool.folder.parent / "refused").exists()
    (whole,) = SpoolReader(spool.folder).batches(ended=True)
    with pytest.raises(Corrupt):
        SpoolReader(spool.folder).mark(whole)
    assert secret.exists()
    assert SpoolReader(spool.folder).place() is None


def test_links_in_an_outbox_are_not_followed(workspace, courier: Courier, tmp_path: Path) -> None:
    run, target = new_id(), tmp_path / "secret"
    target.write_text("key")
    (courier._folder / "files" / STAGED).symlink_to(target)
    with pytest.raises(Corrupt):
        courier.carry(batch(Started(run, "exp"), Filed(run, "a", STAGED)))
    elsewhere = tmp_path / "elsewhere"
    (courier._folder / "files").rename(elsewhere)
    (elsewhere / STAGED).unlink()
    (elsewhere / STAGED).write_text("key")
    (courier._folder / "files").symlink_to(elsewhere)
    with pytest.raises(Corrupt):
        SpoolReader(courier._folder).mark(batch(Filed(run, "a", STAGED)))
    assert (elsewhere / STAGED).exists()

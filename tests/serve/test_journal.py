from __future__ import annotations

import asyncio
import resource
import time

import pytest

from interlock.core.errors import Invalid, Unavailable
from interlock.core.ids import new_id
from interlock.serve.journal import Journal, Switch, open_journal
from interlock.store.predictions import Answered, PredictionLog, PredictionWriter, PromptWriter, Source

SOURCE = Source("shop", "model:m@1", "b", 1, "champion", ("x",))


def rows(count=1, value=1.0):
    """One request's answers."""
    ids = [new_id() for _ in range(count)]
    return [Answered(SOURCE, ids, 1, "r", "", 0.001, [[value] * count], [0.5] * count, [0] * count)]


def ids_of(*answers):
    return [ident for answered in answers for one in answered for ident in one.ids]


async def write(journal, answered):
    if (wait := journal.record(answered)) is not None:
        await wait


@pytest.fixture(params=["fsync", "1s"])
def kind(request):
    return request.param


class Counting:
    """The real writer, with a count of its calls."""

    def __init__(self, folder):
        self.writer = PredictionWriter(folder)
        self.calls = 0
        self.close = self.writer.close

    def append(self, given):
        self.calls += 1
        return self.writer.append(given)


def test_rows_are_in_the_log_when_it_says_so(tmp_path, kind):
    async def scene():
        journal = open_journal(tmp_path, kind)
        wanted = rows(3)
        await write(journal, wanted)
        assert [row.id for row in PredictionLog(tmp_path).rows()] == ids_of(wanted)
        assert (journal.waiting, journal.written, journal.error) == (0, 3, "")
        await journal.close()

    asyncio.run(scene())


def test_requests_at_the_same_time_share_a_hand_over(tmp_path):
    async def scene():
        writer = Counting(tmp_path)
        journal = Journal(lambda: writer)
        await asyncio.gather(*(write(journal, rows()) for _ in range(200)))
        assert writer.calls <= 3
        assert len(list(PredictionLog(tmp_path).rows())) == 200
        await journal.close()

    asyncio.run(scene())


def test_a_row_that_cannot_be_stored_fails_its_own_request_only(tmp_path, kind):
    async def scene():
        journal = open_journal(tmp_path, kind)
        asked = [rows(), rows(value=2**70), rows()]
        found = await asyncio.gather(*(write(journal, each) for each in asked), return_exceptions=True)
        assert [type(answer) for answer in found] == [type(None), Invalid, type(None)]
        assert {row.id for row in PredictionLog(tmp_path).rows()} == {*ids_of(asked[0], asked[2])}
        assert (journal.waiting, journal.written, journal.error) == (0, 2, "")
        await write(journal, rows())
        await journal.close()

    asyncio.run(scene())


def test_a_caller_who_is_cancelled_leaves_the_others_alone(tmp_path, kind):
    async def scene():
        journal = open_journal(tmp_path, kind)
        first, second = (asyncio.create_task(write(journal, rows())) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await second
        await journal.close()
        assert first.cancelled() is (kind == "fsync")  # the other was done before it could be
        assert len(list(PredictionLog(tmp_path).rows())) == 2

    asyncio.run(scene())


@pytest.fixture
def full_disk():
    """Return a switch: while it is on, files cannot grow beyond a kilobyte."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def switch(on: bool) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024 if on else before[0], before[1]))

    yield switch
    switch(False)


def test_what_cannot_be_written_is_not_acknowledged_and_later_rows_are(tmp_path, monkeypatch, full_disk, kind):
    monkeypatch.setattr("interlock.serve.journal._REOPEN_S", 0.02)

    async def scene():
        journal = open_journal(tmp_path, kind)
        kept = rows()
        await write(journal, kept)
        full_disk(True)
        for _ in range(3):
            with pytest.raises(Unavailable, match="could not be recorded"):
                await write(journal, rows(20))
            await asyncio.sleep(0.03)
        assert "File too large" in journal.error
        full_disk(False)
        await asyncio.sleep(0.03)
        more = rows(20)
        await write(journal, more)
        await journal.close()
        assert (journal.waiting, journal.written, journal.error) == (0, 21, "")
        assert {row.id for row in PredictionLog(tmp_path).rows()} == {*ids_of(kept, more)}

    asyncio.run(scene())


def test_a_closed_writer_is_not_acknowledged(tmp_path, kind):
    async def scene():
        journal = open_journal(tmp_path, kind)
        await journal.close()
        with pytest.raises(Unavailable):
            await write(journal, rows())

    asyncio.run(scene())
    assert list(tmp_path.glob("*.log")) == []


def test_many_rows_are_written_beside_the_loop_and_all_come_back(tmp_path, kind):
    async def scene():
        journal = open_journal(tmp_path, kind)
        wanted = rows(5000)
        await write(journal, wanted)
        assert (journal.waiting, journal.written) == (0, 5000)
        assert [row.id for row in PredictionLog(tmp_path).rows()] == ids_of(wanted)
        await journal.close()

    asyncio.run(scene())


def test_what_was_written_promptly_is_synced_and_rolled_by_its_thread(tmp_path, monkeypatch):
    monkeypatch.setattr("interlock.store.prediction_writer.SYNC_S", 0.01)
    writer = PromptWriter(tmp_path, roll_bytes=2_000)
    wanted = []
    end = time.monotonic() + 20
    while len(list(tmp_path.glob("*.log"))) < 3 and time.monotonic() < end:
        wanted.append(rows(3))
        writer.write(wanted[-1])
        time.sleep(0.005)
    writer.close()
    assert len(list(tmp_path.glob("*.log"))) >= 2  # an empty one goes
    assert sorted(row.id for row in PredictionLog(tmp_path).rows()) == sorted(ids_of(*wanted))
    with pytest.raises(Unavailable, match="closed"):
        writer.write(rows())


def switch(folder, durability="fsync"):
    return Switch(lambda wanted: open_journal(folder, wanted), durability, asyncio.get_running_loop())


def test_a_change_of_durability_loses_no_row_and_writes_none_twice(tmp_path):
    async def scene():
        journal, wanted = switch(tmp_path), []

        async def ask(count):
            for _ in range(count):
                wanted.append(rows(1 + len(wanted) % 3, float(len(wanted))))
                await write(journal, wanted[-1])

        async def change():
            for durability in ("1s", "fsync", "fsync", "1s", "fsync", "1s"):
                await asyncio.to_thread(setattr, journal, "durability", durability)
                assert journal.durability == durability
                await asyncio.sleep(0.01)

        await asyncio.gather(*(ask(40) for _ in range(8)), change())
        await write(journal, wanted.append(rows(2000)) or wanted[-1])
        every = ids_of(*wanted)
        assert (journal.waiting, journal.written, journal.error) == (0, len(every), "")
        await journal.close()
        assert journal.written == len(every)
        found = [row.id for row in PredictionLog(tmp_path).rows()]
        assert len(found) == len(every)
        assert set(found) == set(every)

    asyncio.run(scene())


def test_a_journal_is_closed_only_when_all_that_it_took_is_on_disk(tmp_path):
    async def scene():
        journal, before = switch(tmp_path), rows(5)
        waiter = journal.record(before)
        journal.durability = "1s"
        assert journal.record(rows(1)) is None  # at once, by the new one, while the old one is still at work
        await waiter
        await journal.close()
        assert {row.id for row in PredictionLog(tmp_path).rows()} >= set(ids_of(before))
        assert journal.written == 6

    asyncio.run(scene())


def test_where_no_log_can_be_opened_the_durability_stays(tmp_path):
    def opener(durability):
        if durability == "1s":
            raise Unavailable("The disk is full.")
        return open_journal(tmp_path, durability)

    async def scene():
        journal = Switch(opener, "fsync", asyncio.get_running_loop())
        with pytest.raises(Unavailable, match="full"):
            journal.durability = "1s"
        assert journal.durability == "fsync"
        await write(journal, rows(2))
        assert journal.written == 2
        await journal.close()

    asyncio.run(scene())

from __future__ import annotations

import asyncio
import resource

import pytest

from interlock.core.errors import Invalid, Unavailable
from interlock.core.ids import new_id
from interlock.serve.journal import Journal
from interlock.store.predictions import Prediction, PredictionLog, PredictionWriter


def rows(count=1, **changes):
    fields = {
        "at": 1,
        "occurred_at": 1,
        "deployment": "shop",
        "model": "model:m@1",
        "bundle": "b",
        "revision": 1,
        "request_id": "r",
        "row": 0,
        "subject": "",
        "inputs": {"x": 1.0},
        "score": 0.5,
        "label": 0,
        "route": "champion",
        **changes,
    }
    return [Prediction(id=new_id(), **fields) for _ in range(count)]


class Counting:
    """The real writer, with a count of its calls."""

    def __init__(self, folder):
        self.writer = PredictionWriter(folder)
        self.calls = 0
        self.close = self.writer.close

    def append(self, given):
        self.calls += 1
        return self.writer.append(given)


def test_rows_are_on_disk_when_write_returns(tmp_path):
    async def scene():
        journal = Journal(lambda: PredictionWriter(tmp_path))
        wanted = rows(3)
        await journal.write(wanted)
        assert [row.id for row in PredictionLog(tmp_path).rows()] == [row.id for row in wanted]
        assert (journal.waiting, journal.written, journal.error) == (0, 3, "")
        await journal.close()

    asyncio.run(scene())


def test_requests_at_the_same_time_share_a_hand_over(tmp_path):
    async def scene():
        writer = Counting(tmp_path)
        journal = Journal(lambda: writer)
        await asyncio.gather(*(journal.write(rows()) for _ in range(200)))
        assert writer.calls <= 3
        assert len(list(PredictionLog(tmp_path).rows())) == 200
        await journal.close()

    asyncio.run(scene())


def test_a_row_that_cannot_be_stored_fails_its_own_request_only(tmp_path):
    async def scene():
        journal = Journal(lambda: PredictionWriter(tmp_path))
        asked = [rows(), rows(inputs={"x": 2**70}), rows()]
        found = await asyncio.gather(*(journal.write(each) for each in asked), return_exceptions=True)
        assert [type(answer) for answer in found] == [type(None), Invalid, type(None)]
        assert {row.id for row in PredictionLog(tmp_path).rows()} == {asked[0][0].id, asked[2][0].id}
        assert (journal.waiting, journal.written, journal.error) == (0, 2, "")
        await journal.write(rows())
        await journal.close()

    asyncio.run(scene())


def test_a_caller_who_is_cancelled_leaves_the_others_alone(tmp_path):
    async def scene():
        journal = Journal(lambda: PredictionWriter(tmp_path))
        first, second = (asyncio.create_task(journal.write(rows())) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await second
        await journal.close()
        assert first.cancelled()
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


def test_what_cannot_be_written_is_not_acknowledged_and_later_rows_are(tmp_path, monkeypatch, full_disk):
    monkeypatch.setattr("interlock.serve.journal._REOPEN_S", 0.02)

    async def scene():
        journal = Journal(lambda: PredictionWriter(tmp_path))
        kept = rows()
        await journal.write(kept)
        full_disk(True)
        for _ in range(3):
            with pytest.raises(Unavailable, match="could not be recorded"):
                await journal.write(rows(20))
            await asyncio.sleep(0.03)
        assert "File too large" in journal.error
        full_disk(False)
        await asyncio.sleep(0.03)
        more = rows(20)
        await journal.write(more)
        await journal.close()
        assert (journal.waiting, journal.written, journal.error) == (0, 21, "")
        assert {row.id for row in PredictionLog(tmp_path).rows()} == {row.id for row in (*kept, *more)}

    asyncio.run(scene())


def test_a_closed_writer_is_not_acknowledged(tmp_path):
    async def scene():
        journal = Journal(lambda: PredictionWriter(tmp_path))
        await journal.close()
        with pytest.raises(Unavailable):
            await journal.write(rows())

    asyncio.run(scene())
    assert list(tmp_path.glob("*.log")) == []

"""Requests for traces that are about to be whole wait without a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.testclient import TestClient

from interlock.core.errors import NotFound
from interlock.server.mlflow import arrivals
from interlock.server.mlflow.arrivals import Arrivals, Later

REFUSAL = NotFound("not yet", about="trace")
Wait = Callable[[Arrivals], Coroutine[Any, Any, Any]]


def played(story: Wait) -> Any:
    return asyncio.run(story(Arrivals()))


async def wait(found: Arrivals, name: str = "a", since: int | None = None) -> None:
    later = Later(name, found.count if since is None else since, REFUSAL)
    await found.wait(later, asyncio.get_running_loop().time())


async def waiting(found: Arrivals, count: int) -> None:
    await asyncio.sleep(0)  # those who were started get as far as their waiting
    assert len(found._waiting) == count


def test_who_waits_is_woken_by_what_it_waits_for() -> None:
    async def story(found: Arrivals) -> None:
        ours, other = (asyncio.create_task(wait(found, name)) for name in "ab")
        await waiting(found, 2)
        thread = threading.Thread(target=found.tell, args=(["a", "c"],))
        thread.start()
        await ours
        thread.join()
        await asyncio.sleep(0)
        assert not other.done()
        found.tell(["b"])
        await other
        assert found._waiting == {}

    played(story)


def test_what_came_between_the_look_and_the_wait_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "_REMEMBERED", 3)

    async def story(found: Arrivals) -> None:
        since = found.count
        found.tell(["a"])
        await wait(found, since=since)
        found.tell(["b", "c", "d"])  # so that nobody remembers when `a` came
        await wait(found, since=since)
        monkeypatch.setattr(arrivals, "_LONGEST_S", 0.0)
        with pytest.raises(NotFound):
            await wait(found)

    played(story)


def test_what_does_not_come_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "_LONGEST_S", 0.01)

    async def story(found: Arrivals) -> None:
        with pytest.raises(NotFound, match="not yet"):
            await wait(found)
        assert found._waiting == {}

    played(story)


def test_a_bounded_number_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "_MOST", 3)

    async def story(found: Arrivals) -> None:
        tasks = [asyncio.create_task(wait(found)) for _ in range(3)]
        await waiting(found, 3)
        with pytest.raises(NotFound):
            await wait(found)
        tasks[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        again = asyncio.create_task(wait(found))
        await waiting(found, 3)
        found.tell(["a"])
        await asyncio.gather(*tasks[1:], again)

    played(story)


SPAN = {
    "traceId": "0" * 31 + "1",
    "name": "s",
    "startTimeUnixNano": "1700000000000000000",
    "endTimeUnixNano": "1700000000000000005",
}


def spans(client: TestClient, *idents: int) -> None:
    found = [{**SPAN, "spanId": f"{n:016x}", "parentSpanId": "" if n == 1 else f"{1:016x}"} for n in idents]
    body = {"resourceSpans": [{"scopeSpans": [{"spans": found}]}]}
    assert client.post("/v1/traces", json=body, headers={"x-mlflow-experiment-id": "0"}).status_code == 200


def test_many_who_wait_hold_up_nobody(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than the server has threads; the deadline is never reached."""
    monkeypatch.setattr(arrivals, "_LONGEST_S", 600.0)
    made: list[Arrivals] = []
    plain = Arrivals.wait

    async def noted(self: Arrivals, later: Later, began: float) -> None:
        made.append(self)
        await plain(self, later, began)

    monkeypatch.setattr(Arrivals, "wait", noted)
    report = {
        "trace_id": f"tr-{1:032x}",
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}},
        "state": "OK",
        "trace_metadata": {"mlflow.trace.sizeStats": '{"num_spans": 3}'},
    }
    assert client.post("/api/3.0/mlflow/traces", json={"trace": {"trace_info": report}}).status_code == 200
    spans(client, 1)
    with ThreadPoolExecutor(40) as threads:
        asked = [
            threads.submit(client.get, "/api/3.0/mlflow/traces/get", params={"trace_id": f"tr-{1:032x}"})
            for _ in range(40)
        ]
        while len(made) < 40:
            assert client.get(f"/api/3.0/mlflow/traces/tr-{1:032x}").status_code == 200
        spans(client, 2)
        assert not any(one.done() for one in asked)
        spans(client, 3)
        answers = [one.result() for one in asked]
    assert {answer.status_code for answer in answers} == {200}
    assert {len(answer.json()["trace"]["spans"]) for answer in answers} == {3}

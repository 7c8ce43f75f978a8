from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from interlock.core.clock import to_micros
from interlock.loop.jobs import ATTEMPTS, Jobs
from interlock.store import Store

HOLD = """
import sys, time
from pathlib import Path
from interlock.loop.jobs import Jobs
from interlock.store import open_store
store = open_store(Path(sys.argv[1]))
print(Jobs(store).claim().id, flush=True)
time.sleep(60)
"""


def queue(store: Store, kind: str = "train") -> str:
    return store.database.write(lambda tx: Jobs(store).queue(tx, kind, "target", "event:0"))


def test_jobs_are_taken_in_order_and_end_once(store: Store) -> None:
    jobs, first, second = Jobs(store), queue(store), queue(store)
    one, two = jobs.claim(), jobs.claim()
    assert one
    assert two
    assert (one.id, two.id, jobs.claim()) == (first, second, None)
    jobs.finish(one, "done", "made it")
    jobs.finish(one, "failed", "again")
    found = {job.id: job for job in jobs.jobs()}
    assert (found[first].status, found[first].reason) == ("done", "made it")
    assert [e.kind for e in store.ledger.events(subject=one.ref)] == ["job.queued", "job.finished"]


def test_a_job_of_a_killed_worker_goes_to_the_next_one_at_once(store: Store) -> None:
    ident = queue(store)
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(store.root)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline().strip() == ident
    jobs = Jobs(store)
    assert jobs.claim() is None  # it lives, so the job is its own
    child.kill()
    child.wait()
    child.stdout.close()
    taken = jobs.claim()
    assert taken is not None
    assert (taken.id, taken.attempts) == (ident, 2)


def test_a_silent_worker_of_another_machine_loses_its_lease(store: Store) -> None:
    queue(store)
    jobs = Jobs(store)
    held = jobs.claim()
    assert held is not None
    store.database.write(lambda tx: tx.run("UPDATE jobs SET worker = 'elsewhere/1/1'"))
    assert jobs.claim() is None
    past = to_micros(store.clock.now()) - 1
    store.database.write(lambda tx: tx.run("UPDATE jobs SET lease_until = :at", {"at": past}))
    assert jobs.claim() is not None


def test_a_lease_is_renewed_while_the_work_goes_on(store: Store) -> None:
    queue(store)
    jobs = Jobs(store, lease_s=0.3)
    job = jobs.claim()
    assert job is not None
    before = store.database.one("SELECT lease_until AS at FROM jobs")
    with jobs.held(job):
        deadline = time.monotonic() + 10
        while store.database.one("SELECT lease_until AS at FROM jobs") == before and time.monotonic() < deadline:
            time.sleep(0.02)
    assert store.database.one("SELECT lease_until AS at FROM jobs") != before


def test_a_job_that_kills_its_workers_is_given_up(store: Store) -> None:
    queue(store)
    jobs = Jobs(store)
    for _ in range(ATTEMPTS):
        assert jobs.claim() is not None
        store.database.write(lambda tx: tx.run("UPDATE jobs SET lease_until = 0"))
    assert jobs.claim() is None
    assert jobs.jobs()[0].status == "failed"
    assert "given up" in jobs.jobs()[0].reason


def test_what_may_work_later_is_queued_again(store: Store) -> None:
    queue(store)
    jobs = Jobs(store)
    job = jobs.claim()
    assert job is not None
    jobs.finish(job, "failed", "the disk is busy", again=True)
    assert jobs.jobs()[0].status == "queued"
    assert jobs.claim() is None  # not at once
    store.database.write(lambda tx: tx.run("UPDATE jobs SET lease_until = 0"))
    job = jobs.claim()
    assert job is not None
    jobs.finish(job, "failed", "no such column")
    assert jobs.jobs()[0].status == "failed"


@pytest.mark.parametrize("workers", [4])
def test_many_workers_never_share_a_job(store: Store, workers: int) -> None:
    idents = [queue(store) for _ in range(20)]
    taken: list[str] = []

    def work() -> None:
        jobs = Jobs(store)
        while (job := jobs.claim()) is not None:
            taken.append(job.id)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(idents)

"""The ring's stations: counts and states from the records."""

from __future__ import annotations

import msgspec
import pytest
from loops import closed, empty, job

from interlock.pictures import Station
from interlock.ui.stations import loop_ring, stations


def by_name(status) -> dict[str, Station]:
    return {station.name: station for station in stations(status)}


def change(status, **fields):
    return msgspec.structs.replace(status, **fields)


def test_a_loop_in_full_swing() -> None:
    found = by_name(closed())
    assert {name: (s.holds, s.state) for name, s in found.items()} == {
        "data": ("1 dataset", "ok"),
        "train": ("3 candidates", "busy"),
        "track": ("7 runs", "ok"),
        "register": ("3 versions", "ok"),
        "audit": ("3 judged versions", "warn"),
        "deploy": ("1 deployment", "ok"),
        "monitor": ("36 windows", "ok"),
        "retrain": ("1 time", "busy"),
    }
    assert found["deploy"].detail == "employment: model:employment@1 90%, model:employment@2 10%"
    assert found["data"].detail == "people: 2 versions, 81,234 rows"
    assert found["audit"].detail == "model:employment@3 waits for approval"


def test_an_empty_one_is_idle_all_round() -> None:
    assert {s.state for s in stations(empty())} == {"idle"}
    assert {s.count for s in stations(empty())} == {""}


@pytest.mark.parametrize(("verdict", "state"), [("keep", "ok"), ("wait for labels", "warn"), ("retrain", "alarm")])
def test_the_monitor_has_the_state_of_its_verdict(verdict: str, state: str) -> None:
    monitor = msgspec.structs.replace(closed().monitors[0], verdict=verdict)
    status = change(closed(), monitors=(monitor,))
    assert by_name(status)["monitor"].state == state
    assert verdict in str(loop_ring(status).svg)


def test_the_worst_verdict_stands_in_the_middle() -> None:
    first = closed().monitors[0]
    monitors = (first, msgspec.structs.replace(first, name="b", verdict="retrain"))
    assert ">retrain</text>" in str(loop_ring(change(closed(), monitors=monitors, jobs=())).svg)


def test_a_monitor_that_watches_nothing_yet_is_idle() -> None:
    monitor = msgspec.structs.replace(closed().monitors[0], model="")
    status = change(empty(), monitors=(monitor,))
    assert by_name(status)["monitor"].state == "idle"


def test_a_server_that_does_not_answer_is_an_alarm() -> None:
    down = msgspec.structs.replace(closed().deployments[0], live=False)
    found = by_name(change(closed(), deployments=(down,)))["deploy"]
    assert (found.state, found.holds) == ("alarm", "1 deployment")
    assert "does not answer" in found.detail


def test_a_stopped_deployment_is_idle_and_says_so() -> None:
    stopped = msgspec.structs.replace(closed().deployments[0], state="stopped", live=False)
    found = by_name(change(closed(), deployments=(stopped,)))["deploy"]
    assert (found.state, found.detail) == ("idle", "employment is stopped")


def test_retraining_counts_what_was_done_and_shows_what_failed() -> None:
    jobs = (job(3, "retrain", "train", "failed", "no rows"), job(2, "retrain", "train", "done", ""))
    found = by_name(change(closed(), jobs=jobs))["retrain"]
    assert (found.state, found.holds, found.detail) == ("alarm", "1 time", "retrain train: failed, no rows")
    assert by_name(change(closed(), jobs=()))["retrain"].state == "idle"

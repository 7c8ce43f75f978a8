from __future__ import annotations

import threading
from typing import Any

import pytest

from interlock.core.errors import Invalid
from interlock.store import Store
from interlock.store.settling import Stale, settled

PUT = "INSERT INTO experiment_tags (experiment, name, value) VALUES ('e', :name, '')"


def count(reader: Any) -> int:
    return int(reader.one("SELECT COUNT(*) AS n FROM experiment_tags")["n"])


def test_what_is_worked_out_in_front_is_written(store: Store) -> None:
    threads: list[str] = []

    def prepare(reader: Any) -> int:
        threads.append(threading.current_thread().name)
        return count(reader)

    def change(tx: Any, seen: int) -> str:
        tx.run(PUT, {"name": str(seen)})
        return threading.current_thread().name

    assert settled(store.database, prepare, change) == "interlock-writer"
    assert (threads, count(store.database)) == ([threading.current_thread().name], 1)


@pytest.mark.parametrize("others", [0, 1, 2, 3, 99])
def test_what_came_too_late_is_worked_out_again(store: Store, others: int) -> None:
    """Somebody else is faster as often as that; in the end it is done where nobody can come between."""
    threads: list[str] = []

    def prepare(reader: Any) -> int:
        threads.append(threading.current_thread().name)
        return count(reader)

    def change(tx: Any, seen: int) -> int:
        tx.run(PUT, {"name": f"{len(threads)}"})
        if seen != count(tx) - 1:
            raise Stale
        return seen

    def faster(reader: Any) -> int:
        seen = prepare(reader)
        if len(threads) <= others and threads[-1] != "interlock-writer":
            store.database.write(lambda tx: tx.run(PUT, {"name": f"other {len(threads)}"}))
        return seen

    came = min(others, 3)
    assert settled(store.database, faster, change) == came
    assert (count(store.database), len(threads)) == (came + 1, came + 1)
    assert (threads[-1] == "interlock-writer") == (others >= 3)


def test_errors_are_those_of_the_change(store: Store) -> None:
    def refuse(*_: Any) -> None:
        raise Invalid("no")

    with pytest.raises(Invalid):
        settled(store.database, lambda _: None, refuse)
    with pytest.raises(Invalid):
        settled(store.database, refuse, lambda *_: None)

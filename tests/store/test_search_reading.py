from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.core.errors import Invalid
from interlock.store import Store
from interlock.store.search import (
    EXPERIMENTS,
    Column,
    Search,
    Target,
    complete_order,
    parse_filter,
    parse_order,
    read_checked,
)

SOURCES = {
    "attribute": {"name": Column("experiments.name"), "experiment_id": Column("experiments.id", indexed=True)},
}


def search(text: str = "") -> Search:
    order = complete_order(parse_order(["name DESC"], EXPERIMENTS), EXPERIMENTS)
    target = Target(table="experiments", identity=("id",))
    return Search(filter=parse_filter(text, EXPERIMENTS), order=order, target=target, sources=SOURCES)


def fill(store: Store, count: int) -> None:
    values = ({"id": f"e{number:04}", "name": f"n{number:04}"} for number in range(count))
    insert = "INSERT INTO experiments (id, name, created_at) VALUES (:id, :name, 0)"
    store.database.write(lambda tx: [tx.run("DELETE FROM experiments"), tx.run_many(insert, values)])


def all_pages(store: Store, passing: Any, limit: int) -> list[str]:
    found, token = [], ""
    while True:
        page = read_checked(store.database, search(), limit, token, passing)
        found += [row["id"] for row in page.rows]
        if not page.next_token:
            return found
        assert len(page.rows) == limit
        token = page.next_token


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.booleans(), max_size=90), st.integers(1, 20))
def test_pages_hold_what_passes_in_order(store: Store, flags: list[bool], limit: int) -> None:
    fill(store, len(flags))
    wanted = [f"e{number:04}" for number, passes in enumerate(flags) if passes]
    passing = wanted.__contains__
    assert all_pages(store, lambda rows: [passing(row["id"]) for row in rows], limit) == wanted[::-1]


@pytest.mark.parametrize(("every", "most"), [(1, 60), (2, 130), (10, 700), (1000, 2100)])
def test_few_more_rows_are_checked_than_it_takes(store: Store, every: int, most: int) -> None:
    fill(store, 2000)
    checked: list[int] = []

    def passing(rows: list[Any]) -> list[bool]:
        checked.append(len(rows))
        return [int(row["id"][1:]) % every == 0 for row in rows]

    page = read_checked(store.database, search(), 50, "", passing)
    assert len(page.rows) == min(50, 2000 // every)
    assert sum(checked) <= most
    assert max(checked) <= 1025


def test_what_is_wrong_is_told(store: Store) -> None:
    for limit, token in ((0, ""), (1, "garbage")):
        with pytest.raises(Invalid):
            read_checked(store.database, search(), limit, token, lambda rows: [True] * len(rows))

"""Reading a planned page: statements run until it is full."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from interlock.core.ports import Row
from interlock.store.search import order, pages
from interlock.store.search.plan import FEW, Plan, Step

if TYPE_CHECKING:
    from interlock.core.ports import Reader
    from interlock.store.search.order import Place


class Page(msgspec.Struct, frozen=True):
    """The identities of the rows of a page, in order, and the token of the next one; "" after the last."""

    rows: list[Row]
    next_token: str


def read_page(reader: Reader, plan: Plan) -> Page:
    """Return the page, running only the statements that it takes.

    Cost:
        For a metric or an indexed column first: what is met in the index until the page is full, whichever page it is.
    """
    wanted = plan.limit + 1
    found: list[tuple[tuple[Place, ...], Row]] = []
    for step in _steps(reader, plan):
        found += _read(reader, plan, step, wanted - len(found))
        if len(found) == wanted:
            break
    token = pages.encode_token(plan.query, plan.keys, found[-2][0]) if len(found) == wanted else ""
    return Page([row for _, row in found[: plan.limit]], token)


def _steps(reader: Reader, plan: Plan) -> tuple[Step, ...]:
    fewest, chosen = FEW + 1, plan.steps
    for probe in plan.probes:
        counted = reader.one(probe.count.text, probe.count.values)
        if counted and counted["n"] < fewest:
            fewest, chosen = counted["n"], (probe.step,)
    return chosen


def _read(reader: Reader, plan: Plan, step: Step, rows: int) -> list[tuple[tuple[Place, ...], Row]]:
    found: list[tuple[tuple[Place, ...], Row]] = []
    for sql in step.statements:
        for row in reader.all(sql.text, {**sql.values, "rows": rows}):
            places = order.places_of(row, plan.keys, step.rank)
            found.append((places, {name: row[name] for name in plan.identity}))
    if len(step.statements) > 1:
        by_places = order.sort_key(plan.keys)
        found.sort(key=lambda placed: by_places(placed[0]))
    return found[:rows]

"""Reading a planned page: statements run until it is full."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.ports import Row
from interlock.store.search import order, pages
from interlock.store.search.plan import FEW, Plan, Step, plan_page

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interlock.core.ports import Reader
    from interlock.store.search.order import Place
    from interlock.store.search.plan import Search

    Passing = Callable[[list[Row]], Sequence[bool]]

_FEWEST: Final = 16  # so many rows at least are checked at a time, where the first ones did not fill the page
_MOST: Final = 1024


class Page(msgspec.Struct, frozen=True):
    """The identities of the rows of a page, in order, and the token of the next one; "" after the last."""

    rows: list[Row]
    next_token: str


def read_page(reader: Reader, plan: Plan) -> Page:
    """Return the page, running only the statements that it takes.

    Cost:
        For a metric or an indexed column first: what is met in the index until the page is full, whichever page it is.
    """
    found = _placed(reader, plan)
    token = pages.encode_token(plan.query, plan.keys, found[-2][0]) if len(found) > plan.limit else ""
    return Page([row for _, row in found[: plan.limit]], token)


def read_checked(reader: Reader, search: Search, limit: int, token: str, passing: Passing) -> Page:
    """Return the page of those rows that pass a check which SQL cannot make.

    Args:
        reader: the database.
        search: finds all rows that may pass.
        limit: how many the page has at most.
        token: where it begins, or "".
        passing: says of each of some rows whether it passes.

    Raises:
        Invalid: the token is none of ours or belongs to another query; the limit is below 1.

    Cost: where most rows pass, that of `read_page`; else rows are read and checked, some hundreds at a time, until
    the page is full.
    """
    found: list[tuple[tuple[Place, ...], Row]] = []
    plan = plan_page(search, limit, token)
    keys, query, more, seen = plan.keys, plan.query, True, 0
    while more and len(found) <= limit:
        placed = _placed(reader, plan)
        more, seen = len(placed) > plan.limit, seen + len(placed)
        kept = passing([row for _, row in placed])
        found += [one for one, keeps in zip(placed, kept, strict=True) if keeps]
        if more:
            wanted = (limit + 1 - len(found)) * seen / len(found) if found else 2 * len(placed)
            size = min(max(math.ceil(1.1 * wanted), _FEWEST), _MOST)
            plan = plan_page(search, size, pages.encode_token(query, keys, placed[-1][0]))
    next_token = pages.encode_token(query, keys, found[limit - 1][0]) if len(found) > limit else ""
    return Page([row for _, row in found[:limit]], next_token)


def _placed(reader: Reader, plan: Plan) -> list[tuple[tuple[Place, ...], Row]]:
    """Return the rows of a page with their places, and one more where there is a next page."""
    wanted = plan.limit + 1
    found: list[tuple[tuple[Place, ...], Row]] = []
    for step in _steps(reader, plan):
        found += _read(reader, plan, step, wanted - len(found))
        if len(found) == wanted:
            break
    return found


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

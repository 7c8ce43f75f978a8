from __future__ import annotations

import itertools
from typing import get_args

import pytest

from interlock.core.errors import Conflict
from interlock.registry.lifecycle import NEXT, Stage, check_move

MAIN = ["created", "registered", "environment prepared", "validated", "approved", "deployed", "retired"]


def test_the_main_road_leads_from_created_to_retired_without_a_short_cut() -> None:
    for road in (MAIN, [stage for stage in MAIN if stage != "environment prepared"]):  # nobody has to prepare it
        for origin, stage in itertools.pairwise(road):
            check_move(origin, stage)  # type: ignore[arg-type]
    for place, origin in enumerate(MAIN):
        for stage in MAIN[place + 2 : -1]:
            if (origin, stage) != ("registered", "validated"):
                with pytest.raises(Conflict):
                    check_move(origin, stage)  # type: ignore[arg-type]


def test_every_stage_is_in_the_table_and_nothing_leaves_retirement() -> None:
    assert set(NEXT) == set(get_args(Stage))
    assert NEXT["retired"] == frozenset()


def test_nothing_reaches_deployed_but_through_approved() -> None:
    assert [origin for origin, following in NEXT.items() if "deployed" in following] == ["approved"]
    assert {origin for origin, following in NEXT.items() if "approved" in following} == {"validated", "deployed"}


def test_a_refused_move_says_where_one_can_go() -> None:
    with pytest.raises(Conflict, match="environment prepared"):
        check_move("registered", "deployed")

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.core.bundles import Route
from interlock.core.errors import Invalid
from interlock.serve.router import Router

SUBJECTS = [f"person-{i}" for i in range(4000)]


def routes(*weights):
    return [Route(f"model:m@{i + 1}", f"{i:064x}", weight) for i, weight in enumerate(weights)]


def picks(*weights):
    router = Router(routes(*weights))
    return [router.pick(subject) for subject in SUBJECTS]


@settings(max_examples=15)
@given(st.lists(st.floats(0, 10), min_size=1, max_size=4).filter(lambda weights: sum(weights) > 0.01))
def test_shares_converge_to_the_weights(weights):
    counts = Counter(picks(*weights))
    for i, weight in enumerate(weights):
        assert counts[i] / len(SUBJECTS) == pytest.approx(weight / sum(weights), abs=0.04)
        assert weight or not counts[i]


@given(st.text(), st.lists(st.floats(0.01, 1), min_size=1, max_size=4))
def test_the_same_key_always_gets_the_same_route(key, weights):
    assert Router(routes(*weights)).pick(key) == Router(routes(*weights)).pick(key)


@settings(max_examples=15)
@given(st.floats(0.01, 0.99), st.floats(0.01, 1))
def test_raising_a_weight_moves_subjects_only_to_that_route(share, more):
    before = picks(1 - share, share)
    after = picks(1 - share, share + more)
    assert all(now == 1 for was, now in zip(before, after, strict=True) if was == 1)


def test_from_ten_percent_to_all_nobody_moves_back():
    stages = [picks(1 - share, share) for share in (0.1, 0.25, 0.5, 0.9, 1.0)]
    for earlier, later in itertools.pairwise(stages):
        assert all(b == 1 for a, b in zip(earlier, later, strict=True) if a == 1)
    assert set(stages[-1]) == {1}


def test_the_order_of_the_routes_does_not_matter():
    one, other = routes(0.7, 0.3)
    ahead, behind = Router([one, other]), Router([other, one])
    assert [ahead.pick(s) for s in SUBJECTS] == [1 - behind.pick(s) for s in SUBJECTS]


def test_another_challenger_gets_other_subjects():
    champion, first, second = routes(0.9, 0.1, 0.1)
    a, b = Router([champion, first]), Router([champion, second])
    chosen = {s for s in SUBJECTS if a.pick(s) == 1}
    both = {s for s in chosen if b.pick(s) == 1}
    assert len(both) < len(chosen) / 2


def test_two_routes_to_the_same_bundle_share_the_traffic():
    same = Route("model:m@1", "a" * 64, 0.5)
    counts = Counter(Router([same, same]).pick(subject) for subject in SUBJECTS)
    assert counts[0] / len(SUBJECTS) == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("weights", [(), (0.0,), (0.0, 0.0), (-0.1, 1.0), (float("nan"),), (float("inf"), 1.0)])
def test_routes_without_a_share_are_refused(weights):
    with pytest.raises(Invalid):
        Router(routes(*weights))

"""Numbers, instants and events as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.events import KINDS, Event
from interlock.monitor.auc import Interval
from interlock.ui.words import clip, interval, moment, number, plural, score, told


def event(kind: str, data: dict | None) -> Event:
    return Event(index=1, at=datetime(2026, 1, 1, tzinfo=UTC), actor="user:ann", kind=kind, subject="x", data=data)


def test_numbers() -> None:
    assert number(1234567) == "1,234,567"
    assert score(0.84249) == "0.842"
    assert plural(1, "version") == "1 version"
    assert plural(0, "version") == "0 versions"
    assert plural(2, "thing is", "things are") == "2 things are"
    assert interval(Interval(0.84249, 0.83, 0.8551, 0.01, 100)) == "0.842 [0.830, 0.855]"
    assert interval(None) == ""


def test_instants_are_in_utc_to_the_minute() -> None:
    at = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    assert str(moment(at)) == '<time datetime="2026-03-04T05:06:07Z">2026-03-04 05:06</time>'


def test_long_texts_and_digests_are_clipped() -> None:
    assert clip("a" * 300) == "a" * 239 + "\u2026"
    assert clip("digest " + "0123456789abcdef" * 4) == "digest 0123456789ab\u2026"
    assert clip("short") == "short"


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        (
            "labels.joined",
            {"digest": "a" * 64, "rows": 5700, "joined": 5690},
            "5,690 of 5,700 labels belong to a prediction",
        ),
        (
            "model_version.moved",
            {"origin": "validated", "stage": "approved", "reason": "signed"},
            "from validated to approved: signed",
        ),
        ("model_version.moved", {"origin": "a", "stage": "b", "reason": ""}, "from a to b"),
        (
            "project.applied",
            {"digest": "", "changes": ["create a", "create b", "set c", "set d"]},
            "create a, create b, set c and 1 more",
        ),
        ("run.logged", {"params": {"depth": 3, "rate": 0.1}, "tags": {}, "segments": []}, "depth 3, rate 0.1"),
        ("alarm.raised", {"window": "2017-01", "verdict": "retrain", "reason": "worse."}, "2017-01: retrain. worse"),
        ("monitor.set", {"plan": "x", "reference": "y"}, ""),
        ("run.changed", {"changes": {"lifecycle": "deleted"}}, "lifecycle deleted"),
        ("run.linked", {"datasets": ["people@1"], "models": [], "outputs": []}, "people@1"),
        ("experiment.changed", {"changes": {"tags": {"team": "risk"}, "untag": ["t"]}}, "tags team risk, untag t"),
        ("run.logged", None, "its data were erased"),
    ],
)
def test_events_are_told(kind: str, data: dict | None, expected: str) -> None:
    assert told(event(kind, data)) == expected


@given(st.sampled_from(sorted(KINDS)), st.data())
def test_every_kind_is_told_whatever_it_holds(kind: str, data) -> None:
    values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text(), max_size=5))
    held = {name: data.draw(values) for name in KINDS[kind].data}
    assert len(told(event(kind, held))) <= 240


def test_every_kind_has_its_words() -> None:
    from interlock.ui.words import _TOLD

    assert set(_TOLD) == set(KINDS)
    for kind, template in _TOLD.items():
        assert template.format_map(dict.fromkeys(KINDS[kind].data, "x")) is not None


def test_braces_in_data_are_text() -> None:
    assert told(event("approval.refused", {"reason": "{kind} {0.__class__}"})) == "{kind} {0.__class__}"

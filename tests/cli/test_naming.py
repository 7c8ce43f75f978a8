"""Arguments by name."""

from __future__ import annotations

import pytest

from interlock.cli.derive import values_of
from interlock.core.errors import Invalid
from interlock.core.operations import Operation
from interlock.sdk.catalog import Catalog
from interlock.sdk.services import SERVICES


@pytest.fixture
def waive() -> Operation:
    return Catalog(SERVICES).operation("audit", "waive")


@pytest.mark.parametrize(
    ("placed", "said"),
    [
        (("pilot", "2027-01-01"), {}),
        ((), {"reason": "pilot", "until": "2027-01-01"}),
        (("2027-01-01",), {"reason": "pilot"}),
        (("pilot",), {"until": "2027-01-01"}),
    ],
)
def test_a_waiver_says_its_reason_and_end_by_place_or_name(
    waive: Operation, placed: tuple[str, ...], said: dict[str, str]
) -> None:
    words = {"version": "m@1", "gate": "metric", **dict(zip(("reason", "until"), placed, strict=False))}
    words |= {f"by_name_{name}": value for name, value in said.items()}
    assert values_of(waive, words) == {
        "version": "m@1",
        "gate": "metric",
        "reason": "pilot",
        "until": "2027-01-01",
    }


def test_a_word_too_many_is_told(waive: Operation) -> None:
    words = {"version": "m@1", "gate": "g", "reason": "a", "until": "b", "by_name_reason": "c"}
    with pytest.raises(Invalid, match="'b' is one word too many"):
        values_of(waive, words)

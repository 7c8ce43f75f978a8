from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.errors import Invalid
from interlock.core.periods import parse_period

TEXTS = ["1 month", "3 months", "1 day", "7 days", "1 week", "6h", "15m", "90 seconds", "2 hours"]
INSTANTS = st.datetimes(datetime(1980, 1, 1), datetime(2090, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001


@given(st.sampled_from(TEXTS), INSTANTS)
def test_every_instant_lies_in_exactly_one_window(text: str, at: datetime) -> None:
    period = parse_period(text)
    start = period.floor(at)
    assert start <= at < period.after(start)
    assert period.floor(start) == start
    assert period.floor(period.after(start)) == period.after(start)


def test_windows_are_called_as_people_call_them() -> None:
    at = datetime(2017, 1, 9, 14, 30, tzinfo=UTC)
    assert parse_period("1 month").label(parse_period("1 month").floor(at)) == "2017-01"
    assert parse_period("1 week").label(parse_period("1 week").floor(at)) == "2017-01-09"
    assert parse_period("6h").label(parse_period("6h").floor(at)) == "2017-01-09T12:00"


def test_minutes_and_months_are_not_mixed_up() -> None:
    start = datetime(2017, 1, 1, tzinfo=UTC)
    assert parse_period("1m").after(start) - start == timedelta(minutes=1)
    assert parse_period("1 month").after(start) == datetime(2017, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "month", "0 days", "-1 day", "1 fortnight", "1.5h", "1 day 2h"])
def test_what_is_no_period(text: str) -> None:
    with pytest.raises(Invalid, match="no period"):
        parse_period(text)


def test_a_period_is_about_so_many_seconds() -> None:
    assert [parse_period(text).about_s for text in ("90 days", "2 months", "15m")] == [7_776_000, 5_184_000, 900]

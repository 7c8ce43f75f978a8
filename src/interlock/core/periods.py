"""Periods of the calendar: "1 month", "7 days", "15m"; and the windows they cut time into."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import msgspec

from interlock.core.errors import Invalid

_UNITS = {"s": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600}
_UNITS |= {"d": 86_400, "day": 86_400, "w": 604_800, "week": 604_800}
_TEXT = re.compile(r"\s*(\d{1,6})\s*([A-Za-z]+)\s*\Z")
_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)


class Period(msgspec.Struct, frozen=True):
    """A span of time: whole months, or seconds; never both."""

    months: int
    seconds: int

    @property
    def about_s(self) -> int:
        """About how many seconds it has; a month counts as 30 days."""
        return self.seconds + self.months * 30 * 86_400

    def floor(self, at: datetime) -> datetime:
        """Return the start of the window that an instant lies in (weeks start on Monday, UTC)."""
        if self.months:
            count = (at.year * 12 + at.month - 1) // self.months * self.months
            return datetime(count // 12, count % 12 + 1, 1, tzinfo=UTC)
        return at - (at - _MONDAY) % timedelta(seconds=self.seconds)

    def after(self, start: datetime) -> datetime:
        """Return the instant one period later."""
        if self.months:
            count = start.year * 12 + start.month - 1 + self.months
            day = min(start.day, 28)
            return start.replace(year=count // 12, month=count % 12 + 1, day=day)
        return start + timedelta(seconds=self.seconds)

    def label(self, start: datetime) -> str:
        """Return how people call the window that starts then: `2017-01`, `2017-01-09`, `2017-01-09T14:00`."""
        if self.months:
            return start.strftime("%Y-%m")
        return start.strftime("%Y-%m-%d" if self.seconds % 86_400 == 0 else "%Y-%m-%dT%H:%M")


def parse_period(text: str) -> Period:
    """Return the period that a text names.

    Raises:
        Invalid: it names none, or one of no length.
    """
    found = _TEXT.match(text)
    unit = found.group(2) if found else ""
    singular = unit.lower().removesuffix("s") if len(unit) > 1 else unit.lower()
    count = int(found.group(1)) if found else 0
    if singular in {"month", "mo"} and count:
        return Period(count, 0)
    if singular not in _UNITS or not count:
        raise Invalid(
            f"{text!r} is no period.", about="period", hint="Write for example '1 month', '7 days', '6h' or '15m'."
        )
    return Period(0, count * _UNITS[singular])

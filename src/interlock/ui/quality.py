"""A model's windows as pictures: quality, and drift by column."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

from interlock.pictures import Heat, Level, Mark, Series, heat_strip, line_chart
from interlock.ui.views import version_of
from interlock.ui.words import clip, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.monitor.auc import Interval
    from interlock.monitor.drift import ColumnDrift
    from interlock.monitor.records import Monitor, WindowReport
    from interlock.pictures import Picture

MOST_COLUMNS: Final = 24
_LEVELS: Final = {"none": 0, "warn": 1, "alarm": 2}
_SCORE: Final = "model score"


def quality_chart(windows: Sequence[WindowReport], monitors: Sequence[Monitor]) -> Picture:
    """Return the quality that was expected and the quality that labels showed, by window.

    An estimate that is not to be trusted is left out.

    Args:
        windows: one report a window, oldest first.
        monitors: those of the model, for the floor.
    """
    trusted = [report.estimated if not report.distrust else None for report in windows]
    realised = [report.realised for report in windows]
    return line_chart(
        "Quality by window (ROC AUC)",
        [report.window for report in windows],
        [_series("realised", realised, bars=True), _series("estimated", trusted, bars=False)],
        levels=_levels(windows, monitors),
        marks=_marks(windows),
    )


def distrusted(windows: Sequence[WindowReport]) -> str:
    """Return why estimates are left out, or ""."""
    reasons = [report.distrust for report in windows if report.distrust]
    if not reasons:
        return ""
    return clip(f"No estimate in {plural(len(reasons), 'window')}: {reasons[-1]}")


def drift_strip(windows: Sequence[WindowReport]) -> tuple[Picture, int]:
    """Return the drift of each column by window, and how many columns there are; those that drifted most are shown.

    Args:
        windows: one report a window, oldest first.
    """
    by_column: dict[str, list[ColumnDrift | None]] = {}
    for place, report in enumerate(windows):
        for found in report.drifts:
            by_column.setdefault(found.column, [None] * len(windows))[place] = found
    order = sorted(by_column, key=lambda name: (name != _SCORE, *_badness(by_column[name]), name))
    rows = [_heat(name, by_column[name], windows) for name in order[:MOST_COLUMNS]]
    title = "Drift of each column by window"
    return heat_strip(title, [report.window for report in windows], rows), len(order)


def _series(name: str, found: Sequence[Interval | None], *, bars: bool) -> Series:
    return Series(
        name,
        tuple(i.value if i else None for i in found),
        tuple(i.low if i else None for i in found),
        tuple(i.high if i else None for i in found),
        "whiskers" if bars else "band",
    )


def _levels(windows: Sequence[WindowReport], monitors: Sequence[Monitor]) -> list[Level]:
    """Return the floor that the owner wrote down, and the limit of the newest verdict where it is another."""
    levels = [Level("floor", m.plan.at_least) for m in monitors[:1] if m.plan.at_least]
    limit = next((w.verdict.limit for w in reversed(windows) if w.verdict.limit is not None), None)
    if limit is not None and all(abs(limit - level.value) >= 0.0005 for level in levels):
        levels.append(Level("limit", limit))
    return levels


def _marks(windows: Sequence[WindowReport]) -> list[Mark]:
    marks = []
    for place, report in enumerate(windows):
        if place and report.model != windows[place - 1].model:
            marks.append(Mark(place, f"@{version_of(report.model)}"))
    for action, run in groupby(range(len(windows)), key=lambda place: windows[place].verdict.action):
        places = list(run)
        if action != "keep":
            marks.append(Mark(places[0], action, "alarm" if action == "retrain" else "wait", places[-1]))
    return marks


def _badness(found: Sequence[ColumnDrift | None]) -> tuple[int, int]:
    """Return a key that sorts the worst column first."""
    severities = [drift.severity for drift in found if drift]
    return -severities.count("alarm"), -severities.count("warn")


def _heat(name: str, found: Sequence[ColumnDrift | None], windows: Sequence[WindowReport]) -> Heat:
    known = [(drift, report.window) for drift, report in zip(found, windows, strict=True) if drift]
    worst, where = max(known, key=lambda pair: (_LEVELS[pair[0].severity], pair[0].effect))
    alarms = sum(drift.severity == "alarm" for drift, _ in known)
    note = f"{name}: alarm in {alarms} of {plural(len(known), 'window')}. Most in {where}. {worst.reason}"
    return Heat(
        name,
        tuple(_LEVELS[drift.severity] if drift else None for drift in found),
        tuple(f"{drift.effect:.2f}" if drift else "" for drift in found),
        clip(note),
    )

"""Curves: values over steps, of several runs beside each other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.pictures.markup import Attributes, Markup, element, fragment
from interlock.pictures.picture import Picture, Table
from interlock.pictures.scales import LARGEST, LETTER, apart, decimals, px, ticks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TOP: Final = 44
_LEFT: Final = 64
_WIDTH: Final = 620
_HEIGHT: Final = 230
_MOST: Final = 8  # more curves than colours and dashes would not be told apart
_LONGEST: Final = 28
_POINTS: Final = 600  # a curve with more is drawn by the extremes of each column of pixels


class Curve(msgspec.Struct, frozen=True):
    """Values by step, in order of the steps; those that are not finite break the line."""

    name: str
    steps: tuple[float, ...]
    values: tuple[float, ...]


class _Frame(msgspec.Struct, frozen=True):
    """Where points go."""

    left: float
    right: float
    low: float
    high: float

    def x(self, step: float) -> float:
        return _LEFT + _WIDTH * (step - self.left) / (self.right - self.left)

    def y(self, value: float) -> float:
        return _TOP + _HEIGHT * (1 - (value - self.low) / (self.high - self.low))


def curve_chart(title: str, curves: Sequence[Curve], *, across: str = "step") -> Picture:
    """Return values over steps.

    Args:
        title: what it shows, such as the metric's name.
        curves: at most eight; further ones are named in the text and left out.
        across: what the steps are.

    Cost: O(points).
    """
    shown = [_finite(curve) for curve in curves[:_MOST]]
    frame = _frame(shown)
    parts = [*_ground(frame, across), *(_curve(frame, number, curve) for number, curve in enumerate(shown))]
    parts += [_names(frame, shown), element("text", {"class": "il-bold", "x": _LEFT, "y": 20}, title)]
    longest = max((len(_short(curve.name)) for curve in shown), default=0)
    table = _table(title, curves)
    left_out = f" {len(curves) - _MOST} more runs are not drawn." if len(curves) > _MOST else ""
    return Picture(
        title=title,
        text=_words(shown) + left_out,
        width=int(_LEFT + _WIDTH + 16 + (longest + 10) * LETTER),
        height=_TOP + _HEIGHT + 44,
        body=fragment(parts),
        table=table,
    )


def _finite(curve: Curve) -> Curve:
    pairs = sorted(zip(curve.steps, curve.values, strict=True), key=lambda pair: pair[0])
    kept = [(s, v if abs(v) <= LARGEST else math.nan) for s, v in pairs if abs(s) <= LARGEST]
    return Curve(curve.name, tuple(step for step, _ in kept), tuple(value for _, value in kept))


def _frame(curves: Sequence[Curve]) -> _Frame:
    steps = [step for curve in curves for step in curve.steps] or [0.0]
    values = [value for curve in curves for value in curve.values if not math.isnan(value)] or [0.0]
    left, right, low, high = min(steps), max(steps), min(values), max(values)
    room = (high - low) * 0.06 or abs(high) * 0.05 or 0.5
    return _Frame(left, right if right > left else left + 1, low - room, high + room)


def _ground(frame: _Frame, across: str) -> Iterator[Markup]:
    """Yield the grid and what stands at its edges."""
    found = ticks(frame.low, frame.high)
    for value, text in zip(found, _told(found), strict=True):
        y = px(frame.y(value))
        yield element("path", {"class": "il-grid", "d": f"M{_LEFT} {y}h{_WIDTH}"})
        at: Attributes = {"class": "il-soft", "text-anchor": "end", "x": _LEFT - 8, "y": px(frame.y(value) + 4)}
        yield element("text", at, text)
    below = ticks(frame.left, frame.right, 6)
    for step, text in zip(below, _told(below), strict=True):
        place: Attributes = {
            "class": "il-soft",
            "text-anchor": "middle",
            "x": px(frame.x(step)),
            "y": _TOP + _HEIGHT + 18,
        }
        yield element("text", place, text)
    middle: Attributes = {
        "class": "il-soft",
        "text-anchor": "middle",
        "x": _LEFT + _WIDTH // 2,
        "y": _TOP + _HEIGHT + 38,
    }
    yield element("text", middle, across)


def _told(values: Sequence[float]) -> list[str]:
    """Return ticks as texts: of equal decimals, or in powers of ten where they are far from one."""
    if any(value and not 1e-4 <= abs(value) < 1e7 for value in values):
        return [f"{value:.3g}" for value in values]
    places = decimals(values)
    return [f"{value:,.{places}f}" for value in values]


def _curve(frame: _Frame, number: int, curve: Curve) -> Markup:
    parts: list[Markup] = []
    for stretch in _stretches(curve):
        points = [(frame.x(step), frame.y(value)) for step, value in _thin(frame, stretch)]
        if len(points) == 1:
            ((x, y),) = points
            parts.append(element("circle", {"class": "il-d", "cx": px(x), "cy": px(y), "r": px(3.5)}))
        else:
            line = "M" + "L".join(f"{px(x)} {px(y)}" for x, y in points)
            parts.append(element("path", {"class": "il-l", "d": line}))
    return element("g", {"class": f"il-s{number}"}, *parts)


def _stretches(curve: Curve) -> Iterator[list[tuple[float, float]]]:
    """Yield points without a value between them that is not finite."""
    stretch: list[tuple[float, float]] = []
    for point in zip(curve.steps, curve.values, strict=True):
        if math.isnan(point[1]):
            if stretch:
                yield stretch
            stretch = []
        else:
            stretch.append(point)
    if stretch:
        yield stretch


def _thin(frame: _Frame, points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return what can be seen of points: of each column of pixels its first, smallest, largest and last."""
    if len(points) <= _POINTS:
        return points
    columns: dict[int, list[tuple[float, float]]] = {}
    for point in points:
        columns.setdefault(int(frame.x(point[0])), []).append(point)
    kept = []
    for column in columns.values():
        some = {column[0], min(column, key=lambda p: p[1]), max(column, key=lambda p: p[1]), column[-1]}
        kept += sorted(some)
    return kept


def _names(frame: _Frame, curves: Sequence[Curve]) -> Markup:
    """Return the newest value of each curve beside the end of its line."""
    ends = []
    for number, curve in enumerate(curves):
        known = [value for value in curve.values if not math.isnan(value)]
        if known:
            ends.append((frame.y(known[-1]), number, f"{_short(curve.name)} {known[-1]:.4g}"))
    moved = apart([end[0] for end in ends], 16, _TOP, _TOP + _HEIGHT)
    return fragment(
        element(
            "g",
            {"class": f"il-s{number}"},
            element("text", {"class": "il-s", "x": _LEFT + _WIDTH + 8, "y": px(y + 4)}, text),
        )
        for y, (_, number, text) in zip(moved, ends, strict=True)
    )


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}\u2026"


def _table(title: str, curves: Sequence[Curve]) -> Table:
    rows = []
    for curve in curves:
        known = [value for value in curve.values if math.isfinite(value)]
        told = [f"{min(known):.6g}", f"{max(known):.6g}", f"{known[-1]:.6g}"] if known else ["", "", ""]
        rows.append((curve.name, str(len(curve.values)), *told))
    return Table(title, ("Run", "Points", "Smallest", "Largest", "Last"), tuple(rows))


def _words(curves: Sequence[Curve]) -> str:
    """Return what the chart shows as sentences."""
    told = []
    for curve in curves:
        known = [value for value in curve.values if not math.isnan(value)]
        if known:
            told.append(
                f"{curve.name}: {len(known)} points from {min(known):.4g} to {max(known):.4g}, last {known[-1]:.4g}."
            )
    return " ".join(told) or "There are no points."

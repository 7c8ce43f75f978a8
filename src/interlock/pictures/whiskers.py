"""Figures with their intervals, one below the other on one scale; a bound is a mark across its line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from interlock.pictures.markup import Attributes, Markup, element, fragment
from interlock.pictures.picture import Picture, Table
from interlock.pictures.scales import LETTER, decimals, px, ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROW: Final = 22
_TOP: Final = 8
_PLOT: Final = 420
_RIGHT: Final = 150
_LETTERS: Final = 26


class Whisker(msgspec.Struct, frozen=True):
    """One figure.

    Attributes:
        name: what it is.
        value: the figure.
        low, high: the ends of its interval.
        bound: what it must reach, or None.
    """

    name: str
    value: float
    low: float
    high: float
    bound: float | None = None


def whisker_chart(title: str, figures: Sequence[Whisker], low: float = 0.0, high: float = 1.0) -> Picture:
    """Return figures with their intervals, from top to bottom.

    Args:
        title: what it shows.
        figures: what is drawn; what is beyond the scale ends at its edge.
        low: where the scale begins.
        high: where it ends.
    """
    left = 16 + int(LETTER * max((min(len(found.name), _LETTERS) for found in figures), default=0))
    bottom = _TOP + _ROW * len(figures)

    def at(value: float) -> float:
        return left + _PLOT * (min(max(value, low), high) - low) / (high - low)

    parts: list[Markup] = []
    marks = ticks(low, high, 5)
    places = decimals(marks)
    for mark in marks:
        line: Attributes = {"class": "il-grid", "x1": px(at(mark)), "x2": px(at(mark)), "y1": _TOP, "y2": bottom}
        words: Attributes = {"class": "il-soft", "x": px(at(mark)), "y": bottom + 16, "text-anchor": "middle"}
        parts += [element("line", line), element("text", words, f"{mark:.{places}f}")]
    for place, found in enumerate(figures):
        y = _TOP + _ROW * place + _ROW // 2
        told = f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
        name = found.name if len(found.name) <= _LETTERS else f"{found.name[: _LETTERS - 1]}\u2026"
        span: Attributes = {"class": "il-l", "x1": px(at(found.low)), "x2": px(at(found.high)), "y1": y, "y2": y}
        dot = element("circle", {"class": "il-d", "cx": px(at(found.value)), "cy": y, "r": 4})
        parts.append(element("text", {"x": 4, "y": y + 4}, name))
        parts.append(element("g", {"class": "il-s0"}, element("line", span), dot))
        if found.bound is not None:
            x = px(at(found.bound))
            parts.append(element("line", {"class": "il-level", "x1": x, "x2": x, "y1": y - 9, "y2": y + 9}))
        parts.append(element("text", {"class": "il-soft", "x": left + _PLOT + 12, "y": y + 4}, told))
    rows = tuple(
        (f.name, f"{f.value:.4g}", f"{f.low:.4g}", f"{f.high:.4g}", "" if f.bound is None else f"{f.bound:g}")
        for f in figures
    )
    shown = "; ".join(f"{f.name} {f.value:.3f} [{f.low:.3f}, {f.high:.3f}]" for f in figures)
    table = Table(title, ("Figure", "Value", "Low", "High", "Bound"), rows)
    return Picture(title, f"{shown}.", left + _PLOT + _RIGHT, bottom + 26, fragment(parts), table)

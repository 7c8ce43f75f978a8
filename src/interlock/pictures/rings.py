"""The ring: the stations of the loop, how much each holds and how it is."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from interlock.pictures.markup import Attributes, Markup, element, fragment
from interlock.pictures.picture import Picture, Table
from interlock.pictures.scales import px

if TYPE_CHECKING:
    from collections.abc import Sequence

State = Literal["idle", "ok", "busy", "warn", "alarm"]
WORDS: Final[dict[State, str]] = {
    "idle": "idle",
    "ok": "in order",
    "busy": "at work",
    "warn": "waits for somebody",
    "alarm": "needs somebody",
}
_RADIUS: Final = 146.0
_NODE: Final = 36.0
# Drawn in 24 x 24, one stroke each.
_ICONS: Final = {
    "data": "M4 6c0-4 16-4 16 0s-16 4-16 0v12c0 4 16 4 16 0V6M4 12c0 4 16 4 16 0",
    "train": "M3 4v17h18M6 8c2 8 6 9 14 9.5M17 14.5l3.5 3-3.5 3",
    "track": "M3 4v17h18M7 16l4-5 3 3 6-8",
    "register": "M5 3h12a2 2 0 0 1 2 2v16H7a2 2 0 0 1-2-2zM5 18.5a2 2 0 0 1 2-2h12M9 7.5h6",
    "audit": "M12 2.5l8 3v6c0 5-3.5 8-8 10-4.5-2-8-5-8-10v-6zM8.5 12l2.5 2.5 4.5-5",
    "deploy": "M12 16V3M7 8l5-5 5 5M4 14v6h16v-6",
    "monitor": "M2 13h4l3-8 5 15 3-9 1.5 2H22",
    "retrain": "M20 11a8 8 0 0 0-14-4.5L3.5 9M4 3.5V9h5.5M4 13a8 8 0 0 0 14 4.5l2.5-2.5M20 20.5V15h-5.5",
}

# Class and strokes of the sign of a state: a turning arrow, two bars, an exclamation mark.
_SIGNS: Final[dict[State, tuple[str, str]]] = {
    "busy": ("il-busy", "M4.5-1a4.5 4.5 0 1 0-1 4M5-5v4H1"),
    "warn": ("il-warn", "M-2.5-3.5v7M2.5-3.5v7"),
    "alarm": ("il-alarm", "M0-4.5v5M0 4v.1"),
}


class Station(msgspec.Struct, frozen=True):
    """One station of the loop.

    Attributes:
        name: data, train, track, register, audit, deploy, monitor or retrain; others have no icon.
        count: how much it holds, as people read it; "" shows the icon.
        unit: what is counted.
        state: how it is.
        detail: one line about it.
    """

    name: str
    count: str = ""
    unit: str = ""
    state: State = "ok"
    detail: str = ""

    @property
    def holds(self) -> str:
        """The count with its unit."""
        return f"{self.count} {self.unit}".strip() if self.count else ""


def ring(
    title: str, stations: Sequence[Station], centre: tuple[str, str] = ("", ""), *, details: bool = False
) -> Picture:
    """Return the loop as a ring, the first station on top, clockwise.

    An arc is lit when the loop has come to its end.

    Args:
        title: what it shows.
        stations: two or more.
        centre: a large and a small line for the middle.
        details: also write each station's detail beside it, which makes the picture wider.
    """
    width, height = (800, 472) if details else (400, 400)
    middle = (width / 2, height / 2)
    parts = [_arc(middle, stations, place) for place in range(len(stations))]
    parts += [_station(middle, len(stations), place, station) for place, station in enumerate(stations)]
    if details:
        parts += [_beside(middle, len(stations), place, station) for place, station in enumerate(stations)]
    parts += _centre(middle, centre)
    told = "; ".join(", ".join(filter(None, (s.name, s.holds, WORDS[s.state]))) for s in stations)
    return Picture(
        title=title,
        text=f"A ring of {len(stations)} stations. {told}. After the last comes the first again.",
        width=width,
        height=height,
        body=fragment(parts),
        table=Table(
            title,
            ("Station", "Holds", "State", "Now"),
            tuple((s.name, s.holds, WORDS[s.state], s.detail) for s in stations),
        ),
    )


def _place(middle: tuple[float, float], turn: float, radius: float) -> tuple[float, float]:
    """Return the point at a part of a turn, clockwise from the top."""
    return (
        middle[0] + radius * math.sin(turn * math.tau),
        middle[1] - radius * math.cos(turn * math.tau),
    )


def _arc(middle: tuple[float, float], stations: Sequence[Station], place: int) -> Markup:
    """Return the arrow from one station to the next."""
    count = len(stations)
    following = stations[(place + 1) % count]
    lit = " il-on" if "idle" not in {stations[place].state, following.state} else ""
    gap = (2 * math.asin(_NODE / (2 * _RADIUS)) + 0.035) / math.tau
    start, end = place / count + gap, (place + 1) / count - gap
    tip = 9 / _RADIUS / math.tau
    x0, y0 = _place(middle, start, _RADIUS)
    x1, y1 = _place(middle, end - tip, _RADIUS)
    head = (
        _place(middle, end, _RADIUS),
        _place(middle, end - tip * 1.15, _RADIUS + 6.5),
        _place(middle, end - tip * 1.15, _RADIUS - 6.5),
    )
    return fragment(
        (
            element(
                "path",
                {
                    "class": f"il-arc{lit}",
                    "d": f"M{px(x0)} {px(y0)}A{px(_RADIUS)} {px(_RADIUS)} 0 0 1 {px(x1)} {px(y1)}",
                },
            ),
            element("path", {"class": f"il-tip{lit}", "d": "M" + "L".join(f"{px(x)} {px(y)}" for x, y in head) + "z"}),
        )
    )


def _station(middle: tuple[float, float], count: int, place: int, station: Station) -> Markup:
    x, y = _place(middle, place / count, _RADIUS)
    marks = {"idle": "il-idle", "warn": "il-is-warn", "alarm": "il-is-alarm"}
    told = f"{station.name}: {WORDS[station.state]}" + (f". {station.detail}" if station.detail else "")
    return element(
        "g",
        {"class": marks.get(station.state), "text-anchor": "middle"},
        element("title", {}, told),
        element("circle", {"class": "il-node", "cx": px(x), "cy": px(y), "r": px(_NODE)}),
        _inside(x, y, station),
        element("text", {"x": px(x), "y": px(y + 19), "font-size": 13}, station.name),
        _badge(_place(middle, place / count, _RADIUS + _NODE), station.state),
    )


def _inside(x: float, y: float, station: Station) -> Markup | None:
    if station.count:
        return element("text", {"class": "il-bold", "x": px(x), "y": px(y + 1), "font-size": 20}, station.count)
    icon = _ICONS.get(station.name)
    move = f"translate({px(x - 12)} {px(y - 22)})"
    return element("path", {"class": "il-icon", "transform": move, "d": icon}) if icon else None


def _badge(at: tuple[float, float], state: State) -> Markup | None:
    """Return the sign on the outer edge of a station, for those who do not see its colour."""
    if state not in _SIGNS:
        return None
    (x, y), (look, sign) = at, _SIGNS[state]
    spot = element("circle", {"class": look, "cx": px(x), "cy": px(y), "r": 10})
    stroke = element("path", {"class": "il-sign", "transform": f"translate({px(x)} {px(y)})", "d": sign})
    return fragment((spot, stroke))


def _beside(middle: tuple[float, float], count: int, place: int, station: Station) -> Markup:
    """Return a station's detail, outside the ring."""
    x, y = _place(middle, place / count, _RADIUS)
    across = round(math.sin(place / count * math.tau), 6)
    lines = _wrapped(station.detail, 26 if across else 64)[:3]
    anchor, shift = ("start", _NODE + 12) if across > 0 else ("end", -_NODE - 12)
    top = y + 4 - 7.5 * (len(lines) - 1)
    if not across:
        anchor, shift = "middle", 0.0
        top = y - _NODE - 14 if y < middle[1] else y + _NODE + 24
    at: Attributes = {"class": "il-soft", "text-anchor": anchor, "font-size": 13}
    return fragment(
        element("text", {**at, "x": px(x + shift), "y": px(top + 16 * row)}, line) for row, line in enumerate(lines)
    )


def _wrapped(text: str, width: int) -> list[str]:
    """Return a text in as few lines as the width allows, all about as long."""
    lines = textwrap.wrap(text, width)
    while width > 8 and len(narrower := textwrap.wrap(text, width - 1)) == len(lines):
        lines, width = narrower, width - 1
    return lines


def _centre(middle: tuple[float, float], centre: tuple[str, str]) -> list[Markup]:
    large, small = centre
    x, y = middle
    parts = []
    if large:
        look: Attributes = {"class": "il-bold", "text-anchor": "middle", "font-size": 24}
        parts.append(element("text", {**look, "x": px(x), "y": px(y + (2 if small else 8))}, large))
    for row, line in enumerate(_wrapped(small, 26)[:2]):
        look = {"class": "il-soft", "text-anchor": "middle", "font-size": 13}
        parts.append(element("text", {**look, "x": px(x), "y": px(y + 24 + 17 * row)}, line))
    return parts

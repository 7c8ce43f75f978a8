"""Small pictures that stand within text: the course of a few numbers, and shares of a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.pictures.markup import Attributes, Markup, element, fragment
from interlock.pictures.picture import Picture, Table
from interlock.pictures.scales import LARGEST, percent, px

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH: Final = 96
_HEIGHT: Final = 20
_BAR: Final = 160
_LOOKS: Final = 4


def sparkline(title: str, values: Sequence[float | None]) -> Picture:
    """Return the course of numbers, oldest first, the newest with a dot; values that are not finite are gaps.

    Args:
        title: what it shows.
        values: the numbers.
    """
    kept = [v if v is not None and abs(v) <= LARGEST else None for v in values]
    known = [v for v in kept if v is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    span = high - low

    def at(place: int, value: float) -> str:
        x = 3 + (_WIDTH - 7) * (place / (len(kept) - 1) if len(kept) > 1 else 1.0)
        y = _HEIGHT / 2 if not span else _HEIGHT - 3 - (_HEIGHT - 6) * (value - low) / span
        return f"{px(x)} {px(y)}"

    path, pen = [], "M"
    for place, value in enumerate(kept):
        if value is not None:
            path.append(pen + at(place, value))
        pen = "M" if value is None else "L"
    parts: list[Markup] = []
    if known:
        newest = max(place for place, value in enumerate(kept) if value is not None)
        x, y = at(newest, known[-1]).split(" ")
        parts = [
            element("path", {"class": "il-l", "d": "".join(path)}),
            element("circle", {"class": "il-d", "cx": x, "cy": y, "r": 3}),
        ]
    told = f"{len(known)} values from {low:g} to {high:g}, newest {known[-1]:g}." if known else "No values yet."
    rows = tuple((str(place + 1), "" if v is None else f"{v:g}") for place, v in enumerate(kept))
    body = element("g", {"class": "il-s0"}, *parts)
    return Picture(title, told, _WIDTH, _HEIGHT, body, Table(title, ("Place", "Value"), rows))


def share_bar(title: str, parts: Sequence[tuple[str, float]]) -> Picture:
    """Return shares of a whole as one bar, from left to right.

    Args:
        title: what it shows.
        parts: name and share (0-1) of each; what is missing to 1 stays empty.
    """
    shapes, x = [element("rect", {"class": "il-quiet", "y": 2, "width": _BAR, "height": 12, "rx": 3})], 0.0
    for number, (name, share) in enumerate(parts):
        width = max(0.0, min(share, 1.0 - x)) * _BAR
        box: Attributes = {"x": px(x * _BAR), "y": 2, "width": px(max(0.0, width - 1.5)), "height": 12, "rx": 3}
        told = element("title", {}, f"{name}: {percent(share)}")
        shape = element("rect", {"class": "il-part", **box}, told)
        shapes.append(element("g", {"class": f"il-s{number % _LOOKS}"}, shape))
        x += width / _BAR
    told_all = ", ".join(f"{name} {percent(share)}" for name, share in parts) or "Nothing has a share."
    rows = tuple((name, f"{percent(share)}") for name, share in parts)
    return Picture(title, told_all, _BAR, 16, fragment(shapes), Table(title, ("Part", "Share"), rows))

"""Where things go in a picture: ticks, columns of windows, labels that do not touch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST: Final = 1e150  # beyond it differences and products overflow; nothing that people measure is there
LETTER: Final = 6.7  # about the mean width of a letter at 12 px, in the widest of the system fonts


class Across(msgspec.Struct, frozen=True):
    """Columns of equal width, one a window, so that pictures below each other line up.

    Attributes:
        count: how many there are.
        left, right: the gutters for labels.
    """

    count: int
    left: int = 44
    right: int = 132

    @property
    def plot(self) -> int:
        """The width of all columns together."""
        return min(820, max(480, 24 * self.count))

    @property
    def width(self) -> int:
        """The width of the picture."""
        return self.left + self.plot + self.right

    @property
    def step(self) -> float:
        """The width of one column."""
        return self.plot / max(1, self.count)

    def x(self, place: int) -> float:
        """Return the middle of a column."""
        return self.left + self.step * (place + 0.5)

    def shown(self, labels: Sequence[str]) -> list[int]:
        """Return the places whose labels have room below the columns: evenly spaced, the newest among them."""
        longest = max((len(label) for label in labels), default=0)
        every = max(1, math.ceil((longest * LETTER + 14) / self.step))
        return [place for place in range(len(labels)) if (len(labels) - 1 - place) % every == 0]


def px(value: float) -> str:
    """Return a coordinate with at most one decimal."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def percent(share: float) -> str:
    """Return a share (0-1) as people read it: `10%`, `2.5%`."""
    return f"{share * 100:.4g}%"


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Return round numbers from `low` to `high`, about so many."""
    if not high > low:
        return [low]
    rough = (high - low) / about
    power: float = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [place * step for place in range(first, last + 1)]


def decimals(values: Sequence[float]) -> int:
    """Return how many decimals tell ticks apart, at most six."""
    for places in range(6):
        if all(abs(value - round(value, places)) < 1e-9 * max(1.0, abs(value)) for value in values):
            return places
    return 6


def apart(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return places moved so that neighbours are at least `gap` apart, from `low` to `high`."""
    order = sorted(range(len(places)), key=lambda i: (places[i], i))
    moved = list(places)
    floor = low
    for i in order:
        moved[i] = floor = max(moved[i], floor)
        floor += gap
    ceiling = high
    for i in reversed(order):
        moved[i] = ceiling = min(moved[i], ceiling)
        ceiling -= gap
    return moved

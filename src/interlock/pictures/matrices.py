"""The confusion matrix: which class was taken for which. Each cell has its number; the shade only repeats it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.pictures.markup import Attributes, Markup, element, fragment
from interlock.pictures.picture import Picture, Table
from interlock.pictures.scales import LETTER, percent, px

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST: Final = 30  # classes; of more, those with the most rows are drawn
_TOP: Final = 44
_ROW: Final = 34
_NARROW: Final = 44  # a cell below has no room for two lines
_WIDEST: Final = 96
_ROOM: Final = 640
_LETTERS: Final = 22
_DARKEST: Final = 0.45  # of the accent: ink on it has a contrast of 5 and more in both themes


def confusion_chart(title: str, names: Sequence[str], counts: Sequence[Sequence[int]]) -> Picture:
    """Return a confusion matrix: true classes from top to bottom, chosen ones from left to right.

    Args:
        title: what it shows.
        names: the classes.
        counts: for each true class, how often each class was chosen.

    Cost: O(classes * classes), at most 30 classes; the words count all.
    """
    shown = sorted(sorted(range(len(names)), key=lambda i: (-sum(counts[i]), i))[:MOST])
    across = max(24.0, min(float(_WIDEST), _ROOM / max(1, len(shown))))
    left = 24 + int(LETTER * max((len(_cut(names[i], _LETTERS)) for i in shown), default=0))
    width = max(left + int(across * len(shown)) + 8, 240)
    parts = [
        element("text", {"class": "il-soft", "x": left, "y": 14}, "chosen"),
        element("text", {"class": "il-soft", "x": 4, "y": _TOP - 6}, "true"),
    ]
    for place, column in enumerate(shown):
        middle = left + across * (place + 0.5)
        label = _cut(names[column], int(across / LETTER))
        parts.append(element("text", {"x": px(middle), "y": _TOP - 10, "text-anchor": "middle"}, label))
    for place, row in enumerate(shown):
        y = _TOP + _ROW * place
        parts.append(element("text", {"x": 4, "y": y + 21}, _cut(names[row], _LETTERS)))
        whole = sum(counts[row])
        cells = [_cell(left + across * i, y, across, counts[row][column], whole) for i, column in enumerate(shown)]
        parts.append(element("g", {"class": "il-s0"}, *cells))
    table = Table(title, ("True", *names), tuple((names[i], *(f"{n:,}" for n in row)) for i, row in enumerate(counts)))
    return Picture(title, _told(names, counts), width, _TOP + _ROW * len(shown) + 8, fragment(parts), table)


def _cell(x: float, y: int, across: float, count: int, whole: int) -> Markup:
    """Return one cell: its number, and below it the share of the true class, where there is room."""
    share = count / whole if whole else 0.0
    box: Attributes = {"class": "il-part", "x": px(x + 1), "y": y + 1, "width": px(across - 2), "height": _ROW - 2}
    middle: Attributes = {"x": px(x + across / 2), "text-anchor": "middle"}
    number = f"{count:,}"
    fits = across >= _NARROW and len(number) * LETTER <= across
    lines = [element("text", {**middle, "y": y + (15 if fits else 21)}, number if fits or count < 1000 else "\u2026")]
    if fits:
        lines.append(element("text", {**middle, "y": y + 28}, f"{share:.0%}" if whole else ""))
    shade = element("rect", {**box, "fill-opacity": f"{0.04 + share * (_DARKEST - 0.04):.3f}"})
    return element("g", {}, element("title", {}, f"{number} of {whole:,}, {percent(round(share, 4))}"), shade, *lines)


def _told(names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    rows = sum(map(sum, counts))
    right = sum(counts[i][i] for i in range(len(names)))
    told = f"{right:,} of {rows:,} rows got their true class."
    wrong = [(counts[i][j], i, j) for i in range(len(names)) for j in range(len(names)) if i != j and counts[i][j]]
    if wrong:
        most, i, j = max(wrong, key=lambda found: (found[0], -found[1], -found[2]))
        told += f" Most often confused: {names[i]} taken for {names[j]}, {most:,} times."
    if len(names) > MOST:
        told += f" Of {len(names)} classes the {MOST} with the most rows are drawn."
    return told


def _cut(name: str, letters: int) -> str:
    return name if len(name) <= letters else f"{name[: max(1, letters - 1)]}\u2026"

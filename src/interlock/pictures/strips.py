"""The heat strip: how bad each column was in each window. Size says it too, not colour alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from interlock.pictures.lines import window_labels
from interlock.pictures.markup import Attributes, Markup, element, fragment
from interlock.pictures.picture import Picture, Table
from interlock.pictures.scales import LETTER, Across, px

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROW: Final = 20
_TOP: Final = 32
_LOOKS: Final = ("il-quiet", "il-warn", "il-alarm")
_SIZES: Final = (4.0, 10.0, 16.0)


class Heat(msgspec.Struct, frozen=True):
    """One row of the strip.

    Attributes:
        name: what the row is about.
        levels: by window: 0, 1 or 2, or None where nothing is known.
        values: by window, the number behind the level as a text.
        note: one sentence about the row, for the pointer.
    """

    name: str
    levels: tuple[int | None, ...]
    values: tuple[str, ...]
    note: str = ""


def heat_strip(
    title: str, labels: Sequence[str], rows: Sequence[Heat], words: tuple[str, str, str] = ("none", "warn", "alarm")
) -> Picture:
    """Return rows by windows, oldest first; its columns line up with those of `line_chart`.

    Args:
        title: what it shows.
        labels: the name of each window.
        rows: from top to bottom.
        words: what the three levels are called.

    Cost: O(windows * rows).
    """
    across = Across(len(labels))
    bottom = _TOP + _ROW * len(rows)
    parts = [_legend(across, words), *(_row(across, place, row) for place, row in enumerate(rows))]
    parts += window_labels(across, labels, bottom + 16)
    cells = tuple((label, *(_cell(row, i, words) for row in rows)) for i, label in enumerate(labels))
    bad = [row.name for row in rows if any(level for level in row.levels)]
    told = f"{len(rows)} rows over {len(labels)} windows. " + (
        f"Beyond {words[0]}: {', '.join(bad[:20])}." if bad else f"All are {words[0]}."
    )
    table = Table(title, ("Window", *(row.name for row in rows)), cells)
    return Picture(title, told, across.width, bottom + 26, fragment(parts), table)


def _row(across: Across, place: int, row: Heat) -> Markup:
    """Return one row: its cells as one path a level, and its name at the newest end."""
    middle = _TOP + _ROW * (place + 0.5)
    widest = max(2.0, across.step - 2)
    paths = []
    for level, look in enumerate(_LOOKS):
        wide, tall = min(_SIZES[level], widest), _SIZES[level]
        shape = f"h{px(wide)}v{px(tall)}h-{px(wide)}z"
        at = [i for i, found in enumerate(row.levels[: across.count]) if found == level]
        path = "".join(f"M{px(across.x(i) - wide / 2)} {px(middle - tall / 2)}{shape}" for i in at)
        if path:
            paths.append(element("path", {"class": look, "d": path}))
    room = int((across.right - 12) / LETTER)
    name = row.name if len(row.name) <= room else f"{row.name[: room - 1]}\u2026"
    hit: Attributes = {
        "class": "il-hit",
        "x": across.left,
        "y": px(middle - _ROW / 2),
        "width": across.width - across.left,
    }
    return element(
        "g",
        {},
        element("title", {}, row.note or row.name),
        element("rect", {**hit, "height": _ROW}),
        *paths,
        element("text", {"x": across.left + across.plot + 8, "y": px(middle + 4)}, name),
    )


def _cell(row: Heat, place: int, words: tuple[str, str, str]) -> str:
    level = row.levels[place] if place < len(row.levels) else None
    if level is None:
        return ""
    value = row.values[place] if place < len(row.values) else ""
    return f"{value} {words[level]}".strip() if level else value or words[0]


def _legend(across: Across, words: tuple[str, str, str]) -> Markup:
    parts: list[Markup] = []
    x = 0.0
    for word, look, size in zip(words, _LOOKS, _SIZES, strict=True):
        square = f"M{px(x + 8 - size / 2)} {px(12 - size / 2)}h{px(size)}v{px(size)}h-{px(size)}z"
        parts += [element("path", {"class": look, "d": square}), element("text", {"x": px(x + 24), "y": 16}, word)]
        x += 24 + len(word) * LETTER + 24
    return element("g", {"transform": f"translate({px(across.width - x + 16)} 0)"}, *parts)

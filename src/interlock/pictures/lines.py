"""The line chart: values over windows with their intervals, bounds they are held against, and what happened when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from interlock.pictures.markup import Attributes, Markup, element, fragment
from interlock.pictures.picture import Picture, Table
from interlock.pictures.scales import LARGEST, LETTER, Across, apart, decimals, px, ticks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TOP: Final = 64
_HEIGHT: Final = 190
_DOTS: Final = 8.0  # the narrowest column that has a dot and whiskers
_HITS: Final = 120  # the most columns that answer to the pointer
_SERIES: Final = 4


class Series(msgspec.Struct, frozen=True):
    """Values by window; None where there is none.

    Attributes:
        low, high: the interval of each value, or empty.
        interval: drawn as a band, or as whiskers.
    """

    name: str
    values: tuple[float | None, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    interval: Literal["band", "whiskers"] = "band"


class Level(msgspec.Struct, frozen=True):
    """A bound that holds in every window."""

    name: str
    value: float


class Mark(msgspec.Struct, frozen=True):
    """Something that happened in a window: a `change` before it, an `alarm`, a `wait` for something.

    Attributes:
        last: the window until which it lasted; without it, `place` alone.
    """

    place: int
    label: str
    kind: Literal["change", "alarm", "wait"] = "change"
    last: int = -1

    def covers(self, place: int) -> bool:
        """Return whether a window is one of those that it lasted."""
        return self.place <= place <= max(self.place, self.last)


class _Frame(msgspec.Struct, frozen=True):
    """Where values go."""

    across: Across
    low: float
    high: float

    def y(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return _TOP + _HEIGHT * (1 - share)


def line_chart(
    title: str,
    labels: Sequence[str],
    series: Sequence[Series],
    *,
    levels: Sequence[Level] = (),
    marks: Sequence[Mark] = (),
    places: int = 3,
) -> Picture:
    """Return values over windows, oldest first.

    A line does not go on over a change.

    Args:
        title: what it shows.
        labels: the name of each window.
        series: at most four, the most important first; values that are not finite are left out.
        levels: bounds, drawn across.
        marks: what happened.
        places: decimals of values in words and in the table.

    Cost: O(windows * series).
    """
    series = [_finite(found, len(labels)) for found in series[:_SERIES]]
    across = Across(len(labels))
    frame = _Frame(across, *_range(series, levels))
    marks = [mark for mark in marks if 0 <= mark.place < len(labels)]
    parts = [*_ground(frame, labels), *(_level(frame, level) for level in levels)]
    parts += [_mark(frame, mark) for mark in marks]
    breaks = {mark.place for mark in marks if mark.kind == "change"}
    parts += [_series(frame, n, found, breaks) for n, found in reversed(list(enumerate(series)))]
    parts += [_names(frame, series, levels, places), _legend(across, series, marks)]
    table = _table(title, labels, series, marks, places)
    if len(labels) <= _HITS:
        parts += [_hit(frame, place, table) for place in range(len(labels))]
    return Picture(
        title=title,
        text=_words(labels, series, levels, marks, places),
        width=across.width,
        height=_TOP + _HEIGHT + 30,
        body=fragment(parts),
        table=table,
    )


def _finite(series: Series, count: int) -> Series:
    def clean(values: Sequence[float | None]) -> tuple[float | None, ...]:
        padded = [*values[:count], *[None] * (count - len(values))]
        return tuple(v if v is not None and abs(v) <= LARGEST else None for v in padded)  # NaN is not <=

    return msgspec.structs.replace(
        series,
        values=clean(series.values),
        low=clean(series.low) if series.low else (),
        high=clean(series.high) if series.high else (),
    )


def _range(series: Sequence[Series], levels: Sequence[Level]) -> tuple[float, float]:
    """Return what the axis spans: all values and levels, and all intervals, unless a few are far wider than most."""
    values = [v for s in series for v in s.values if v is not None] + [level.value for level in levels]
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    room = (high - low) * 0.1 or abs(high) * 0.02 or 0.5
    lows = sorted(v for s in series for v in s.low if v is not None)
    highs = sorted((v for s in series for v in s.high if v is not None), reverse=True)
    few = len(lows) // 10, len(highs) // 10
    most = min([low - room, *lows[few[0] : few[0] + 1]]), max([high + room, *highs[few[1] : few[1] + 1]])
    every = min([low - room, *lows[:1]]), max([high + room, *highs[:1]])
    return every if every[1] - every[0] <= 1.5 * (most[1] - most[0]) else most


def _ground(frame: _Frame, labels: Sequence[str]) -> Iterator[Markup]:
    """Yield the grid and what stands at its edges."""
    across = frame.across
    found = ticks(frame.low, frame.high)
    precision = decimals(found)
    for value in found:
        y = px(frame.y(value))
        yield element("path", {"class": "il-grid", "d": f"M{across.left} {y}h{across.plot}"})
        at: Attributes = {"class": "il-soft", "text-anchor": "end", "x": across.left - 8, "y": px(frame.y(value) + 4)}
        yield element("text", at, f"{value:.{precision}f}")
    yield from window_labels(across, labels, _TOP + _HEIGHT + 20)


def window_labels(across: Across, labels: Sequence[str], y: float) -> Iterator[Markup]:
    """Yield the names of windows that have room, below their columns."""
    for place in across.shown(labels):
        half = len(labels[place]) * LETTER / 2
        x = min(across.x(place), across.width - half)
        yield element("text", {"class": "il-soft", "text-anchor": "middle", "x": px(x), "y": px(y)}, labels[place])


def _level(frame: _Frame, level: Level) -> Markup:
    line = f"M{frame.across.left} {px(frame.y(level.value))}h{frame.across.plot}"
    return element("path", {"class": "il-level", "d": line})


def _mark(frame: _Frame, mark: Mark) -> Markup:
    across = frame.across
    if mark.kind == "change":
        x = px(across.x(mark.place) - across.step / 2)
        flag = element("text", {"class": "il-soft", "x": px(float(x) + 4), "y": _TOP - 18}, mark.label)
        return fragment((element("path", {"class": "il-mark", "d": f"M{x} {_TOP - 28}v{_HEIGHT + 28}"}), flag))
    look = "il-alarm" if mark.kind == "alarm" else "il-wait"
    start, end = across.x(mark.place), across.x(min(max(mark.place, mark.last), across.count - 1))
    span = (
        element("path", {"class": f"{look}-span", "d": f"M{px(start)} {_TOP - 8}H{px(end)}"}) if end > start else None
    )
    return fragment((span, element("path", {"class": look, "d": _triangle(start, _TOP - 8)})))


def _triangle(x: float, y: float) -> str:
    return f"M{px(x - 5)} {px(y - 4.5)}h10l-5 9z"


def _series(frame: _Frame, number: int, series: Series, breaks: set[int]) -> Markup:
    parts: list[Markup] = []
    across, dots = frame.across, frame.across.step >= _DOTS
    for run in _runs(series.values, breaks):
        points = [(across.x(i), frame.y(series.values[i] or 0.0)) for i in run]
        if series.low and series.high and (series.interval == "band"):
            parts.append(_band(frame, series, run))
        if len(points) == 1 and not (dots and series.interval == "whiskers"):
            points = [(points[0][0] - across.step / 4, points[0][1]), (points[0][0] + across.step / 4, points[0][1])]
        if len(points) > 1:
            line = "M" + "L".join(f"{px(x)} {px(y)}" for x, y in points)
            parts.append(element("path", {"class": "il-l", "d": line}))
    if series.interval == "whiskers" and dots:
        spans = zip(series.values, series.low, series.high, strict=False)
        lines = [
            f"M{px(across.x(i))} {px(frame.y(low))}V{px(frame.y(high))}"
            for i, (value, low, high) in enumerate(spans)
            if value is not None and low is not None and high is not None
        ]
        parts.insert(0, element("path", {"class": "il-w", "d": "".join(lines)}))
        parts += [
            element("circle", {"class": "il-d", "cx": px(across.x(i)), "cy": px(frame.y(value)), "r": px(3.5)})
            for i, value in enumerate(series.values)
            if value is not None
        ]
    return element("g", {"class": f"il-s{number}"}, *parts)


def _band(frame: _Frame, series: Series, run: Sequence[int]) -> Markup:
    """Return the interval of a run of windows as an area; a single window's is half a column wide."""
    half = frame.across.step / 4 if len(run) == 1 else 0.0
    upper, lower = [], []
    for i in run:
        value = series.values[i] or 0.0
        low, high = series.low[i], series.high[i]
        for x in sorted({frame.across.x(i) - half, frame.across.x(i) + half}):
            upper.append(f"{px(x)} {px(frame.y(value if high is None else high))}")
            lower.append(f"{px(x)} {px(frame.y(value if low is None else low))}")
    return element("path", {"class": "il-b", "d": "M" + "L".join([*upper, *reversed(lower)]) + "z"})


def _runs(values: Sequence[float | None], breaks: set[int]) -> Iterator[list[int]]:
    """Yield the places of values without a gap or a change between them."""
    run: list[int] = []
    for place, value in enumerate(values):
        if run and (value is None or place in breaks):
            yield run
            run = []
        if value is not None:
            run.append(place)
    if run:
        yield run


def _names(frame: _Frame, series: Sequence[Series], levels: Sequence[Level], places: int) -> Markup:
    """Return the newest value of each series and each level, beside the end of its line."""
    ends = []
    for number, found in enumerate(series):
        newest = next((v for v in reversed(found.values) if v is not None), None)
        if newest is not None:
            ends.append((frame.y(newest), f"il-s{number}", "il-s", f"{found.name} {newest:.{places}f}"))
    ends += [(frame.y(level.value), "", "il-level", f"{level.name} {level.value:.{places}f}") for level in levels]
    moved = apart([end[0] for end in ends], 16, _TOP, _TOP + _HEIGHT)
    x = frame.across.left + frame.across.plot + 8
    return fragment(
        element("g", {"class": group or None}, element("text", {"class": look, "x": x, "y": px(y + 4)}, text))
        for y, (_, group, look, text) in zip(moved, ends, strict=True)
    )


def _legend(across: Across, series: Sequence[Series], marks: Sequence[Mark]) -> Markup:
    """Return what lines and signs mean, at the newest end, which is seen first where there is little room."""
    parts: list[Markup] = []
    x = 0.0

    def add(sign: Markup, text: str) -> None:
        nonlocal x
        parts.append(fragment((sign, element("text", {"x": px(x + 34), "y": 16}, text))))
        x += 34 + len(text) * LETTER + 24

    for number, found in enumerate(series):
        band = element("path", {"class": "il-b", "d": f"M{px(x)} 6h28v12h-28z"}) if found.low else None
        line = element("path", {"class": "il-l", "d": f"M{px(x)} 12h28"})
        shown = [band, line] if found.interval == "band" else [line]
        if found.interval == "whiskers":
            shown.append(element("path", {"class": "il-w", "d": f"M{px(x + 14)} 5v14"}))
            shown.append(element("circle", {"class": "il-d", "cx": px(x + 14), "cy": 12, "r": px(3.5)}))
        add(element("g", {"class": f"il-s{number}"}, *shown), found.name + (" with interval" if found.low else ""))
    for kind, look in (("alarm", "il-alarm"), ("wait", "il-wait")):
        words = sorted({mark.label for mark in marks if mark.kind == kind})
        if words:
            add(element("path", {"class": look, "d": _triangle(x + 22, 12)}), ", ".join(words))
    return element("g", {"transform": f"translate({px(across.width - x + 16)} 0)"}, *parts)


def _hit(frame: _Frame, place: int, table: Table) -> Markup:
    """Return an unseen column that tells its numbers to the pointer."""
    row = table.rows[place]
    told = "\n".join([row[0], *(f"{n}: {v}" for n, v in zip(table.header[1:], row[1:], strict=True) if v)])
    x, step = frame.across.x(place) - frame.across.step / 2, frame.across.step
    line = f"M{px(x)} {_TOP - 20}h{px(step)}v{_HEIGHT + 20}h-{px(step)}z"
    return element("path", {"class": "il-hit", "d": line}, element("title", {}, told))


def _table(title: str, labels: Sequence[str], series: Sequence[Series], marks: Sequence[Mark], places: int) -> Table:
    def cell(found: Series, i: int) -> str:
        value = found.values[i]
        if value is None:
            return ""
        low, high = (found.low or (None,) * len(labels))[i], (found.high or (None,) * len(labels))[i]
        return f"{value:.{places}f}" + (
            f" [{low:.{places}f}, {high:.{places}f}]" if low is not None and high is not None else ""
        )

    def events(i: int) -> str:
        return ", ".join(mark.label for mark in marks if mark.covers(i))

    rows = tuple((label, *(cell(s, i) for s in series), events(i)) for i, label in enumerate(labels))
    return Table(title, ("Window", *(s.name for s in series), "Events"), rows)


def _words(
    labels: Sequence[str], series: Sequence[Series], levels: Sequence[Level], marks: Sequence[Mark], places: int
) -> str:
    """Return what the chart shows as sentences."""
    if not labels:
        return "There are no windows yet."
    told = [f"{len(labels)} windows from {labels[0]} to {labels[-1]}."]
    for found in series:
        values = [v for v in found.values if v is not None]
        if values:
            span = f"from {min(values):.{places}f} to {max(values):.{places}f}, newest {values[-1]:.{places}f}"
            told.append(f"{found.name} in {len(values)} windows {span}.")
    told += [f"{level.name} {level.value:.{places}f}." for level in levels]
    told += [_happened(labels, mark) for mark in marks[:12]]
    return " ".join(told)


def _happened(labels: Sequence[str], mark: Mark) -> str:
    until = f" to {labels[min(mark.last, len(labels) - 1)]}" if mark.last > mark.place else ""
    return f"{mark.label} at {labels[mark.place]}{until}."

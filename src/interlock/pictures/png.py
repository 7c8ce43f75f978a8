"""Pictures as PNG, for documents that take no SVG; drawn by resvg, which the extra `pictures` brings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from interlock.core.errors import MissingExtra
from interlock.pictures.styles import STYLE

if TYPE_CHECKING:
    from interlock.pictures.picture import Picture

_SERIES: Final = re.compile(r"\.il-s(\d)\{--il-s:var\(--il-(\w+)\);?\}")
_COLOURS: Final = re.compile(r"--il-([\w-]+):(#[0-9a-f]{6})")
_ZOOM: Final = 2.0  # for screens with small pixels, and print


def to_png(picture: Picture) -> bytes:
    """Return a picture as PNG, in the light theme, at twice its natural size.

    Raises:
        MissingExtra: resvg is not installed.
    """
    try:
        from resvg_py import svg_to_bytes
    except ModuleNotFoundError:
        raise MissingExtra.named("picture", "resvg_py") from None
    svg = picture.standalone().replace(STYLE, _plain(STYLE))
    return bytes(svg_to_bytes(svg_string=svg, zoom=_ZOOM, sans_serif_family="DejaVu Sans"))


def _plain(style: str) -> str:
    """Return a style sheet without variables and themes, which the renderer does not know."""
    light = dict(_COLOURS.findall(style.partition("@media")[0]))
    rules = re.sub(r"@media[^{]*\{(?:[^{}]*\{[^{}]*\})*\}", "", style)
    found = []
    for selector, body in re.findall(r"([^{}]+)\{([^{}]*)\}", rules):
        if "var(--il-s)" not in body:
            found.append(f"{selector}{{{body}}}")
            continue
        for number, colour in _SERIES.findall(style):
            own = ",".join(f".il-s{number} {part.strip().removeprefix('svg.il ')}" for part in selector.split(","))
            if selector.startswith(".il-s") and f".il-s{number} " not in selector:
                continue  # the dashes of another series
            found.append(f"{own}{{{body.replace('var(--il-s)', light[colour])}}}")
    return re.sub(r"var\(--il-([\w-]+)\)", lambda match: light.get(match[1], "#000000"), "".join(found))

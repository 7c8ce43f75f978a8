"""Pictures as PNG, for documents that take no SVG; drawn by resvg, which the extra `pictures` brings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.core.errors import MissingExtra
from interlock.pictures.styles import LIGHT, PLAIN

if TYPE_CHECKING:
    from interlock.pictures.picture import Picture

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
    svg = picture.standalone().replace(PLAIN, LIGHT)
    return bytes(svg_to_bytes(svg_string=svg, zoom=_ZOOM, sans_serif_family="DejaVu Sans"))

"""Pictures: numbers in, SVG and its table out. One function feeds the page, the report and the notebook."""

from __future__ import annotations

from interlock.pictures.curves import Curve, curve_chart
from interlock.pictures.lines import Level, Mark, Series, line_chart
from interlock.pictures.markup import Markup, element, fragment
from interlock.pictures.matrices import confusion_chart
from interlock.pictures.picture import Picture, Table
from interlock.pictures.png import to_png
from interlock.pictures.rings import Station, ring
from interlock.pictures.sparks import share_bar, sparkline
from interlock.pictures.strips import Heat, heat_strip
from interlock.pictures.styles import STYLE
from interlock.pictures.whiskers import Whisker, whisker_chart

__all__ = [
    "STYLE",
    "Curve",
    "Heat",
    "Level",
    "Mark",
    "Markup",
    "Picture",
    "Series",
    "Station",
    "Table",
    "Whisker",
    "confusion_chart",
    "curve_chart",
    "element",
    "fragment",
    "heat_strip",
    "line_chart",
    "ring",
    "share_bar",
    "sparkline",
    "to_png",
    "whisker_chart",
]

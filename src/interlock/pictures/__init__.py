"""Numbers in, SVG and its table out."""

from __future__ import annotations

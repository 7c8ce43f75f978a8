"""Other systems, one file each."""

from __future__ import annotations

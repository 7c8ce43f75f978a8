"""Pages: server-made HTML."""

from __future__ import annotations

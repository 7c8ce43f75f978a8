"""Formats: what a file is, told by its content. Nothing is unpickled, imported, unpacked or followed."""

from __future__ import annotations

from interlock.registry.formats.look import look_into
from interlock.registry.formats.verdict import Kind, Verdict

__all__ = ["Kind", "Verdict", "look_into"]

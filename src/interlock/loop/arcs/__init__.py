"""The arcs of the ring, one file each: what follows from an alarm, a validation, an approval, a canary."""

from __future__ import annotations

"""The ring: interlock.toml, jobs, triggers, and one file an arc."""

from __future__ import annotations

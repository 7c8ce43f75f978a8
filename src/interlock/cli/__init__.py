"""The command line: operations as commands, and a few verbs that people type all day."""

from __future__ import annotations

"""The demo: the example project run by a script, through the same operations that everybody calls."""

from __future__ import annotations

from interlock.demo.main import run_demo

__all__ = ["run_demo"]

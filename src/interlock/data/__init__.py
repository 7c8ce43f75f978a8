"""The ledger of data: datasets, their versions, profiles and contracts.

`interlock.data.load("people@3")` returns the rows of a version; the run that goes on remembers that it read them.
"""

from __future__ import annotations

from interlock.data.loading import load

__all__ = ["load"]

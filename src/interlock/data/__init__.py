"""The ledger of data: datasets, their versions, profiles and contracts."""

from __future__ import annotations

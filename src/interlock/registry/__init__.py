"""The ledger of models: models, versions, aliases, life cycle."""

from __future__ import annotations

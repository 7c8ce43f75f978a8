"""The ledger of training: experiments, runs, params, metrics, artifacts, environments."""

from __future__ import annotations

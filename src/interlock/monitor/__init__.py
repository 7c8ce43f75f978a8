"""Whether a deployed model still deserves its traffic: drift, quality, verdicts."""

from __future__ import annotations

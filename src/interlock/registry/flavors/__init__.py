"""Model flavors: how an estimator of some library becomes a bundle that is served without its code."""

from __future__ import annotations

from interlock.registry.flavors.build import build_bundle
from interlock.registry.flavors.scoring import THRESHOLD, score_frame

__all__ = ["THRESHOLD", "build_bundle", "score_frame"]

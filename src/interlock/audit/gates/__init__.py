"""Gates: one file each. They judge recorded evidence against a policy, and come in through `interlock.gate`."""

from __future__ import annotations

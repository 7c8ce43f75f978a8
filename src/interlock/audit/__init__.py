"""Gates, findings, approvals and waivers: what a version must pass to move forward."""

from __future__ import annotations

"""Deployments: revisions, routes, canaries and rollbacks."""

from __future__ import annotations

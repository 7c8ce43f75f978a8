"""Conformance suites for every port, which third parties can run too."""

from __future__ import annotations

"""Conformance suites for every port, which third parties can run too.

from interlock.testing import check_object_store

def test_mine(): check_object_store(MyStore(...))
"""

from __future__ import annotations

from interlock.testing.database import check_database
from interlock.testing.formats import check_data_format
from interlock.testing.objects import check_object_store, check_removable

__all__ = ["check_data_format", "check_database", "check_object_store", "check_removable"]

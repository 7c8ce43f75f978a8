"""docs/reference says what the code says."""

from __future__ import annotations

import importlib.util

import pytest


def test_reference_pages_are_up_to_date(root) -> None:
    if not (root / "docs/reference").is_dir():
        pytest.skip("no reference pages yet: make docs")
    spec = importlib.util.spec_from_file_location("reference", root / "scripts/reference.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    stale = [name for name, text in module.pages().items() if (root / "docs/reference" / name).read_text() != text]
    assert stale == [], "run: make docs"

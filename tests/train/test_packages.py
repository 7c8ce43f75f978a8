"""Versions are those of the metadata, found by what a package holds."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from interlock.train.origins import GENERATED, OURS, PACKAGE, STANDARD, Origins
from interlock.train.packages import installed, needs, owner, versions


@pytest.mark.parametrize(
    ("top", "name"),
    [
        ("sklearn", "scikit-learn"),
        ("polars", "polars"),
        ("dateutil", "python-dateutil"),
        ("_pytest", "pytest"),
        ("nowhere", ""),
    ],
)
def test_modules_belong_to_distributions(top: str, name: str) -> None:
    assert owner(top) == name


def test_versions_are_those_of_the_metadata() -> None:
    found = versions(frozenset({"sklearn", "nowhere"}))
    assert found.pop("nowhere") == "unknown"
    assert {"scikit-learn", "numpy", "scipy", "joblib", "threadpoolctl"} <= set(found)
    assert found == {name: metadata.version(name) for name in found}
    assert "pytest" not in needs("scikit-learn"), "what only an extra needs does not count"
    assert set(needs("scikit-learn")) <= set(installed())


def test_files_have_origins(tmp_path: Path) -> None:
    import email.parser

    import numpy as np

    import interlock.train

    whose = Origins(tmp_path)
    assert whose.file(str(tmp_path / "a.py")) == OURS
    assert whose.file(str(tmp_path / ".venv/lib/python3/site-packages/a.py")) == PACKAGE
    assert whose.file(str(tmp_path.parent / "beside" / "a.py")) == OURS, "nothing else pins it"
    assert whose.file(np.__file__) == PACKAGE
    assert whose.file(interlock.train.__file__) == PACKAGE
    assert whose.file(email.parser.__file__) == STANDARD
    assert whose.file("<frozen importlib>") == STANDARD
    assert whose.file("<string>") == GENERATED
    assert [whose.module(name) for name in ("os", "numpy.linalg", "not.loaded")] == [STANDARD, PACKAGE, PACKAGE]
    assert whose.is_below(str(tmp_path / "a.py"))
    assert not whose.is_below(str(tmp_path.parent / "beside" / "a.py"))

"""What the set-up installs is exact, and is what pyproject.toml asks for."""

from __future__ import annotations

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ENTRY = re.compile(r"([a-z0-9.-]+)==([\w.]+) [^\n]*\\?\n +--hash=sha256:")


@pytest.fixture(scope="module")
def locked(root) -> dict[str, list[str]]:
    """Return the entries of each list, hashes and all."""
    lists = sorted((root / "requirements").glob("*.txt"))
    return {path.stem: re.split(r"\n(?=\S)", path.read_text()) for path in lists}


def test_every_entry_is_pinned_and_hashed(locked) -> None:
    assert set(locked) == {"contracts", "contracts-azure", "contracts-serving", "demo", "dev"}
    assert [entry for entries in locked.values() for entry in entries if not ENTRY.match(entry)] == []


def test_dev_holds_demo(locked) -> None:
    pins = {name: {entry.partition(" \\")[0] for entry in entries} for name, entries in locked.items()}
    assert pins["demo"] - pins["dev"] == set()


def test_the_lists_are_what_pyproject_asks_for(locked, pyproject) -> None:
    project, groups = pyproject["project"], dict(pyproject["dependency-groups"])
    others = {
        name: groups.pop(name) for name in ("contracts", "contracts-serving", "contracts-azure")
    }  # environments of their own
    ours = [
        *project["dependencies"],
        *(text for extra in project["optional-dependencies"].values() for text in extra),
        *(text for group in groups.values() for text in group if isinstance(text, str)),
    ]
    for name, wanted in {"dev": ours, **others}.items():
        assert unmet(locked[name], wanted) == [], "run: make lock"


def unmet(entries: list[str], wanted: list[str]) -> list[str]:
    """Return the requirements that a list does not hold, or not in a version that they allow."""
    pins = [(match[1], match[2]) for entry in entries if (match := ENTRY.match(entry))]
    requirements = [found for text in wanted if (found := Requirement(text)).name != "interlock"]
    return [
        str(requirement)
        for requirement in requirements
        if not any(name == canonicalize_name(requirement.name) and pin in requirement.specifier for name, pin in pins)
    ]

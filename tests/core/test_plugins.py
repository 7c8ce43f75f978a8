from __future__ import annotations

import sys
from pathlib import Path

import pytest

from interlock.core.errors import NotFound, Unavailable
from interlock.core.plugins import GROUPS, load, load_all, plugins

BROKEN = """\
[interlock.flavor]
broken = broken_plugin_for_test:Flavor
"""


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Install a distribution whose plug-in raises when it is imported."""
    (tmp_path / "broken_plugin_for_test.py").write_text("raise RuntimeError('no such device')\n")
    info = tmp_path / "broken_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(BROKEN)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    return "broken"


def test_a_broken_plugin_is_listed_with_its_error_and_stops_nothing(broken: str) -> None:
    found = {(p.group, p.name): p for p in plugins()}
    mine = found["interlock.flavor", broken]
    assert mine.error == "RuntimeError: no such device"
    assert mine.distribution == "broken-plugin"
    assert "sklearn" in load_all("interlock.flavor")
    assert broken not in load_all("interlock.flavor")
    with pytest.raises(Unavailable, match="no such device"):
        load("interlock.flavor", broken)


def test_our_own_blocks_come_in_through_the_same_door() -> None:
    ours = [p for p in plugins() if p.distribution == "interlock"]
    assert {p.group for p in ours} == set(GROUPS)
    assert [p for p in ours if p.error] == []


def test_an_unknown_name_lists_near_ones() -> None:
    with pytest.raises(NotFound, match="'sklearn'"):
        load("interlock.flavor", "sklean")


def test_nobody_slips_in_under_another_s_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "impostor-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: impostor\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[interlock.gate]\nmetric = collections:OrderedDict\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    with pytest.raises(Unavailable, match="impostor, interlock"):
        load("interlock.gate", "metric")

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.core.errors import Invalid, NotFound
from interlock.core.settings import SETTINGS, resolve

SOURCES = Path(__file__).parents[2] / "src" / "interlock"


def test_the_first_source_that_speaks_wins_and_is_remembered() -> None:
    found = resolve(
        arguments={"port": 1},
        environ={"INTERLOCK_PORT": "2", "INTERLOCK_HOST": "::1"},
        project={"port": 3, "host": "a", "workspace": "there"},
        user={"workspace": "elsewhere", "color": False},
    )
    assert (found["port"].value, found["port"].origin) == (1, "argument")
    assert (found["host"].value, found["host"].origin) == ("::1", "INTERLOCK_HOST")
    assert (found["workspace"].value, found["workspace"].origin) == ("there", "interlock.toml")
    assert (found["color"].value, found["color"].origin) == (False, "user file")
    assert set(found) == set(SETTINGS)
    assert {value.origin for value in resolve().values()} == {"default"}


def test_every_setting_is_read_somewhere() -> None:
    text = "\n".join(path.read_text("utf-8") for path in SOURCES.rglob("*.py"))
    unread = [name for name in SETTINGS if f'["{name}"].value' not in text]
    assert unread == [], "a setting that nobody reads promises what is not so"


def test_a_wrong_value_names_its_place() -> None:
    with pytest.raises(Invalid, match="INTERLOCK_PORT"):
        resolve(environ={"INTERLOCK_PORT": "many"})


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(NotFound, match="'port'"):
        resolve(project={"prot": 1})

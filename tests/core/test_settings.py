from __future__ import annotations

import pytest

from interlock.core.errors import Invalid, NotFound
from interlock.core.settings import SETTINGS, resolve


def test_the_first_source_that_speaks_wins_and_is_remembered() -> None:
    found = resolve(
        arguments={"port": 1},
        environ={"INTERLOCK_PORT": "2", "INTERLOCK_HOST": "::1"},
        project={"port": 3, "host": "a", "lease_s": 9},
        user={"lease_s": 8, "color": False},
    )
    assert (found["port"].value, found["port"].origin) == (1, "argument")
    assert (found["host"].value, found["host"].origin) == ("::1", "INTERLOCK_HOST")
    assert (found["lease_s"].value, found["lease_s"].origin) == (9, "interlock.toml")
    assert (found["color"].value, found["color"].origin) == (False, "user file")
    assert found["workspace"].origin == "default"
    assert set(found) == set(SETTINGS)


def test_a_wrong_value_names_its_place() -> None:
    with pytest.raises(Invalid, match="INTERLOCK_PORT"):
        resolve(environ={"INTERLOCK_PORT": "many"})


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(NotFound, match="'port'"):
        resolve(project={"prot": 1})

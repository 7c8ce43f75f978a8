"""What all tests share: no settings of this machine leak in, and no test fails for being slow."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile("interlock", settings(), deadline=None)  # on top of hypothesis' own choice for CI
settings.load_profile("interlock")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in [name for name in os.environ if name.startswith("INTERLOCK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "config"))

"""What a canary may stand beside."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from interlock.core.errors import Invalid
from interlock.deploy.trial import check_beside


class _Registry:
    def __init__(self, **bundles: Any) -> None:
        self._bundles = bundles

    def bundle(self, version: str) -> Any:
        if version not in self._bundles:
            raise Invalid("opaque", about="bundle")
        return self._bundles[version]


def record(target: str, task: str = "classification", classes: tuple[Any, ...] = (0, 1)) -> Any:
    return SimpleNamespace(target=target, task=task, classes=classes)


def test_a_canary_predicts_what_the_champion_does() -> None:
    registry: Any = _Registry(
        a=record("paid"),
        b=record("employed"),
        c=record("paid", "regression", ()),
        d=record("paid", classes=("n", "y")),
        e=record("paid"),
    )
    with pytest.raises(Invalid, match=r"a predicts 'paid' and b predicts 'employed'"):
        check_beside(registry, "a", "b")
    for other in "cd":
        with pytest.raises(Invalid, match="different kinds"):
            check_beside(registry, "a", other)
    check_beside(registry, "a", "e")
    check_beside(registry, "a", "opaque")  # its server judges it

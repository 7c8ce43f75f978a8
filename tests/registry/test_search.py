from __future__ import annotations

import pytest

from interlock.core.errors import Invalid
from interlock.registry.search import Wanted


def found(registry, **wanted) -> list[str]:
    return [version.ref.removeprefix("model:") for version in registry.find(Wanted(**wanted))]


def test_versions_are_found_by_what_is_known_of_them(registry, make, manifest) -> None:
    make("credit", description="Pays 100% back", owner="user:ann", tags={"team": "risk"})
    make("credit", bundle=manifest(a=b"a"), run="R1")
    make("churn", owner="user:bob")
    registry.tag("churn", {"team": "sales"})
    assert found(registry) == ["churn@1", "credit@2", "credit@1"]
    assert found(registry, text="PAYS") == ["credit@1"]
    assert found(registry, text="100%") == ["credit@1"]
    assert found(registry, text="_") == []
    assert found(registry, text="hur") == ["churn@1"]
    assert found(registry, model="credit", owner="user:ann") == ["credit@1"]
    assert found(registry, format="opaque", stage="registered") == ["credit@2"]
    assert found(registry, run="run:R1") == found(registry, run="R1") == ["credit@2"]
    assert found(registry, tags={"team": "risk"}) == ["credit@1"]
    assert found(registry, tags={"team": "sales"}) == ["churn@1"]
    assert found(registry, tags={"team": "risk", "x": "y"}) == []
    registry.archive("credit@2")
    assert found(registry, archived=True) == ["credit@2"]
    assert len(registry.find(limit=1)) == 1


@pytest.mark.parametrize("limit", [0, -1, 10_001])
def test_lists_are_bounded(registry, limit: int) -> None:
    with pytest.raises(Invalid):
        registry.find(limit=limit)

from __future__ import annotations

import pytest

from interlock.core.errors import NotFound


def told(registry, ref: str) -> list[tuple[str, str | None, str | None]]:
    return [(change.what, change.before, change.after) for change in registry.history(ref)]


def test_an_edit_keeps_what_was_there_before(registry, make) -> None:
    make("m", description="first", tags={"team": "risk"})
    registry.describe("m@1", description="second", owner="user:ann")
    registry.tag("m@1", {"team": "sales", "new": "1"}, ["nothing"])
    registry.tag("m@1", remove=["team"])
    registry.describe("m@1", description="third")
    registry.move("m@1", "retired", "old")
    assert told(registry, "m@1") == [
        ("created", None, None),
        ("description", None, "first"),
        ("tags.team", None, "risk"),
        ("description", "first", "second"),
        ("owner", None, "user:ann"),
        ("tags.team", "risk", "sales"),
        ("tags.new", None, "1"),
        ("tags.team", "sales", None),
        ("description", "second", "third"),
        ("stage", "created", "retired"),
    ]
    assert registry.history("m@1")[-1].reason == "old"
    assert all(change.actor for change in registry.history("m@1"))


def test_a_model_keeps_its_past_under_another_name(registry, make) -> None:
    make("m")
    registry.alias("m", "best", 1)
    registry.describe("model:m", description="text")
    registry.rename("m", "n")
    registry.alias("n", "best", 0)
    registry.archive("model:n", "over")
    registry.restore("model:n")
    wanted = [
        ("created", None, None),
        ("owner", None, registry.model("n").owner),
        ("alias.best", None, "1"),
        ("description", None, "text"),
        ("name", "m", None),
        ("alias.best", "1", None),
        ("archived", None, None),
        ("restored", None, None),
    ]
    assert told(registry, "model:n") == wanted == told(registry, "m")
    assert told(registry, "m@1")[0] == ("created", None, None)


def test_what_was_erased_is_said_to_be(registry, store, make) -> None:
    make("m", description="about ann")
    event = next(event for event in store.ledger.events(kinds=("model_version.created",)))
    store.database.write(lambda tx: store.ledger.erase(tx, event.index, "asked for"))
    assert told(registry, "m@1") == [("created", None, None)]
    assert "erased" in registry.history("m@1")[0].reason


def test_there_is_no_past_of_what_is_not_there(registry, make) -> None:
    make("m")
    for ref in ("none", "m@2"):
        with pytest.raises(NotFound):
            registry.history(ref)

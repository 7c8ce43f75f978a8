from __future__ import annotations

import pytest

from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.registry.catalogue import Catalogue
from interlock.registry.service import RegistryService
from interlock.store import Store


@pytest.mark.parametrize("alias", ["latest", "Latest", "v1", "V22", "", "a b", "a/b", "x" * 256, "a\n"])
def test_what_reads_like_something_else_is_no_alias(store: Store, books: Catalogue, make, alias: str) -> None:
    make()
    with pytest.raises(Invalid):
        store.database.write(lambda tx: books.aliases.set(tx, "m", alias, 1))
    assert not store.ledger.events(kinds=("alias.moved",))


@pytest.mark.parametrize("alias", ["champion", "v", "v1a", "-x-", "ünïcode", "12", "x" * 255])
def test_what_mlflow_allows_is_one(store: Store, books: Catalogue, make, alias: str) -> None:
    make()
    store.database.write(lambda tx: books.aliases.set(tx, "m", alias, 1))
    assert books.aliases.get(store.database, "m", alias).aliases == (alias,)


def test_an_alias_that_references_cannot_spell_is_for_protocols_only(registry: RegistryService, make) -> None:
    make()
    with pytest.raises(Invalid):
        registry.alias("m", "ünïcode", 1)


def test_setting_what_is_set_and_deleting_what_is_not_are_nothing(store: Store, books: Catalogue, make) -> None:
    make(), make()
    write, aliases = store.database.write, books.aliases
    for version in (1, 1, 2):
        write(lambda tx, version=version: aliases.set(tx, "m", "best", version))
    for _ in range(2):
        write(lambda tx: aliases.delete(tx, "m", "best"))
    moves = aliases.history("m")
    assert [(move.alias, move.version, move.previous) for move in moves] == [
        ("best", 1, 0),
        ("best", 2, 1),
        ("best", 0, 2),
    ]
    assert moves[0].actor.startswith("user:")
    assert aliases.history("m", "other") == []
    for missing in (
        lambda tx: aliases.delete(tx, "none", "best"),
        lambda tx: aliases.set(tx, "none", "best", 1),
        lambda tx: aliases.set(tx, "m", "best", 3),
    ):
        with pytest.raises(NotFound):
            write(missing)
    with pytest.raises(NotFound, match="alias"):
        aliases.get(store.database, "m", "best")


def test_without_gates_anybody_is_champion_until_gates_are_written(store: Store, registry, make) -> None:
    make()
    assert registry.alias("m", "champion", 1).aliases == {"champion": 1}
    registry.alias("m", "staging", 1)
    store.database.write(lambda tx: registry.guard(tx, "m"))
    assert registry.model("m").gated
    assert registry.model("m").aliases == {"staging": 1}  # nobody approved the champion
    with pytest.raises(Conflict, match="approved"):
        registry.alias("m", "champion", 1)
    assert [move.version for move in registry.alias_history("m", "champion")] == [1, 0]


def test_a_model_that_is_guarded_before_it_is_made_is_gated(store: Store, registry, make) -> None:
    store.database.write(lambda tx: registry.guard(tx, "m"))
    make()
    assert registry.model("m").gated
    with pytest.raises(Conflict):
        registry.alias("m", "champion", 1)


def test_an_approved_champion_survives_the_guard(store: Store, registry, register) -> None:
    version = register()
    for stage in ("environment prepared", "validated", "approved"):
        store.database.write(lambda tx, stage=stage: registry.advance(tx, version.ref, stage, "test"))
    registry.alias("happy", "champion", 1)
    store.database.write(lambda tx: registry.guard(tx, "happy"))
    assert registry.model("happy").aliases == {"champion": 1}
    registry.move(version.ref, "development", "found wanting")
    assert registry.model("happy").aliases == {}


def test_a_retired_version_is_champion_no_more(registry, make) -> None:
    make("m"), make("m")
    registry.alias("m", "champion", 1)
    registry.alias("m", "old", 1)
    registry.move("m@1", "retired", "over")
    assert registry.model("m").aliases == {"old": 1}
    with pytest.raises(Conflict, match="is retired"):
        registry.alias("m", "champion", 1)


def test_a_missing_alias_says_which_there_are_and_how_to_set_it(registry: RegistryService, make) -> None:
    make()
    with pytest.raises(NotFound) as caught:
        registry.version("model:m@champion")
    assert "has no alias as yet" in caught.value.hint
    registry.alias("m", "best", 1)
    with pytest.raises(NotFound, match="no model version 'model:m@champion'") as caught:
        registry.version("model:m@champion")
    assert "Model 'm' has the aliases 'best'" in caught.value.hint
    assert "`interlock registry alias m champion VERSION`" in caught.value.hint
    with pytest.raises(NotFound) as caught:
        registry.version("model:other@champion")
    assert "registry alias" not in caught.value.hint

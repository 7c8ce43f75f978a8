"""Aliases: names that point to versions, and where they pointed before."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.core.refs import LATEST
from interlock.registry.reading import model_of, rows_at, versions_of
from interlock.registry.records import AliasMove, ModelVersion

if TYPE_CHECKING:
    from interlock.core.ports import Reader, Transaction
    from interlock.store import Store

TRUSTED: Final = frozenset({"approved", "deployed"})
EARNED: Final = ("challenger", "champion")
LONGEST: Final = 255
_ALIAS: Final = re.compile(r"[\w-]+\Z")
_NUMBER: Final = re.compile(r"[vV][0-9]+\Z")


def check_alias(alias: str) -> str:
    """Return an alias that may be given.

    Raises:
        Invalid: it reads like a version, is the word `latest`, is too long, or has other characters than letters,
            digits, `_` and `-`.
    """
    if alias.lower() == LATEST:
        raise Invalid("'latest' always means the newest version.", about="alias", hint="Choose another name.")
    if _NUMBER.match(alias):
        raise Invalid(
            f"{alias!r} reads like the number of a version.", about="alias", hint="Begin an alias with another letter."
        )
    if not _ALIAS.match(alias) or len(alias) > LONGEST:
        raise Invalid(
            f"{alias[:60]!r} cannot be an alias.",
            about="alias",
            hint=f"Use 1-{LONGEST} letters, digits, '_' and '-'.",
        )
    return alias


class AliasBook:
    """The aliases of all models."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def set(self, tx: Transaction, model: str, alias: str, version: int) -> None:
        """Point an alias to a version. In a model with gates, only an approved or deployed one may be champion.

        Raises:
            NotFound: there is no such live version.
            Conflict: the version has not been approved, or is retired.
            Invalid: the alias may not be called so.
        """
        check_alias(alias)
        found = model_of(tx, model)
        row = next(iter(rows_at(tx, [(model, version)])), None)
        if row is None or row["archived_at"] is not None:
            raise NotFound.named(
                "model_version", f"model:{model}@{version}", hint=f"Run `interlock registry versions {model}`."
            )
        if row["stage"] == "retired" and alias in EARNED:
            raise Conflict(
                f"model:{model}@{version} is retired; it cannot be the {alias}.",
                about="alias",
                hint="Register its files again.",
            )
        if found.gated and alias in EARNED and row["stage"] not in TRUSTED:
            raise Conflict(
                f"model:{model}@{version} is {row['stage']!r}; only an approved version can be the {alias}.",
                about="alias",
                hint=f"See `interlock audit report model:{model}@{version}`.",
            )
        held = found.aliases.get(alias, 0)
        if held == version:
            return
        tx.run(
            "INSERT INTO model_aliases (model, alias, version) VALUES (:model, :alias, :version)"
            " ON CONFLICT (model, alias) DO UPDATE SET version = excluded.version",
            {"model": model, "alias": alias, "version": version},
        )
        data = {"alias": alias, "version": version, "previous": held}
        self._store.ledger.append(tx, "alias.moved", f"model:{model}", data)

    def delete(self, tx: Transaction, model: str, alias: str) -> None:
        """Take an alias away; one that is not there is nothing new.

        Raises:
            NotFound: there is no such model.
        """
        self.drop(tx, model, alias, model_of(tx, model).aliases)

    def drop_all(self, tx: Transaction, model: str, version: int, among: tuple[str, ...] = ()) -> None:
        """Take away the aliases of a version, or those of them that are among some."""
        held = model_of(tx, model, archived=True).aliases
        for alias, number in held.items():
            if number == version and (not among or alias in among):
                self.drop(tx, model, alias, held)

    def drop(self, tx: Transaction, model: str, alias: str, held: dict[str, int]) -> None:
        """Take away one of the aliases that a model has now."""
        if alias in held:
            tx.run("DELETE FROM model_aliases WHERE model = :m AND alias = :a", {"m": model, "a": alias})
            data = {"alias": alias, "version": 0, "previous": held[alias]}
            self._store.ledger.append(tx, "alias.moved", f"model:{model}", data)

    def get(self, reader: Reader, model: str, alias: str) -> ModelVersion:
        """Return the version that an alias points to.

        Raises:
            NotFound: there is no such model or alias.
        """
        held = model_of(reader, model).aliases
        if alias not in held:
            raise NotFound.named("alias", alias, held)
        return versions_of(reader, rows_at(reader, [(model, held[alias])]))[0]

    def history(self, model: str, alias: str = "", limit: int = 1000) -> list[AliasMove]:
        """Return the moves of a model's aliases, or of one of them, oldest first; also those under former names."""
        model_of(self._store.database, model, archived=True)
        rows = self._store.database.all("SELECT name FROM model_former_names WHERE now = :now", {"now": model})
        moves = []
        for name in [model, *(row["name"] for row in rows)]:
            after = -1
            while events := self._store.ledger.events(after, ("alias.moved",), f"model:{name}"):
                after = events[-1].index
                for event in events:
                    data = event.data or {}
                    if data and alias in {"", data["alias"]}:
                        found = (data["alias"], data["version"], data["previous"])
                        moves.append(AliasMove(*found, event.actor, event.at, event.index))
        return sorted(moves, key=lambda move: move.event)[-limit:]

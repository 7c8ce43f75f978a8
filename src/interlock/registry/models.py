"""Models: names, texts, tags; renaming and archiving so that no reference ever means another version than it did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from interlock.core.actor import current_actor
from interlock.core.clock import to_micros
from interlock.core.errors import Conflict
from interlock.core.refs import check_name
from interlock.registry.aliases import EARNED, TRUSTED, AliasBook
from interlock.registry.reading import model_of, models_named, rows_at
from interlock.registry.tags import check_tags, drop_tags, read_tags, set_tags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interlock.core.ports import Reader, Transaction
    from interlock.registry.records import Model
    from interlock.store import Store

# Every table whose column `model` has a model's name.
RENAMED: Final = (
    "model_versions",
    "model_aliases",
    "model_tags",
    "model_version_tags",
    "model_version_params",
    "model_version_metrics",
    "model_version_features",
    "model_version_data",
    "gate_reports",
    "approvals",
    "waivers",
)


class ModelBook:
    """The models of a workspace. Changes take the caller's transaction and write their events there."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._aliases = AliasBook(store)

    def create(
        self,
        tx: Transaction,
        name: str,
        *,
        description: str = "",
        owner: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> Model:
        """Return a new model. The name of an archived one can be used again; its numbering goes on.

        Args:
            tx: the transaction.
            name: its name.
            description: what it is for.
            owner: who answers for it; whoever makes it when left out.
            tags: texts by name.

        Raises:
            Conflict: there is a live model of this name.
            Invalid: the name or a tag may not be so.
        """
        check_name(name, "model")
        check_tags(tags or {})
        held = models_named(tx, [name])
        if held and held[0].archived_at is None:
            raise Conflict(f"There is a model {name!r} already.", about="model", hint="Register a version of it.")
        last = tx.one("SELECT max(last) AS last FROM model_former_names WHERE name = :name", {"name": name})
        given = (last["last"] if last else None) or 0
        values = {
            "name": name,
            "description": description,
            "owner": owner or current_actor(),
            "last": max(given, held[0].last if held else 0),
            "at": self._now(),
        }
        tx.run(
            "INSERT INTO models (name, description, owner, last, created_at, updated_at)"
            " VALUES (:name, :description, :owner, :last, :at, :at)"
            " ON CONFLICT (name) DO UPDATE SET description = excluded.description, owner = excluded.owner,"
            " created_at = excluded.created_at, updated_at = excluded.updated_at, archived_at = NULL",
            values,
        )
        drop_tags(tx, (name, 0), read_tags(tx, (name, 0)))
        set_tags(tx, (name, 0), tags or {})
        data = {"description": description, "owner": values["owner"], "tags": dict(tags or {})}
        self._store.ledger.append(tx, "model.created", f"model:{name}", data)
        return model_of(tx, name)

    def ensure(self, tx: Transaction, name: str) -> None:
        """Make a model unless there is one of this name."""
        found = tx.one("SELECT name FROM models WHERE name = :name AND archived_at IS NULL", {"name": name})
        if found is None:
            self.create(tx, name)

    def get(self, reader: Reader, name: str, *, archived: bool = False) -> Model:
        """Return a model; see `model_of`."""
        return model_of(reader, name, archived=archived)

    def named(self, reader: Reader, names: Sequence[str]) -> list[Model]:
        """Return several models; see `models_named`."""
        return models_named(reader, names)

    def describe(
        self, tx: Transaction, name: str, *, description: str | None = None, owner: str | None = None
    ) -> Model:
        """Return a model after its description or owner changed; what is None stays.

        Raises:
            NotFound: there is no such model.
        """
        found = model_of(tx, name)
        given = {"description": description, "owner": owner}
        changes = {key: text for key, text in given.items() if text is not None and text != getattr(found, key)}
        tx.run(
            "UPDATE models SET description = :description, owner = :owner, updated_at = :at WHERE name = :name",
            {
                "description": changes.get("description", found.description),
                "owner": changes.get("owner", found.owner),
                "at": self._now(),
                "name": name,
            },
        )
        return self._changed(tx, name, changes)

    def tag(self, tx: Transaction, name: str, tags: Mapping[str, str]) -> Model:
        """Return a model after some tags were set.

        Raises:
            NotFound: there is no such model.
            Invalid: a tag may not be so.
        """
        check_tags(tags)
        model_of(tx, name)
        changed = set_tags(tx, (name, 0), tags)
        return self._changed(tx, name, {"tags": changed} if changed else {})

    def untag(self, tx: Transaction, name: str, keys: Sequence[str]) -> Model:
        """Return a model after some tags were taken away; those that it does not have are nothing new.

        Raises:
            NotFound: there is no such model.
        """
        model_of(tx, name)
        gone = drop_tags(tx, (name, 0), keys)
        return self._changed(tx, name, {"untagged": gone} if gone else {})

    def archive(self, tx: Transaction, name: str, reason: str = "") -> None:
        """Put a model and its versions away; its aliases are gone. Nothing is erased, and its name is free again.

        Raises:
            NotFound: there is no such live model.
            Conflict: one of its versions answers in a deployment.
        """
        model = model_of(tx, name)
        self._refuse_deployed(tx, name)
        for alias in model.aliases:
            self._aliases.drop(tx, name, alias, model.aliases)
        at = self._now()
        numbers = self._numbers(tx, name, "archived_at IS NULL")
        tx.run(
            "UPDATE model_versions SET archived_at = :at WHERE model = :name AND archived_at IS NULL",
            {"at": at, "name": name},
        )
        tx.run("UPDATE models SET archived_at = :at WHERE name = :name", {"at": at, "name": name})
        data = {"reason": reason, "versions": numbers}
        self._store.ledger.append(tx, "model.archived", f"model:{name}", data)

    def restore(self, tx: Transaction, name: str) -> Model:
        """Return a model that was archived, with those of its versions that went away with it, and without aliases.

        Raises:
            NotFound: there is no model of this name.
            Conflict: it is live.
        """
        model = model_of(tx, name, archived=True)
        if model.archived_at is None:
            raise Conflict(
                f"Model {name!r} is not archived.",
                about="model",
                hint=f"Its archived versions come back one by one: `interlock registry restore {name}@1`.",
            )
        at = to_micros(model.archived_at)
        numbers = self._numbers(tx, name, f"archived_at = {at}")
        tx.run(
            "UPDATE model_versions SET archived_at = NULL WHERE model = :name AND archived_at = :at",
            {"name": name, "at": at},
        )
        tx.run("UPDATE models SET archived_at = NULL WHERE name = :name", {"name": name})
        self._store.ledger.append(tx, "model.restored", f"model:{name}", {"versions": numbers})
        return model_of(tx, name)

    def rename(self, tx: Transaction, name: str, to: str) -> Model:
        """Return a model under another name; its policy, approvals and tags follow, references to the old name too.

        Raises:
            NotFound: there is no such model.
            Conflict: one of its versions answers in a deployment, or the name means, or once meant, another model.
            Invalid: the other name may not be one.
        """
        check_name(to, "model")
        model = model_of(tx, name)
        if to == name:
            return model
        self._refuse_deployed(tx, name)
        former = tx.all("SELECT now FROM model_former_names WHERE name = :to", {"to": to})
        if models_named(tx, [to]) or any(row["now"] != name for row in former):
            raise Conflict(
                f"The name {to!r} means, or once meant, another model, whose references must go on meaning it.",
                about="model",
                hint="Choose a name that no model had.",
            )
        values = {"name": name, "to": to, "last": model.last, "at": self._now()}
        for table in RENAMED:
            tx.run(f"UPDATE {table} SET model = :to WHERE model = :name", values)  # noqa: S608 - names are ours
        tx.run("UPDATE models SET name = :to, updated_at = :at WHERE name = :name", values)
        tx.run("UPDATE model_former_names SET now = :to WHERE now = :name", values)
        tx.run("DELETE FROM model_former_names WHERE name = :to", values)
        tx.run(
            "INSERT INTO model_former_names (name, last, now) VALUES (:name, :last, :to)"
            " ON CONFLICT (name, last) DO UPDATE SET now = excluded.now",
            values,
        )
        self._rename_policy(tx, name, to)
        self._store.ledger.append(tx, "model.renamed", f"model:{to}", {"previous": name})
        return model_of(tx, to)

    def guard(self, tx: Transaction, name: str) -> None:
        """Remember that gates are written down for a model: from now on only an approved version is its champion.

        A version that is champion or challenger without an approval is it no more.
        """
        tx.run("INSERT INTO model_guards (model) VALUES (:name) ON CONFLICT (model) DO NOTHING", {"name": name})
        for model in models_named(tx, [name]):
            for alias in self.unearned(tx, name):
                self._aliases.drop(tx, name, alias, model.aliases)

    def unearned(self, reader: Reader, name: str) -> dict[str, str]:
        """Return the aliases that gates take away from versions that are not approved, with a sentence about each."""
        found = {}
        for model in models_named(reader, [name]):
            for alias in EARNED:
                rows = rows_at(reader, [(name, model.aliases[alias])]) if alias in model.aliases else []
                if rows and rows[0]["stage"] not in TRUSTED:
                    found[alias] = (
                        f"model:{name}@{model.aliases[alias]} is {rows[0]['stage']!r}, not approved: it is the {alias} "
                        "no more."
                    )
        return found

    def _rename_policy(self, tx: Transaction, name: str, to: str) -> None:
        """Let a policy hold under the new name too, unless one waits there already.

        It goes on to hold under the old name: whoever makes a model of that name again finds its gates. Where either
        name has gates, who is champion without an approval is it no more.
        """
        values: dict[str, Any] = {"name": name, "to": to, "old": f"policy:{name}", "new": f"policy:{to}"}
        tx.run(
            "INSERT INTO applied (name, digest, applied_at) SELECT :new, digest, applied_at FROM applied"
            " WHERE name = :old ON CONFLICT (name) DO NOTHING",
            values,
        )
        if tx.one("SELECT model FROM model_guards WHERE model IN (:name, :to)", values):
            self.guard(tx, to)

    def _refuse_deployed(self, tx: Transaction, name: str) -> None:
        row = tx.one(
            "SELECT version FROM model_versions WHERE model = :name AND stage = 'deployed'",
            {"name": name},
        )
        if row is not None:
            raise Conflict(
                f"model:{name}@{row['version']} answers in a deployment.",
                about="model",
                hint="Stop the deployment, or deploy another model there first.",
            )

    def _numbers(self, tx: Transaction, name: str, condition: str) -> list[int]:
        rows = tx.all(
            f"SELECT version FROM model_versions WHERE model = :name AND {condition} ORDER BY version",  # noqa: S608
            {"name": name},
        )
        return [row["version"] for row in rows]

    def _changed(self, tx: Transaction, name: str, changes: dict[str, Any]) -> Model:
        if changes:
            self._store.ledger.append(tx, "model.updated", f"model:{name}", {"changes": changes})
        return model_of(tx, name)

    def _now(self) -> int:
        return to_micros(self._store.clock.now())

"""Experiments: names under which runs are compared."""

from __future__ import annotations

import contextlib
import unicodedata
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from interlock.core.clock import from_micros, to_micros
from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.core.ids import new_id
from interlock.track.records import Experiment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from interlock.core.ports import Reader, Row, Transaction
    from interlock.store import Store

Lifecycle = Literal["active", "deleted"]
DEFAULT_ID: Final = "0"  # MLflow's clients log into experiment 0, "Default", when they name none
DEFAULT_NAME: Final = "Default"
LONGEST_NAME: Final = 500


class ExperimentFacts(msgspec.Struct, frozen=True):
    """An experiment as it is stored; instants in microseconds since 1970 UTC."""

    id: str
    name: str
    lifecycle: Lifecycle
    created_at: int
    updated_at: int
    tags: dict[str, str]


class Experiments:
    """The experiments of a workspace.

    Args:
        store: what the workspace remembers.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, tx: Transaction, name: str, tags: Mapping[str, str] | None = None, ident: str = "") -> str:
        """Return the id of a new experiment.

        Raises:
            Conflict: there is one of this name, be it deleted.
            Invalid: the name cannot be one.
        """
        check_title(name)
        held = tx.one("SELECT lifecycle FROM experiments WHERE name = :name", {"name": name})
        if held is not None:
            deleted = held["lifecycle"] == "deleted"
            raise Conflict(
                f"There is an experiment {name!r}{', which is deleted' if deleted else ''}.",
                about="experiment_name",
                hint="Restore it, or choose another name." if deleted else "Use it, or choose another name.",
            )
        ident = ident or new_id()
        at = to_micros(self._store.clock.now())
        tx.run(
            "INSERT INTO experiments (id, name, created_at, updated_at, lifecycle)"
            " VALUES (:id, :name, :at, :at, 'active')",
            {"id": ident, "name": name, "at": at},
        )
        self._store.ledger.append(tx, "experiment.created", f"experiment:{ident}", {"name": name})
        if tags:
            self.change(tx, ident, tags=tags)
        return ident

    def wanted(self, tx: Transaction, name: str) -> str:
        """Return the id of the experiment of this name, which is made when there is none.

        Raises:
            Conflict: it is deleted.
        """
        row = tx.one("SELECT id, lifecycle FROM experiments WHERE name = :name", {"name": name})
        if row is None:
            return self.create(tx, name)
        check_active(row, "experiment", name)
        return str(row["id"])

    def change(
        self,
        tx: Transaction,
        ident: str,
        *,
        name: str = "",
        lifecycle: Lifecycle | None = None,
        tags: Mapping[str, str] | None = None,
        untag: Iterable[str] = (),
    ) -> None:
        """Rename, tag, delete or restore an experiment in the caller's transaction.

        With an experiment its active runs are deleted, and with it restored.

        Raises:
            NotFound: there is no such experiment, or it has no such tag.
            Conflict: the name is taken, or the experiment is deleted and this does not restore it.
        """
        row = experiment_row(tx, ident)
        if lifecycle is None:
            check_active(row, "experiment", ident)
        changes: dict[str, Any] = {}
        if name and name != row["name"]:
            check_title(name)
            if tx.one("SELECT id FROM experiments WHERE name = :name", {"name": name}):
                raise Conflict(
                    f"There is an experiment {name!r}.", about="experiment_name", hint="Choose another name."
                )
            tx.run("UPDATE experiments SET name = :name WHERE id = :id", {"name": name, "id": ident})
            changes["name"] = name
        if lifecycle is not None and lifecycle != row["lifecycle"]:
            self._move(tx, ident, row["lifecycle"], lifecycle)
            changes["lifecycle"] = lifecycle
        if tags and (fresh := set_pairs(tx, "experiment_tags", "experiment", ident, tags)):
            changes["tags"] = fresh
        for tag in untag:
            drop_pair(tx, "experiment_tags", "experiment", ident, tag)
            changes.setdefault("untag", []).append(tag)
        if changes:
            at = to_micros(self._store.clock.now())
            tx.run("UPDATE experiments SET updated_at = :at WHERE id = :id", {"at": at, "id": ident})
            self._store.ledger.append(tx, "experiment.changed", f"experiment:{ident}", {"changes": changes})

    def ensure_default(self) -> None:
        """Make the experiment that clients use when they name none."""
        if self._store.database.one("SELECT id FROM experiments WHERE id = :id", {"id": DEFAULT_ID}) is None:

            def make(tx: Transaction) -> None:
                if tx.one("SELECT id FROM experiments WHERE id = :id", {"id": DEFAULT_ID}) is None:
                    taken = tx.one("SELECT id FROM experiments WHERE name = :name", {"name": DEFAULT_NAME})
                    self.create(tx, f"{DEFAULT_NAME} (0)" if taken else DEFAULT_NAME, ident=DEFAULT_ID)

            self._store.database.write(make)

    def get(self, ident: str) -> ExperimentFacts:
        """Return an experiment by its id.

        Raises:
            NotFound: there is none.
        """
        (found,) = self.load([experiment_row(self._store.database, ident)])
        return found

    def named(self, name: str) -> ExperimentFacts:
        """Return an experiment by its name.

        Raises:
            NotFound: there is none.
        """
        row = self._store.database.one("SELECT * FROM experiments WHERE name = :name", {"name": name})
        if row is None:
            known = self._store.database.all("SELECT name FROM experiments ORDER BY created_at DESC LIMIT 200")
            raise NotFound.named("experiment", name, [held["name"] for held in known])
        (found,) = self.load([row])
        return found

    def find(self, text: str) -> ExperimentFacts:
        """Return the experiment of this id, which may be written experiment:ID, else that of this name.

        Raises:
            NotFound: there is none.
        """
        with contextlib.suppress(NotFound):
            return self.get(text.removeprefix("experiment:"))
        return self.named(text)

    def idents(self, names: Sequence[str] | None) -> list[str]:
        """Return the ids of experiments that are named (see `find`); without any, those of all active ones.

        Raises:
            NotFound: there is no such experiment.
        """
        if names:
            return [self.find(name).id for name in names]
        return [row["id"] for row in self._store.database.all("SELECT id FROM experiments WHERE lifecycle = 'active'")]

    def names(self) -> dict[str, str]:
        """Return the names of all experiments, by id."""
        return {row["id"]: row["name"] for row in self._store.database.all("SELECT id, name FROM experiments")}

    def shown(self, idents: list[str]) -> list[Experiment]:
        """Return experiments by their ids as people see them, in the order given."""
        database = self._store.database
        rows = {row["id"]: row for row in among(database, "SELECT * FROM experiments WHERE id IN", idents)}
        counted = among(
            database,
            "SELECT experiment, count(*) AS runs FROM runs WHERE lifecycle = 'active' AND experiment IN",
            idents,
            "GROUP BY experiment",
        )
        runs = {row["experiment"]: row["runs"] for row in counted}
        return [
            Experiment(
                id=facts.id,
                name=facts.name,
                runs=runs.get(facts.id, 0),
                created_at=from_micros(facts.created_at),
                lifecycle=facts.lifecycle,
                tags=facts.tags,
            )
            for facts in self.load([rows[ident] for ident in idents])
        ]

    def load(self, rows: list[Row]) -> list[ExperimentFacts]:
        """Return rows of the table as experiments, their tags with them, in the same order."""
        tags = pairs(self._store.database, "experiment_tags", "experiment", [row["id"] for row in rows])
        return [
            ExperimentFacts(r["id"], r["name"], r["lifecycle"], r["created_at"], r["updated_at"], tags.get(r["id"], {}))
            for r in rows
        ]

    def _move(self, tx: Transaction, ident: str, origin: Lifecycle, lifecycle: Lifecycle) -> None:
        values = {"id": ident, "origin": origin, "lifecycle": lifecycle}
        tx.run("UPDATE experiments SET lifecycle = :lifecycle WHERE id = :id", {"id": ident, "lifecycle": lifecycle})
        tx.run("UPDATE runs SET lifecycle = :lifecycle WHERE experiment = :id AND lifecycle = :origin", values)


def check_title(name: str) -> None:
    """Accept a text as an experiment's name.

    Raises:
        Invalid: it is empty, too long, or holds control characters.
    """
    if not name.strip() or len(name) > LONGEST_NAME or any(unicodedata.category(c) in _NO_TEXT for c in name):
        raise Invalid(
            f"{name[:80]!r} cannot be the name of an experiment.",
            about="experiment",
            hint=f"Use 1-{LONGEST_NAME} characters, none of them a control character.",
        )


def check_active(row: Row, what: str, name: str) -> None:
    """Accept a row that is not deleted.

    Raises:
        Conflict: it is.
    """
    if row["lifecycle"] != "active":
        raise Conflict(
            f"{what.capitalize()} {name!r} is deleted.", about=f"deleted_{what}", hint="Restore it first.", name=name
        )


def experiment_row(reader: Reader, ident: str) -> Row:
    """Return an experiment's row.

    Raises:
        NotFound: there is none.
    """
    row = reader.one("SELECT * FROM experiments WHERE id = :id", {"id": ident})
    if row is None:
        raise NotFound.named("experiment", ident)
    return row


def pairs(reader: Reader, table: str, owner: str, idents: list[str]) -> dict[str, dict[str, str]]:
    """Return names and values of a table of pairs, by owner; owners without any are left out.

    Args:
        reader: the database.
        table: one of ours.
        owner: its column of owners.
        idents: the owners.
    """
    found: dict[str, dict[str, str]] = {}
    for row in among(reader, f"SELECT {owner} AS owner, name, value FROM {table} WHERE {owner} IN", idents):  # noqa: S608 - ours
        found.setdefault(row["owner"], {})[row["name"]] = row["value"]
    return found


def held_pairs(reader: Reader, table: str, owner: str, ident: str, names: list[str]) -> dict[str, str]:
    """Return the values that an owner has of some names. Cost: does not grow with the names it has beside them."""
    query = f"SELECT name, value FROM {table} WHERE {owner} = :owner AND name IN"  # noqa: S608 - the table is ours
    return {row["name"]: row["value"] for row in among(reader, query, names, owner=ident)}


def among(reader: Reader, query: str, idents: list[str], tail: str = "", **further: str) -> list[Row]:
    """Return the rows of a query that ends in `IN`, for these values; `further` values are what else it names."""
    rows: list[Row] = []
    for start in range(0, len(idents), _MANY):
        values = {f"i{number}": ident for number, ident in enumerate(idents[start : start + _MANY])}
        rows += reader.all(f"{query} ({', '.join(f':{name}' for name in values)}) {tail}", values | further)
    return rows


def set_pairs(tx: Transaction, table: str, owner: str, ident: str, values: Mapping[str, str]) -> dict[str, str]:
    """Write names and values of an owner; a name that is there takes the new value. Returns what was not there so."""
    held = held_pairs(tx, table, owner, ident, list(values))
    fresh = {name: value for name, value in values.items() if held.get(name) != value}
    write_pairs(tx, table, owner, ident, fresh)
    return fresh


def write_pairs(tx: Transaction, table: str, owner: str, ident: str, fresh: Mapping[str, str]) -> None:
    """Write names and values of an owner, whatever is there."""
    tx.run_many(
        f"INSERT INTO {table} ({owner}, name, value) VALUES (:owner, :name, :value)"  # noqa: S608 - the table is ours
        f" ON CONFLICT ({owner}, name) DO UPDATE SET value = excluded.value",
        ({"owner": ident, "name": name, "value": value} for name, value in fresh.items()),
    )


def drop_pair(tx: Transaction, table: str, owner: str, ident: str, name: str) -> None:
    """Take a name and its value away.

    Raises:
        NotFound: the owner has no such name.
    """
    at = {"owner": ident, "name": name}
    if tx.one(f"SELECT value FROM {table} WHERE {owner} = :owner AND name = :name", at) is None:  # noqa: S608 - ours
        held = tx.all(f"SELECT name FROM {table} WHERE {owner} = :owner", {"owner": ident})  # noqa: S608
        raise NotFound.named("tag", name, [row["name"] for row in held])
    tx.run(f"DELETE FROM {table} WHERE {owner} = :owner AND name = :name", at)  # noqa: S608


_MANY: Final = 500  # values in one IN list
_NO_TEXT: Final = frozenset({"Cc", "Cs"})  # control characters, halves of surrogate pairs

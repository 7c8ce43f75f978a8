"""Versions: numbers without gaps, content that never changes, texts and tags that may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from interlock.core.actor import current_actor
from interlock.core.clock import to_micros
from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.core.refs import Ref, check_name
from interlock.registry import pins
from interlock.registry.aliases import AliasBook
from interlock.registry.content import look
from interlock.registry.facts import write_facts
from interlock.registry.models import ModelBook
from interlock.registry.reading import model_of, rows_at, versions_of
from interlock.registry.records import MLFLOW_STAGES, STATUSES, Draft, Facts, ModelVersion
from interlock.registry.signatures import sign
from interlock.registry.stages import Stages
from interlock.registry.tags import check_tags, drop_tags, set_tags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interlock.core.ports import Reader, Row, Transaction
    from interlock.store import Store


class VersionBook:
    """The versions of all models. Changes take the caller's transaction and write their events there."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._models = ModelBook(store)
        self._aliases = AliasBook(store)
        self._stages = Stages(store)

    def draft(self, model: str, *, bundle: str = "", run: str = "", data: Sequence[str] = (), **texts: Any) -> Draft:
        """Return a version that waits for its number: its files looked through, its pins stored, its manifest signed.

        Args:
            model: the model's name.
            bundle: the digest of the manifest of its files; "" when they rest outside.
            run: the id of the run that made it, or "".
            data: references of its data; the run's own inputs when there are none.
            texts: source, location, origin, run_link, description, owner (texts) and tags (texts by name).

        Raises:
            NotFound: the manifest, or a file that it names, is not here.
            Invalid: the object is no manifest, or a name or tag may not be so.

        Cost: reads the files once.
        """
        check_name(model, "model")
        check_tags(texts.get("tags") or {})
        found = look(self._store.objects, bundle)
        held = pins.gather(self._store, run, bundle, data)
        given: dict[str, Any] = dict.fromkeys(("source", "location", "origin", "run_link", "description", "owner"), "")
        given |= {name: value for name, value in texts.items() if value is not None}
        given |= {"tags": dict(given.get("tags") or {}), "owner": given["owner"] or current_actor()}
        given |= {"model": model, "run": run, "bundle": bundle, "data": held.data}
        stored = pins.keep(self._store.objects, held)
        note = sign(self._store, bundle) if bundle else ""
        given |= {"format": found.format, "format_reason": found.reason, "pins": stored, "signature": note}
        return Draft(**given, facts=Facts(held.params, held.metrics, held.data, found.features))

    def create(self, tx: Transaction, draft: Draft, *, make: bool = False) -> ModelVersion:
        """Return the next version of a model.

        Args:
            tx: the transaction.
            draft: what it is.
            make: make the model when there is none of this name.

        Raises:
            NotFound: there is no such live model.
        """
        if make:
            self._models.ensure(tx, draft.model)
        version = self._next(tx, draft.model)
        at = self._now()
        tx.run(
            "UPDATE models SET last = :version, updated_at = :at WHERE name = :model",
            {"version": version, "at": at, "model": draft.model},
        )
        values = msgspec.structs.asdict(draft) | {"version": version, "at": at, "data": "\n".join(draft.data)}
        tags, _, _ = values.pop("tags"), values.pop("signature"), values.pop("facts")
        tx.run(
            "INSERT INTO model_versions (model, version, run, bundle, data, stage, stage_reason, stage_at, created_at,"
            " updated_at, description, owner, source, location, run_link, origin, format, format_reason, pins)"
            " VALUES (:model, :version, :run, :bundle, :data, 'created', :reason, :at, :at,"
            " :at, :description, :owner, :source, :location, :run_link, :origin, :format, :format_reason, :pins)",
            values | {"reason": "made by its run" if draft.run else "made by hand"},
        )
        set_tags(tx, (draft.model, version), tags)
        write_facts(tx, draft.model, version, draft.facts)
        ref = Ref("model", draft.model, version)
        data = {
            "run": f"run:{draft.run}" if draft.run else "",
            "bundle": draft.bundle,
            "data": list(draft.data),
            "source": draft.source,
            "format": draft.format,
            "pins": draft.pins,
            "signature": draft.signature,
            "description": draft.description,
            "tags": dict(tags),
        }
        self._store.ledger.append(tx, "model_version.created", str(ref), data)
        if draft.bundle:
            reason = (
                "its bundle is stored and its two forms agree" if draft.format == "bundle" else "its files are stored"
            )
            self._stages.advance(tx, ref, "registered", reason)
        return self.get(tx, draft.model, version)

    def same(self, reader: Reader, draft: Draft) -> int:
        """Return the number of the live version of the same run and bytes, 0 when there is none."""
        row = reader.one(
            "SELECT version FROM model_versions WHERE model = :model AND run = :run AND bundle = :bundle"
            " AND archived_at IS NULL ORDER BY version LIMIT 1",
            {"model": draft.model, "run": draft.run, "bundle": draft.bundle},
        )
        return int(row["version"]) if row else 0

    def get(self, reader: Reader, model: str, version: int, *, archived: bool = False) -> ModelVersion:
        """Return a version.

        Raises:
            NotFound: there is none of this number, or it is archived and those are not asked for.
        """
        return versions_of(reader, [self._row(reader, model, version, archived=archived)])[0]

    def at(self, reader: Reader, keys: Sequence[tuple[str, int]]) -> list[ModelVersion]:
        """Return versions, archived ones too, by model and number in the order given; unknown ones are left out."""
        return versions_of(reader, rows_at(reader, keys))

    def of(self, reader: Reader, model: str, *, archived: bool = False) -> list[ModelVersion]:
        """Return the versions of a model, oldest first."""
        live = "" if archived else " AND archived_at IS NULL"
        rows = reader.all(
            f"SELECT * FROM model_versions WHERE model = :model{live} ORDER BY version",  # noqa: S608 - ours
            {"model": model},
        )
        return versions_of(reader, rows)

    def newest(self, reader: Reader, model: str) -> ModelVersion | None:
        """Return the live version with the largest number, or None."""
        rows = reader.all(
            "SELECT * FROM model_versions WHERE model = :model AND archived_at IS NULL ORDER BY version DESC LIMIT 1",
            {"model": model},
        )
        return next(iter(versions_of(reader, rows)), None)

    def newest_by_mlflow_stage(self, reader: Reader, models: Sequence[str]) -> dict[str, list[ModelVersion]]:
        """Return the newest live version in each of MLflow's stages, by model; an empty list where there is none."""
        found: dict[str, list[ModelVersion]] = {model: [] for model in models}
        keys = []
        for model in found:
            rows = reader.all(
                "SELECT max(version) AS version FROM model_versions WHERE model = :model AND archived_at IS NULL"
                " GROUP BY mlflow_stage ORDER BY 1",
                {"model": model},
            )
            keys += [(model, row["version"]) for row in rows]
        for version in self.at(reader, keys):
            found[version.model].append(version)
        return found

    def describe(
        self,
        tx: Transaction,
        model: str,
        version: int,
        *,
        description: str | None = None,
        owner: str | None = None,
    ) -> ModelVersion:
        """Return a version after its description or owner changed; what is None stays."""
        given = {"description": description, "owner": owner}
        return self._update(tx, model, version, {name: text for name, text in given.items() if text is not None})

    def status(self, tx: Transaction, model: str, version: int, status: str, reason: str = "") -> ModelVersion:
        """Return a version after it was said whether its files are in place.

        Raises:
            Invalid: there is no such status.
        """
        _check_word(status, STATUSES, "status")
        return self._update(tx, model, version, {"status": status, "status_reason": reason})

    def mlflow_stage(
        self, tx: Transaction, model: str, version: int, stage: str, *, archive_existing: bool = False
    ) -> ModelVersion:
        """Return a version after it got one of MLflow's stages.

        Args:
            tx: the transaction.
            model: the model.
            version: the version's number.
            stage: one of `MLFLOW_STAGES`.
            archive_existing: give the stage Archived to all others that have this one.

        Raises:
            Invalid: there is no such stage.
        """
        _check_word(stage, MLFLOW_STAGES, "stage")
        self._row(tx, model, version)
        rows = tx.all(
            "SELECT version FROM model_versions WHERE model = :model AND mlflow_stage = :stage AND version <> :version"
            " AND archived_at IS NULL",
            {"model": model, "stage": stage, "version": version},
        )
        for row in rows if archive_existing else []:
            self._update(tx, model, row["version"], {"mlflow_stage": "Archived"})
        tx.run("UPDATE models SET updated_at = :at WHERE name = :model", {"at": self._now(), "model": model})
        return self._update(tx, model, version, {"mlflow_stage": stage})

    def tag(self, tx: Transaction, model: str, version: int, tags: Mapping[str, str]) -> ModelVersion:
        """Return a version after some tags were set.

        Raises:
            Invalid: a tag may not be so.
        """
        check_tags(tags)
        self._row(tx, model, version)
        changed = set_tags(tx, (model, version), tags)
        return self._changed(tx, model, version, {"tags": changed} if changed else {})

    def untag(self, tx: Transaction, model: str, version: int, keys: Sequence[str]) -> ModelVersion:
        """Return a version after some tags were taken away; those that it does not have are nothing new."""
        self._row(tx, model, version)
        gone = drop_tags(tx, (model, version), keys)
        return self._changed(tx, model, version, {"untagged": gone} if gone else {})

    def archive(self, tx: Transaction, model: str, version: int, reason: str = "") -> None:
        """Put a version away: lists leave it out and its aliases are gone, but its bytes and its number stay its own.

        Raises:
            Conflict: it answers in a deployment.
        """
        row = self._row(tx, model, version)
        if row["stage"] == "deployed":
            raise Conflict(
                f"model:{model}@{version} answers in a deployment.",
                about="model_version",
                hint="Deploy another version or roll back first.",
            )
        self._aliases.drop_all(tx, model, version)
        self._put_away(tx, model, version, self._now())
        self._store.ledger.append(tx, "model_version.archived", f"model:{model}@{version}", {"reason": reason})

    def restore(self, tx: Transaction, model: str, version: int) -> ModelVersion:
        """Return a version that was archived, as it was but without aliases.

        Raises:
            Conflict: it is not archived, or its model is.
        """
        row = self._row(tx, model, version, archived=True)
        if row["archived_at"] is None:
            raise Conflict(f"model:{model}@{version} is not archived.", about="model_version")
        if model_of(tx, model, archived=True).archived_at is not None:
            raise Conflict(
                f"Model {model!r} is archived.", about="model", hint=f"Run `interlock registry restore {model}` first."
            )
        self._put_away(tx, model, version, None)
        self._store.ledger.append(tx, "model_version.restored", f"model:{model}@{version}", {})
        return self.get(tx, model, version)

    def _next(self, tx: Transaction, model: str) -> int:
        values = {"model": model}
        row = tx.one("SELECT last FROM models WHERE name = :model AND archived_at IS NULL", values)
        return int(row["last"]) + 1 if row else model_of(tx, model).last  # which says why there is none

    def _put_away(self, tx: Transaction, model: str, version: int, at: int | None) -> None:
        tx.run(
            "UPDATE model_versions SET archived_at = :at WHERE model = :model AND version = :version",
            {"at": at, "model": model, "version": version},
        )

    def _row(self, reader: Reader, model: str, version: int, *, archived: bool = False) -> Row:
        for row in rows_at(reader, [(model, version)]):
            if archived or row["archived_at"] is None:
                return row
            raise NotFound(
                f"model:{model}@{version} is archived.",
                about="model_version",
                hint=f"Run `interlock registry restore {model}@{version}`.",
            )
        model_of(reader, model)
        raise NotFound.named(
            "model_version", f"model:{model}@{version}", hint=f"Run `interlock registry versions {model}`."
        )

    def _update(self, tx: Transaction, model: str, version: int, values: dict[str, str]) -> ModelVersion:
        row = self._row(tx, model, version)
        changes = {name: value for name, value in values.items() if row[name] != value}
        places = "".join(f"{name} = :{name}, " for name in changes)
        tx.run(
            f"UPDATE model_versions SET {places}updated_at = :at"  # noqa: S608 - the names are ours
            " WHERE model = :model AND version = :version",
            changes | {"at": self._now(), "model": model, "version": version},
        )
        return self._changed(tx, model, version, changes)

    def _changed(self, tx: Transaction, model: str, version: int, changes: Mapping[str, Any]) -> ModelVersion:
        if changes:
            data = {"changes": dict(changes)}
            self._store.ledger.append(tx, "model_version.updated", f"model:{model}@{version}", data)
        return self.get(tx, model, version)

    def _now(self) -> int:
        return to_micros(self._store.clock.now())


def _check_word(word: str, words: Sequence[str], about: str) -> None:
    if word not in words:
        raise Invalid(f"There is no {about} {word!r}.", about=about, hint=f"Use one of: {', '.join(words)}.")

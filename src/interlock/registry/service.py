"""The registry service: models, versions, aliases, life cycle."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Final

import msgspec

from interlock.core.bundles import Bundle
from interlock.core.clock import from_micros, to_micros
from interlock.core.errors import Conflict, Corrupt, Denied, Invalid, NotFound
from interlock.core.operations import Permission, operation
from interlock.core.refs import LATEST, Ref, check_name, parse
from interlock.registry.lifecycle import Stage, check_move
from interlock.store.manifests import read_manifest

if TYPE_CHECKING:
    from interlock.core.ports import Reader, Row, Transaction
    from interlock.store import Store

_TRUSTED: Final = frozenset({"approved", "deployed"})
_EARNED: Final = frozenset({"champion", "challenger"})


class ModelVersion(msgspec.Struct, frozen=True):
    """One version of a model, whose bytes never change.

    Attributes:
        ref: how to name it, such as `model:employment@2`.
        run: the run that made it.
        bundle: the digest of its bundle's manifest.
        data: references of the data it was trained on.
        stage: where it stands in its life cycle, since `stage_at`, for `stage_reason`.
        aliases: the aliases that point to it.
    """

    TABLE: ClassVar = ("ref", "stage", "aliases", "data", "run", "stage_reason")

    ref: str
    model: str
    version: int
    run: str
    bundle: str
    data: tuple[str, ...]
    stage: Stage
    stage_reason: str
    stage_at: datetime
    aliases: tuple[str, ...]
    created_at: datetime


class Model(msgspec.Struct, frozen=True):
    """A model: how many versions it has, and where its aliases point."""

    name: str
    versions: int
    aliases: dict[str, int]
    created_at: datetime


class Approval(msgspec.Struct, frozen=True):
    """A signature of a person or a rule under a version: bound to the digests of what was seen.

    Attributes:
        actor: who approved.
        bundle: the digest of the version's bundle.
        report: the digest of the gate report.
        policy: the digest of the policy that was in force.
        note: what the approver wrote.
    """

    actor: str
    bundle: str
    report: str
    policy: str
    note: str
    given_at: datetime


Approvals = list[Approval]
Models = list[Model]
Versions = list[ModelVersion]


class RegistryService:
    """Models: versions, aliases and where each version stands in its life."""

    name = "registry"

    def __init__(self, store: Store) -> None:
        self._store = store

    @operation(Permission.REGISTRY_WRITE, emits=("model_version.created", "model_version.moved"))
    def register(self, model: str, run: str, bundle: str, data: list[str] | None = None) -> ModelVersion:
        """Make the bundle of a run the next version of a model; the same run is registered once.

        Args:
            model: the model; it is made if it is new.
            run: the run that made the bundle.
            bundle: the digest of the bundle's manifest.
            data: references of the data it was trained on.

        Raises:
            Invalid: the object is no bundle.
        """
        check_name(model, "model")
        if self._store.objects.get(
            bundle
        ):  # unreadable bytes are Corrupt, readable ones that are no bundle are Invalid
            try:
                self.read_bundle(bundle)
            except (Corrupt, NotFound) as error:
                raise Invalid(f"Object {bundle} is no bundle: {error.message}", about="bundle") from None
        ident = parse(run, "run").name

        def change(tx: Transaction) -> int:
            held = tx.one(
                "SELECT version FROM model_versions WHERE model = :model AND run = :run", {"model": model, "run": ident}
            )
            if held is not None:
                return int(held["version"])
            return self._insert(tx, model, ident, bundle, tuple(data or ()))

        return self.version(f"model:{model}@{self._store.database.write(change)}")

    @operation(Permission.REGISTRY_WRITE, emits=("model_version.moved", "alias.moved"))
    def move(self, version: str, stage: Stage, reason: str) -> ModelVersion:
        """Move a version by hand: back to development, or into retirement. All other moves are made by what earns them.

        Args:
            version: such as model:employment@2.
            stage: development or retired.
            reason: why.

        Raises:
            Denied: the stage has to be earned: by gates, an approval or a deployment.
            Conflict: it answers in a deployment, or the life cycle does not know this move.
        """
        found = self.version(version)
        if stage not in {"development", "retired"}:
            raise Denied(
                f"Nobody moves a version to {stage!r} by hand.",
                about="model_version",
                hint="`interlock audit check` validates, `interlock audit approve` approves,"
                " `interlock deploy` deploys.",
            )

        def change(tx: Transaction) -> None:
            if self.standing(tx, found.ref).stage == "deployed":
                raise Conflict(
                    f"{found.ref} answers in a deployment.",
                    about="model_version",
                    hint="Deploy another version or roll back first.",
                )
            self.advance(tx, found.ref, stage, reason)

        self._store.database.write(change)
        return self.version(found.ref)

    @operation(Permission.REGISTRY_WRITE, emits=("alias.moved",))
    def alias(self, model: str, alias: str, version: int) -> Model:
        """Point an alias to a version. Champion and challenger point to approved versions only.

        Args:
            model: the model.
            alias: its name, such as `staging`.
            version: the version's number; 0 takes the alias away.

        Raises:
            Conflict: the version is not approved.
        """
        name = self.model(model).name
        Ref("model", name, alias=alias)
        if alias == LATEST:
            raise Invalid("'latest' always means the newest version.", about="alias", hint="Choose another name.")
        if version:
            self._store.database.write(lambda tx: self.point(tx, name, alias, version))
        else:
            self._store.database.write(lambda tx: self.unpoint(tx, name, alias))
        return self.model(name)

    @operation(Permission.REGISTRY_READ)
    def approvals(self, version: str) -> Approvals:
        """List who approved a version, on which digests.

        Args:
            version: the version.
        """
        found = self.version(version)
        rows = self._store.database.all(
            "SELECT * FROM approvals WHERE model = :model AND version = :version ORDER BY given_at",
            {"model": found.model, "version": found.version},
        )
        return [
            Approval(r["actor"], r["bundle"], r["report"], r["policy"], r["note"], from_micros(r["given_at"]))
            for r in rows
        ]

    @operation(Permission.REGISTRY_READ)
    def version(self, version: str) -> ModelVersion:
        """Show one version of a model.

        Args:
            version: model:NAME@3, model:NAME@champion, or model:NAME for the newest.

        Raises:
            NotFound: there is no such version or alias.
        """
        row = self._row(self._store.database, parse(version, "model"))
        return self._record(self._store.database, row)

    @operation(Permission.REGISTRY_READ)
    def versions(self, model: str) -> Versions:
        """List the versions of a model, oldest first.

        Args:
            model: the model.
        """
        name = self.model(model).name
        rows = self._store.database.all(
            "SELECT * FROM model_versions WHERE model = :model ORDER BY version", {"model": name}
        )
        return [self._record(self._store.database, row) for row in rows]

    @operation(Permission.REGISTRY_READ)
    def model(self, model: str) -> Model:
        """Show one model.

        Args:
            model: its name.

        Raises:
            NotFound: there is none.
        """
        name, database = parse(model, "model").name, self._store.database
        row = database.one(
            "SELECT m.*, (SELECT count(*) FROM model_versions v WHERE v.model = m.name) AS versions"
            " FROM models m WHERE m.name = :name",
            {"name": name},
        )
        if row is None:
            raise NotFound.named("model", name, (m["name"] for m in database.all("SELECT name FROM models")))
        aliases = database.all("SELECT alias, version FROM model_aliases WHERE model = :name", {"name": name})
        return Model(name, row["versions"], {a["alias"]: a["version"] for a in aliases}, from_micros(row["created_at"]))

    @operation(Permission.REGISTRY_READ)
    def models(self) -> Models:
        """List all models."""
        return [self.model(row["name"]) for row in self._store.database.all("SELECT name FROM models ORDER BY name")]

    @operation(Permission.REGISTRY_READ)
    def bundle(self, version: str) -> Bundle:
        """Show what a version is for those who serve it: inputs, classes, files, agreement.

        Args:
            version: the version.
        """
        return self.read_bundle(self.version(version).bundle)

    def read_bundle(self, digest: str) -> Bundle:
        """Return the record of a bundle.

        Raises:
            Invalid: the object is no bundle.
        """
        entry = read_manifest(self._store.objects, digest).find("bundle.json")
        try:
            return msgspec.json.decode(self._store.objects.get(entry.digest), type=Bundle)
        except msgspec.MsgspecError as error:
            raise Invalid(f"Object {digest} is no bundle: {error}.", about="bundle") from None

    def part(self, bundle: str, role: str) -> bytes:
        """Return the bytes of one file of a bundle: `serving`, `original`, `golden` or `evaluation`."""
        path = self.read_bundle(bundle).files[role]
        return self._store.objects.get(read_manifest(self._store.objects, bundle).find(path).digest)

    def standing(self, tx: Transaction, version: str) -> ModelVersion:
        """Return a version as it stands in the caller's transaction."""
        return self._record(tx, self._row(tx, parse(version, "model")))

    def advance(self, tx: Transaction, version: str, stage: Stage, reason: str) -> None:
        """Move a version within the caller's transaction; a version that stands there already stays.

        One that is neither approved nor deployed any more is champion or challenger no more.

        Raises:
            Conflict: the life cycle does not know this move.
        """
        ref = parse(version, "model")
        row = self._row(tx, ref)
        origin: Stage = msgspec.convert(row["stage"], Stage)
        if origin == stage:
            return
        check_move(origin, stage)
        values = {"stage": stage, "reason": reason, "at": to_micros(self._store.clock.now())}
        values |= {"model": row["model"], "version": row["version"]}
        tx.run(
            "UPDATE model_versions SET stage = :stage, stage_reason = :reason, stage_at = :at"
            " WHERE model = :model AND version = :version",
            values,
        )
        data = {"origin": origin, "stage": stage, "reason": reason}
        self._store.ledger.append(tx, "model_version.moved", str(Ref("model", row["model"], row["version"])), data)
        if stage not in _TRUSTED:
            for alias in sorted(_EARNED.intersection(self._record(tx, row).aliases)):
                self.unpoint(tx, row["model"], alias)

    def point(self, tx: Transaction, model: str, alias: str, version: int) -> None:
        """Point an alias to a version in the caller's transaction; only an approved or deployed one may be champion.

        Raises:
            Conflict: the version has not been approved.
        """
        row = self._row(tx, Ref("model", model, version))
        if alias in _EARNED and row["stage"] not in _TRUSTED:
            raise Conflict(
                f"model:{model}@{version} is {row['stage']!r}; only an approved version can be the {alias}.",
                about="alias",
                hint=f"See `interlock audit report model:{model}@{version}`.",
            )
        held = tx.one("SELECT version FROM model_aliases WHERE model = :m AND alias = :a", {"m": model, "a": alias})
        if held is not None and held["version"] == version:
            return
        tx.run(
            "INSERT INTO model_aliases (model, alias, version) VALUES (:model, :alias, :version)"
            " ON CONFLICT (model, alias) DO UPDATE SET version = excluded.version",
            {"model": model, "alias": alias, "version": version},
        )
        data = {"alias": alias, "version": version, "previous": held["version"] if held else 0}
        self._store.ledger.append(tx, "alias.moved", f"model:{model}", data)

    def unpoint(self, tx: Transaction, model: str, alias: str) -> None:
        """Take an alias away within the caller's transaction."""
        held = tx.one("SELECT version FROM model_aliases WHERE model = :m AND alias = :a", {"m": model, "a": alias})
        if held is not None:
            tx.run("DELETE FROM model_aliases WHERE model = :m AND alias = :a", {"m": model, "a": alias})
            data = {"alias": alias, "version": 0, "previous": held["version"]}
            self._store.ledger.append(tx, "alias.moved", f"model:{model}", data)

    def _insert(self, tx: Transaction, model: str, run: str, bundle: str, data: tuple[str, ...]) -> int:
        at = to_micros(self._store.clock.now())
        tx.run(
            "INSERT INTO models (name, created_at) VALUES (:name, :at) ON CONFLICT (name) DO NOTHING",
            {"name": model, "at": at},
        )
        last = tx.one("SELECT max(version) AS last FROM model_versions WHERE model = :model", {"model": model})
        version = ((last["last"] if last else None) or 0) + 1
        tx.run(
            "INSERT INTO model_versions (model, version, run, bundle, data, stage, stage_reason, stage_at, created_at)"
            " VALUES (:model, :version, :run, :bundle, :data, 'created', 'made by its run', :at, :at)",
            {"model": model, "version": version, "run": run, "bundle": bundle, "data": "\n".join(data), "at": at},
        )
        ref = str(Ref("model", model, version))
        self._store.ledger.append(
            tx, "model_version.created", ref, {"run": f"run:{run}", "bundle": bundle, "data": list(data)}
        )
        self.advance(tx, ref, "registered", "its bundle is stored and its two forms agree")
        return version

    def _row(self, database: Reader, ref: Ref) -> Row:
        name, version = ref.name, ref.version
        if version is None and ref.alias not in {"", LATEST}:
            held = database.all("SELECT alias, version FROM model_aliases WHERE model = :name", {"name": name})
            aliases = {row["alias"]: row["version"] for row in held}
            if ref.alias not in aliases:
                raise NotFound.named("model_version", str(ref), (f"model:{name}@{a}" for a in aliases))
            version = aliases[ref.alias]
        rows = database.all("SELECT * FROM model_versions WHERE model = :name ORDER BY version DESC", {"name": name})
        if version is None and rows:
            return rows[0]
        for row in rows:
            if row["version"] == version:
                return row
        known = [f"model:{name}@{row['version']}" for row in rows]
        known = known or [f"model:{row['name']}" for row in database.all("SELECT name FROM models")]
        raise NotFound.named("model_version", str(ref), known)

    def _record(self, database: Reader, row: Row) -> ModelVersion:
        aliases = database.all(
            "SELECT alias FROM model_aliases WHERE model = :model AND version = :version ORDER BY alias",
            {"model": row["model"], "version": row["version"]},
        )
        return ModelVersion(
            ref=str(Ref("model", row["model"], row["version"])),
            model=row["model"],
            version=row["version"],
            run=f"run:{row['run']}",
            bundle=row["bundle"],
            data=tuple(filter(None, row["data"].split("\n"))),
            stage=msgspec.convert(row["stage"], Stage),
            stage_reason=row["stage_reason"],
            stage_at=from_micros(row["stage_at"]),
            aliases=tuple(a["alias"] for a in aliases),
            created_at=from_micros(row["created_at"]),
        )

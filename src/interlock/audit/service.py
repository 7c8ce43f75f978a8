"""The audit service: gates on recorded evidence, and signatures bound to what was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from interlock.audit.environments.prepare import Preparation, Text, prepare, prepared, text_of
from interlock.audit.evaluation import Evaluation, Part, evaluation_of, picture_of
from interlock.audit.evidence import Evidence, gather, sentences
from interlock.audit.judge import GROUP, judge
from interlock.audit.policy import Policy, parse_policy
from interlock.audit.reports import GateReport, Waiver, last_report, told, waived, why_failed
from interlock.audit.setting import PolicySet, set_policy, spelt, weaker
from interlock.audit.unjudged import unjudged
from interlock.core.actor import current_actor
from interlock.core.bundles import training_rows
from interlock.core.clock import parse_instant, to_micros
from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.core.operations import Permission, operation
from interlock.core.plugins import names
from interlock.core.refs import parse
from interlock.registry.service import ModelVersion, RegistryService
from interlock.serve.fresh import fresh_preflight
from interlock.store.apart import table_of
from interlock.store.manifests import read_manifest
from interlock.track.environment import Environment, environment
from interlock.track.service import TrackService

if TYPE_CHECKING:
    import polars as pl

    from interlock.core.ports import Reader, Transaction
    from interlock.store import Store

TRAINING = "training.parquet"

__all__ = ["AuditService", "Evaluation", "GateReport", "Waiver"]


class AuditService:
    """Gates and approvals: what a version must show before it moves forward."""

    name = "audit"

    def __init__(self, store: Store) -> None:
        self._store = store
        self._registry = RegistryService(store)

    @operation(Permission.AUDIT_RUN, emits=("policy.set", "alias.moved"))
    def set_policy(self, model: str, policy: dict[str, object]) -> PolicySet:
        """Set what versions of a model must show; the answer says what is weaker than before, and who lost an alias.

        Args:
            model: the model.
            policy: as in interlock.toml, such as {"roc_auc": ">= 0.9", "leakage": "none", "approvals": 1}, with
                `sensitive`, `target` and `id`; or as `policy` shows it.

        Raises:
            Invalid: it names no model, or something of one; or a key, measure or direction is wrong.
        """
        return self.put_policy(model, spelt(policy))

    @operation(Permission.AUDIT_READ)
    def policy(self, model: str) -> Policy:
        """Show what versions of a model must show.

        Args:
            model: the model.

        Raises:
            NotFound: no policy was set.
        """
        found = self.policy_of(parse(model, "model").name)
        if found is None:
            raise NotFound(
                f"Model {model!r} has no policy.",
                about="policy",
                hint="Write [model.NAME.gates], then `interlock apply`.",
            )
        return found

    @operation(
        Permission.AUDIT_RUN,
        emits=("environment.prepared", "environment.failed", "model_version.moved"),
    )
    def prepare(self, version: str, packages: list[str] | None = None) -> Preparation:
        """Lock what a version needs with hashes, build that apart with uv, and load the version's files in it.

        Args:
            version: such as model:employment@2; a registered one is `environment prepared` afterwards.
            packages: names of further packages that shall be there, of those that its run recorded.

        Raises:
            Conflict: nothing says what it needs, or it does not answer there; its stage stays.
            Unavailable: packages cannot be had now.
            MissingExtra: the extra `environments` is not installed.
        """
        return prepare(self._store, self._registry, self._registry.version(version), packages or ())

    @operation(Permission.AUDIT_READ)
    def environment(self, version: str) -> Preparation:
        """Show how a version's environment was prepared last.

        Args:
            version: the version.

        Raises:
            NotFound: it never was.
        """
        return prepared(self._store, self._registry.version(version))

    @operation(Permission.AUDIT_READ)
    def environment_text(self, version: str, part: Text = "lock") -> str:
        """Print the locked list of a version's environment, which pip and uv install, or the log of its build.

        Args:
            version: the version.
            part: lock or log.
        """
        return text_of(self._store, self._registry.version(version), part)

    @operation(Permission.AUDIT_RUN, emits=("gate.passed", "gate.failed", "model_version.moved", "alias.moved"))
    def check(self, version: str) -> GateReport:
        """Let every gate judge a version; it is validated, or goes back to development.

        Args:
            version: such as model:employment@2.

        Raises:
            Conflict: the version stands where gates judge no more.
            NotFound: the model has no policy.
            Unavailable: no gate is installed.
        """
        found = self._registry.version(version)
        if found.stage not in {"development", "registered", "environment prepared", "validated"}:
            raise Conflict(f"{found.ref} is {found.stage!r}; gates judge before an approval.", about="model_version")
        policy = self.policy(found.model)
        judged = not found.bundle or found.format == "bundle"
        results = judge(self._evidence(found), policy) if judged else unjudged(found, policy)
        passed_by = waived(self._store, found)
        failed = [r.gate for r in results if r.status == "failed" and r.gate not in passed_by]
        report = GateReport(
            version=found.ref,
            bundle=found.bundle,
            policy=policy.digest,
            passed=not failed,
            results=tuple(sorted(results, key=lambda r: r.gate)),
            waived=tuple(r.gate for r in results if r.status == "failed" and r.gate in passed_by),
            made_at=self._store.clock.now(),
        )
        digest = self._store.objects.put(msgspec.json.encode(report))

        def change(tx: Transaction) -> None:
            if found.stage == "development":
                self._registry.advance(tx, found.ref, "registered", "checked again")
            self._record(tx, found, report, digest, told(report, passed_by))

        self._store.database.write(change)
        return report

    @operation(Permission.AUDIT_READ)
    def report(self, version: str) -> GateReport:
        """Show what the gates said last about a version.

        Args:
            version: the version.

        Raises:
            NotFound: no gate has judged it.
        """
        found = self._registry.version(version)
        return last_report(self._store, found)[1]

    @operation(Permission.AUDIT_READ)
    def evaluation(self, version: str) -> Evaluation:
        """Show every metric of a version on its held-out rows, with intervals, and its confusion matrix.

        Args:
            version: the version.

        Raises:
            NotFound: no gate has judged it, or that was by an earlier release.
        """
        return evaluation_of(self.report(version))

    @operation(Permission.AUDIT_READ)
    def evaluation_svg(self, version: str, part: Part = "confusion") -> str:
        """Print a picture of a version's evaluation, in SVG.

        Args:
            version: the version.
            part: its confusion matrix, or its metrics with their intervals.

        Raises:
            NotFound: as for its evaluation; or it answers values, which have no such picture.
        """
        return picture_of(self.evaluation(version), part).standalone()

    @operation(Permission.AUDIT_APPROVE, emits=("approval.given", "model_version.moved"))
    def approve(self, version: str, note: str = "") -> ModelVersion:
        """Sign for a validated version; enough signatures make it approved.

        Args:
            version: the version.
            note: why.

        Raises:
            Conflict: it is not validated, or since its report the policy has changed or a waiver has ended.
        """
        found, actor = self._registry.version(version), current_actor()
        self._store.database.write(lambda tx: self._approve(tx, found.ref, actor, note))
        return self._registry.version(found.ref)

    @operation(Permission.AUDIT_APPROVE, emits=("approval.refused", "model_version.moved", "alias.moved"))
    def refuse(self, version: str, reason: str) -> ModelVersion:
        """Send a version back to development.

        Args:
            version: the version.
            reason: why; whoever made it will read this.
        """
        found = self._registry.version(version)

        def change(tx: Transaction) -> None:
            self._registry.advance(tx, found.ref, "development", f"refused by {current_actor()}: {reason}")
            self._store.ledger.append(tx, "approval.refused", found.ref, {"reason": reason})

        self._store.database.write(change)
        return self._registry.version(found.ref)

    @operation(Permission.AUDIT_WAIVE, emits=("gate.waived",))
    def waive(self, version: str, gate: str, reason: str, until: str) -> Waiver:
        """Let a version pass one failed gate, for a reason and until a date; check it again afterwards.

        Args:
            version: the version.
            gate: the gate's name.
            reason: why the risk is taken.
            until: the last instant (ISO 8601) at which the waiver holds.

        Raises:
            Invalid: the reason is empty or the date is past.
            NotFound: there is no such gate.
        """
        found = self._registry.version(version)
        if gate not in names(GROUP):
            raise NotFound.named("gate", gate, names(GROUP))
        try:
            last = parse_instant(until)
        except ValueError:
            raise Invalid(f"{until!r} is no instant.", about="waiver", hint="Write for example 2027-06-30.") from None
        if not reason.strip() or last <= self._store.clock.now():
            raise Invalid("A waiver needs a reason and an end that is still to come.", about="waiver")
        values = {"model": found.model, "version": found.version, "gate": gate, "actor": current_actor()}
        values |= {"reason": reason, "until": to_micros(last)}

        def change(tx: Transaction) -> None:
            tx.run(
                "INSERT INTO waivers (model, version, gate, actor, reason, until)"
                " VALUES (:model, :version, :gate, :actor, :reason, :until)"
                " ON CONFLICT (model, version, gate) DO UPDATE SET actor = excluded.actor,"
                " reason = excluded.reason, until = excluded.until",
                values,
            )
            data = {"gate": gate, "reason": reason, "until": until}
            self._store.ledger.append(tx, "gate.waived", found.ref, data)

        self._store.database.write(change)
        return Waiver(found.ref, gate, current_actor(), reason, last)

    def put_policy(self, model: str, policy: Policy) -> PolicySet:
        """Set a policy that was parsed; see `set_policy`."""
        return set_policy(self._store, self._registry, model, policy, self.policy_of(parse(model, "model").name))

    def takes_away(self, model: str, policy: Policy) -> tuple[str, ...]:
        """Return what setting a policy would take away, a sentence each: rules of the one before, and aliases."""
        return *weaker(self.policy_of(model), policy), *self._registry.unearned(self._store.database, model)

    def make_policy(self, gates: dict[str, str | float], sensitive: tuple[str, ...], target: str, ident: str) -> Policy:
        """Return the policy that a gates table spells for data with these columns."""
        return parse_policy(gates, sensitive, target, ident)

    def policy_of(self, model: str, reader: Reader | None = None) -> Policy | None:
        """Return the policy of a model, or None when none was set; a reader may be a transaction."""
        reader = reader or self._store.database
        row = reader.one("SELECT digest FROM applied WHERE name = :name", {"name": f"policy:{model}"})
        return msgspec.json.decode(self._store.objects.get(row["digest"]), type=Policy) if row else None

    def _evidence(self, version: ModelVersion) -> Evidence:
        bundle = self._registry.read_bundle(version.bundle)
        run = TrackService(self._store).run(version.run)
        recorded = None
        if run.environment:
            recorded = msgspec.json.decode(self._store.objects.get(run.environment), type=Environment)
        result = fresh_preflight(self._store.root, version.bundle)
        known: dict[str, Any] = {
            "data": version.data,
            "training_environment": recorded,
            "present_environment": environment(),
            "preflight": msgspec.to_builtins(result),
        }
        training: pl.DataFrame | None = None
        kept = {artifact.name: artifact.digest for artifact in run.artifacts}
        own = training_rows(read_manifest(self._store.objects, version.bundle).find(bundle.files["original"]).digest)
        if name := next((name for name in (own, TRAINING) if name in kept), ""):
            training = table_of(self._store.objects.get(kept[name]), "parquet", f"{name} of {run.ref}")
        told = f"The evaluation rows of {version.ref}"
        evaluation = table_of(self._registry.part(version.bundle, "evaluation"), "parquet", told)
        serving = self._registry.part(version.bundle, "serving")
        return gather(bundle, serving, evaluation, training=training, **known)

    def _record(self, tx: Transaction, version: ModelVersion, report: GateReport, digest: str, told: str) -> None:
        """Write a report, one event a gate, and the moves that follow."""
        tx.run(
            "INSERT INTO gate_reports (model, version, report, policy, passed, made_at)"
            " VALUES (:model, :version, :report, :policy, :passed, :at)"
            " ON CONFLICT (model, version, made_at) DO UPDATE SET report = excluded.report,"
            " policy = excluded.policy, passed = excluded.passed",
            {
                "model": version.model,
                "version": version.version,
                "report": digest,
                "policy": report.policy,
                "passed": int(report.passed),
                "at": to_micros(report.made_at),
            },
        )
        for result in report.results:
            data: dict[str, Any] = {"gate": result.gate, "policy": report.policy, "report": digest}
            if result.status == "failed":
                reason = sentences(result.findings)
                self._store.ledger.append(tx, "gate.failed", version.ref, data | {"reason": reason})
            elif result.status == "passed":
                self._store.ledger.append(tx, "gate.passed", version.ref, data)
        failed = [r for r in report.results if r.status == "failed" and r.gate not in report.waived]
        if failed:
            self._registry.advance(tx, version.ref, "development", why_failed(failed))
            return
        self._registry.advance(tx, version.ref, "validated", told)

    def _approve(self, tx: Transaction, ref: str, actor: str, note: str) -> None:
        """Sign for what stands at this moment: stage, report, policy and waivers are read in the same transaction."""
        version = self._registry.standing(tx, ref)
        digest, report = last_report(self._store, version, tx)
        policy = self.policy_of(version.model, tx)
        if version.stage not in {"validated", "approved"}:
            raise Conflict(
                f"{ref} is {version.stage!r}: {version.stage_reason.rstrip('.')}. Only a validated one is approved.",
                about="approval",
                hint=f"See `interlock audit report {ref}`.",
            )
        ended = sorted(set(report.waived).difference(waived(self._store, version, tx)))
        if policy is None or report.policy != policy.digest or ended:
            why = f"The waiver of gate {ended[0]!r} has ended" if ended else "The policy has changed"
            raise Conflict(
                f"{why} since {ref} was judged.", about="approval", hint=f"Run `interlock audit check {ref}`."
            )
        self._sign(tx, version, (actor, digest, policy.digest, note))
        signed = tx.one(
            "SELECT count(*) AS n FROM approvals WHERE model = :model AND version = :version AND report = :report",
            {"model": version.model, "version": version.version, "report": digest},
        )
        if signed and signed["n"] >= policy.approvals:
            self._registry.advance(tx, ref, "approved", f"approved by {actor}" + (f": {note}" if note else ""))

    def _sign(self, tx: Transaction, version: ModelVersion, signature: tuple[str, str, str, str]) -> None:
        actor, report, policy, note = signature
        values = {"model": version.model, "version": version.version, "actor": actor}
        row = tx.one(
            "SELECT report FROM approvals WHERE model = :model AND version = :version AND actor = :actor", values
        )
        if row is not None and row["report"] == report:
            return
        values |= {"bundle": version.bundle, "report": report, "policy": policy, "note": note}
        tx.run(
            "INSERT INTO approvals (model, version, actor, bundle, report, policy, note, given_at)"
            " VALUES (:model, :version, :actor, :bundle, :report, :policy, :note, :at)"
            " ON CONFLICT (model, version, actor) DO UPDATE SET report = excluded.report, policy = excluded.policy,"
            " note = excluded.note, given_at = excluded.given_at",
            values | {"at": to_micros(self._store.clock.now())},
        )
        data = {"bundle": version.bundle, "report": report, "policy": policy, "note": note}
        self._store.ledger.append(tx, "approval.given", version.ref, data, actor)

"""The deploy service: what shall run is a row; what runs is made to follow it."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import msgspec

from interlock.core.bundles import DeploymentSpec, Route, Serving
from interlock.core.clock import from_micros
from interlock.core.errors import Conflict, Finding, Invalid, NotFound, Unavailable
from interlock.core.operations import Permission, operation
from interlock.core.refs import check_name
from interlock.deploy.admission import check_approved
from interlock.deploy.claim import turn
from interlock.deploy.inputs import told_changes
from interlock.deploy.process import ProcessTarget, Replica
from interlock.deploy.records import (
    BACK,
    TAKEN_BACK,
    Deployment,
    Deployments,
    Revision,
    Revisions,
    State,
    champions,
    checked,
)
from interlock.deploy.stated import stated
from interlock.deploy.trial import check_beside, try_version
from interlock.deploy.writing import Writer
from interlock.registry.service import RegistryService
from interlock.serve.sources import read_spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.core.ports import Row, Transaction
    from interlock.store import Store

_READY_S = 60.0
_TURN_S = 3 * _READY_S
__all__ = ["DeployService", "Deployment", "Deployments", "Revision", "Revisions", "State"]


class DeployService:
    """Deployments: put approved versions to work, in steps, and take them back."""

    name = "deploy"

    def __init__(self, store: Store) -> None:
        self._store = store
        self._registry = RegistryService(store)
        self._target = ProcessTarget(store.root, store.clock)
        self._writer = Writer(store, self._registry)

    @operation(
        Permission.DEPLOY_WRITE,
        emits=("deployment.changed", "deployment.refused", "model_version.moved", "alias.moved"),
    )
    def deploy(self, name: str, model: str, canary: float = 0.0, serving: Serving | None = None) -> Deployment:
        """Give a version the traffic of a deployment, after it was tried in a fresh process, golden requests and all.

        Args:
            name: the deployment; it is made if it is new.
            model: the version, such as model:employment@2.
            canary: the share (0-1) it gets beside the present champion; 0 gives it all.
            serving: how the deployment answers from now on; without it, as it did, or as the applied project says.

        Raises:
            Invalid: a canary predicts another column than the champion, or answers in another kind.
            GateClosed: the version is not approved, or the trial fails: another score, a package of another version,
                an original that may not answer; traffic stays as it is.
            Conflict: somebody else changed the deployment meanwhile.
        """
        check_name(name, "deployment")
        version = self._registry.version(model)
        check_approved(self._store, self._registry, version)
        held = self._spec(name)
        if not 0 <= canary < 1:
            raise Invalid(f"A canary's share is from 0 to below 1, not {canary}.", about="deployment")
        if held and any(r.model == version.ref and (canary == 0) == (r.weight == 1) for r in held.routes):
            return self.start(name) if serving is None else self.configure(name, serving)
        if serving is None:
            serving = held.serving if held else stated(self._store.database, self._store.objects, name)
        serving = checked(serving)
        champion = next((r for r in held.routes if r.role == "champion"), None) if held else None
        if canary and (champion is None or champion.model == version.ref):
            why = f"{version.ref} is the champion itself" if champion else "There is no champion"
            raise Conflict(f"{why}; a canary runs beside one.", about="deployment")
        if canary and champion:
            check_beside(self._registry, champion.model, version.ref)
        unproved = try_version(self._store, self._registry, name, version, serving)
        if canary and champion:
            routes: tuple[Route, ...] = (
                msgspec.structs.replace(champion, weight=1 - canary),
                Route(version.ref, version.bundle, canary, "challenger"),
            )
            reason = f"{version.ref} takes {canary:.0%} of the traffic"
        else:
            routes = (Route(version.ref, version.bundle, 1.0),)
            reason = f"{version.ref} takes all the traffic"
        return self._change(held, DeploymentSpec(name, 0, routes, serving), reason, unproved)

    @operation(Permission.DEPLOY_WRITE, emits=("deployment.changed", "deployment.refused"))
    def configure(self, name: str, serving: Serving, reason: str = "") -> Deployment:
        """Say how a deployment answers; its routes stay. Its server follows without a restart.

        Args:
            name: the deployment.
            serving: how, the whole of it: what is not said, the server's own options say again.
            reason: why; without it, what is other than before.

        Raises:
            GateClosed: a version that answers now may not, or does not, under another policy on originals.
            Unavailable: its server cannot follow; it answers as before.
        """
        held, wanted = self._require(name), checked(serving)
        if held.serving == wanted:
            return self.start(name)
        if bool(held.serving.code_models) != bool(wanted.code_models):
            for route in held.routes:
                try_version(self._store, self._registry, name, self._registry.version(route.model), wanted)
        why = reason or f"configured: {wanted.changes(held.serving)}"
        return self._change(held, msgspec.structs.replace(held, serving=wanted), why)

    @operation(Permission.DEPLOY_WRITE, emits=("deployment.changed", "model_version.moved", "alias.moved"))
    def promote(self, name: str, reason: str = "by hand") -> Deployment:
        """Give the challenger of a deployment all of the traffic.

        Args:
            name: the deployment.
            reason: why.

        Raises:
            Conflict: it has no challenger.
        """
        held = self._require(name)
        challenger = next((route for route in held.routes if route.role == "challenger"), None)
        if challenger is None:
            raise Conflict(f"Deployment {name!r} has no challenger.", about="deployment")
        return self._route(held, Route(challenger.model, challenger.bundle, 1.0), f"promoted: {reason}")

    @operation(Permission.DEPLOY_WRITE, emits=("deployment.changed", "model_version.moved", "alias.moved"))
    def rollback(self, name: str, reason: str = "by hand") -> Deployment:
        """Take the challenger's traffic away; without one, go back to the champion before this.

        Args:
            name: the deployment.
            reason: why.

        Raises:
            Conflict: there is nothing to go back to.
        """
        spec = self._require(name)
        champion = next(route for route in spec.routes if route.role == "champion")
        if len(spec.routes) > 1:
            return self._route(spec, champion, f"{BACK}{reason}")
        for before in reversed(champions(self.revisions(name))[:-1]):
            stage = self._registry.version(before.model).stage
            if before.model != champion.model and stage in {"approved", "deployed"}:
                return self._route(spec, before, f"{BACK}{reason}")
        raise Conflict(f"Deployment {name!r} has no earlier champion.", about="deployment")

    @operation(Permission.DEPLOY_WRITE, emits=("deployment.changed",))
    def start(self, name: str) -> Deployment:
        """Let a stopped deployment serve again.

        Args:
            name: the deployment.
        """
        self._want(name, "serving")
        self.reconcile(name)
        return self.show(name)

    @operation(Permission.DEPLOY_WRITE, emits=("deployment.stopped",))
    def stop(self, name: str) -> Deployment:
        """Take a deployment down; its routes are kept.

        Args:
            name: the deployment.
        """
        self._want(name, "stopped")
        self.reconcile(name)
        return self.show(name)

    @operation(Permission.DEPLOY_READ)
    def show(self, name: str) -> Deployment:
        """Show one deployment.

        Args:
            name: the deployment.

        Raises:
            NotFound: there is none.
        """
        row, spec = self._row(name), self._require(name)
        replica = _replica(row)
        live = self._target.alive(replica)
        state: State = msgspec.convert(row["state"], State)
        at = from_micros(row["changed_at"])
        url = row["url"] if live else ""
        made = self._store.database.one(
            "SELECT reason, warnings FROM deployment_revisions WHERE name = :name AND revision = :revision",
            {"name": name, "revision": spec.revision},
        )
        why = (made["reason"], _findings(made)) if made else ()
        return Deployment(name, spec.revision, spec.routes, state, live, url, replica.pid, at, spec.serving, *why)

    @operation(Permission.DEPLOY_READ)
    def deployments(self) -> Deployments:
        """List all deployments."""
        return [
            self.show(row["name"]) for row in self._store.database.all("SELECT name FROM deployments ORDER BY name")
        ]

    @operation(Permission.DEPLOY_READ)
    def revisions(self, name: str) -> Revisions:
        """List the revisions of a deployment, oldest first.

        Args:
            name: the deployment.
        """
        rows = self._store.database.all(
            "SELECT * FROM deployment_revisions WHERE name = :name ORDER BY revision", {"name": name}
        )
        found, before = [], Serving()
        for row in rows:
            spec, at = read_spec(self._store.objects, row["spec"]), from_micros(row["changed_at"])
            changes = spec.serving.changes(before)
            found.append(
                Revision(row["revision"], spec.routes, row["reason"], at, spec.serving, changes, _findings(row))
            )
            before = spec.serving
        return found

    def reconcile(self, name: str) -> None:
        """Make what runs what is wanted: start, restart, refresh or stop the server. Safe to repeat at any time.

        Raises:
            Unavailable: the server does not come up, or does not take the wanted revision; or somebody else is at it.
        """
        self._row(name)
        with turn(self._store.root, name, _TURN_S):
            self._reconcile(name)

    def _reconcile(self, name: str) -> None:
        row = self._row(name)
        replica = _replica(row)
        if row["state"] == "stopped":
            self._target.stop(replica)
            unrecorded = self._target.find(name)  # whoever started it was killed before it could write that down
            if unrecorded is not None:
                self._target.stop(unrecorded)
            return
        if not self._target.alive(replica):
            replica = self._target.start(name, _READY_S)
            self._store.database.write(lambda tx: self._seen(tx, name, replica))
        self._await_revision(name, replica, row["revision"])

    def _await_revision(self, name: str, replica: Replica, revision: int) -> None:
        self._target.nudge(replica)
        deadline = self._store.clock.monotonic() + _READY_S
        while True:
            status = self._target.status(replica)
            if (status.get("revision") or 0) >= revision:
                return
            refused = status.get("wanted_revision") == revision and status.get("errors")
            if refused or self._store.clock.monotonic() > deadline:
                why = "; ".join(refused) if refused else "it took too long"
                raise Unavailable(
                    f"The server of {name!r} stays on its old routes: {why.rstrip('.')}.", about="deployment"
                )
            time.sleep(0.02)

    def _route(self, held: DeploymentSpec, route: Route, reason: str) -> Deployment:
        """Give one version all of the traffic."""
        whole = msgspec.structs.replace(route, weight=1.0)
        return self._change(held, msgspec.structs.replace(held, routes=(whole,)), reason)

    def _change(
        self, held: DeploymentSpec | None, wanted: DeploymentSpec, reason: str, unproved: Sequence[Finding] = ()
    ) -> Deployment:
        """Make new routes, or another way to answer, what is wanted, then make it so; if that fails, put the old back.

        Columns that callers have to send otherwise, and what is not proved of a version, are its warnings.

        Raises:
            Conflict: the deployment is no more as it was `held` when this was decided.
        """
        columns = told_changes(self._registry, held.routes if held else (), wanted.routes)
        spec = self._writer.write(held, wanted, reason, (*columns, *unproved))
        try:
            self.reconcile(spec.name)
        except Unavailable as error:
            if held is not None:
                with contextlib.suppress(Conflict):  # somebody has put something else there since
                    self._writer.write(spec, held, f"{TAKEN_BACK}{error.message}")
                self.reconcile(spec.name)
            raise
        return self.show(spec.name)

    def _want(self, name: str, state: State) -> None:
        def change(tx: Transaction) -> None:
            row = tx.one("SELECT * FROM deployments WHERE name = :name", {"name": name})
            if row is None or row["state"] == state:
                return
            tx.run("UPDATE deployments SET state = :state WHERE name = :name", {"state": state, "name": name})
            if state == "stopped":
                data = {"revision": row["revision"]}
                self._store.ledger.append(tx, "deployment.stopped", f"deployment:{name}", data)
            else:
                data = {"revision": row["revision"], "spec": row["spec"], "reason": "started again"}
                self._store.ledger.append(tx, "deployment.changed", f"deployment:{name}", data)

        self._row(name)
        self._store.database.write(change)

    def _seen(self, tx: Transaction, name: str, replica: Replica) -> None:
        tx.run(
            "UPDATE deployments SET pid = :pid, started_at = :born, url = :url WHERE name = :name",
            {"pid": replica.pid, "born": replica.born, "url": replica.url, "name": name},
        )

    def _row(self, name: str) -> Row:
        row = self._store.database.one("SELECT * FROM deployments WHERE name = :name", {"name": name})
        if row is None:
            known = (r["name"] for r in self._store.database.all("SELECT name FROM deployments"))
            raise NotFound.named("deployment", name, known)
        return row

    def _spec(self, name: str) -> DeploymentSpec | None:
        row = self._store.database.one("SELECT spec FROM deployments WHERE name = :name", {"name": name})
        return read_spec(self._store.objects, row["spec"]) if row else None

    def _require(self, name: str) -> DeploymentSpec:
        return read_spec(self._store.objects, self._row(name)["spec"])


def _findings(row: Row) -> tuple[Finding, ...]:
    return msgspec.json.decode(row["warnings"], type=tuple[Finding, ...])


def _replica(row: Row) -> Replica:
    return Replica(row["pid"] or 0, row["started_at"] or 0, row["url"])

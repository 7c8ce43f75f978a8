"""The deploy service: what shall run is a row; what runs is made to follow it."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import msgspec

from interlock.core.bundles import DeploymentSpec, Route, Serving
from interlock.core.clock import from_micros, to_micros
from interlock.core.errors import Conflict, GateClosed, Invalid, NotFound, Unavailable
from interlock.core.operations import Permission, operation
from interlock.core.refs import check_name, parse
from interlock.deploy.admission import check_approved
from interlock.deploy.claim import turn
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
from interlock.registry.service import ModelVersion, RegistryService
from interlock.serve.fresh import fresh_preflight

if TYPE_CHECKING:
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

    @operation(
        Permission.DEPLOY_WRITE,
        emits=("deployment.changed", "deployment.refused", "model_version.moved", "alias.moved"),
    )
    def deploy(self, name: str, model: str, canary: float = 0.0, serving: Serving | None = None) -> Deployment:
        """Give a version the traffic of a deployment, after its golden requests passed in a fresh process.

        Args:
            name: the deployment; it is made if it is new.
            model: the version, such as model:employment@2.
            canary: the share (0-1) it gets beside the present champion; 0 gives it all.
            serving: how the deployment answers from now on; without it, as it did.

        Raises:
            GateClosed: the version is not approved, or its golden requests fail; traffic stays as it is.
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
        serving = held.serving if serving is None and held else checked(serving or Serving())
        self._preflight(name, version)
        champion = next((r for r in held.routes if r.role == "champion"), None) if held else None
        if canary and (champion is None or champion.model == version.ref):
            why = f"{version.ref} is the champion itself" if champion else "There is no champion"
            raise Conflict(f"{why}; a canary runs beside one.", about="deployment")
        if canary and champion:
            routes: tuple[Route, ...] = (
                msgspec.structs.replace(champion, weight=1 - canary),
                Route(version.ref, version.bundle, canary, "challenger"),
            )
            return self._change(name, held, routes, f"{version.ref} takes {canary:.0%} of the traffic", serving)
        routes = (Route(version.ref, version.bundle, 1.0),)
        return self._change(name, held, routes, f"{version.ref} takes all the traffic", serving)

    @operation(Permission.DEPLOY_WRITE, emits=("deployment.changed",))
    def configure(self, name: str, serving: Serving, reason: str = "") -> Deployment:
        """Say how a deployment answers; its routes stay. Its server follows without a restart.

        Args:
            name: the deployment.
            serving: how, the whole of it: what is not said, the server's own options say again.
            reason: why; without it, what is other than before.

        Raises:
            Unavailable: its server cannot follow; it answers as before.
        """
        held, wanted = self._require(name), checked(serving)
        if held.serving == wanted:
            return self.start(name)
        why = reason or f"configured: {wanted.changes(held.serving)}"
        return self._change(name, held, held.routes, why, wanted)

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
        return self._change(name, held, (Route(challenger.model, challenger.bundle, 1.0),), f"promoted: {reason}")

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
            return self._change(name, spec, (msgspec.structs.replace(champion, weight=1.0),), f"{BACK}{reason}")
        for before in reversed(champions(self.revisions(name))[:-1]):
            stage = self._registry.version(before.model).stage
            if before.model != champion.model and stage in {"approved", "deployed"}:
                return self._change(name, spec, (msgspec.structs.replace(before, weight=1.0),), f"{BACK}{reason}")
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
        return Deployment(name, spec.revision, spec.routes, state, live, url, replica.pid, at, spec.serving)

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
            spec, at = self._decode(row["spec"]), from_micros(row["changed_at"])
            changes = spec.serving.changes(before)
            found.append(Revision(row["revision"], spec.routes, row["reason"], at, spec.serving, changes))
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

    def _change(
        self,
        name: str,
        held: DeploymentSpec | None,
        routes: tuple[Route, ...],
        reason: str,
        serving: Serving | None = None,
    ) -> Deployment:
        """Make new routes, or another way to answer, what is wanted, then make it so; if that fails, put the old back.

        Raises:
            Conflict: the deployment is no more as it was `held` when this was decided.
        """
        how = serving if serving is not None else held.serving if held else Serving()
        spec = self._write(name, held, DeploymentSpec(name, 0, routes, how), reason)
        try:
            self.reconcile(name)
        except Unavailable as error:
            if held is not None:
                with contextlib.suppress(Conflict):  # somebody has put something else there since
                    self._write(name, spec, held, f"{TAKEN_BACK}{error.message}")
                self.reconcile(name)
            raise
        return self.show(name)

    def _write(self, name: str, held: DeploymentSpec | None, wanted: DeploymentSpec, reason: str) -> DeploymentSpec:
        def change(tx: Transaction) -> DeploymentSpec:
            row = tx.one("SELECT revision, spec FROM deployments WHERE name = :name", {"name": name})
            present = row["revision"] if row else 0
            if present != (held.revision if held else 0):
                raise Conflict(
                    f"Deployment {name!r} was changed meanwhile; it is at revision {present}.",
                    about="deployment",
                    hint=f"See `interlock deploy show {name}`, then decide again.",
                )
            spec = msgspec.structs.replace(wanted, revision=present + 1)
            digest = self._store.objects.put(msgspec.json.encode(spec))
            at = to_micros(self._store.clock.now())
            values = {"name": name, "revision": spec.revision, "spec": digest, "at": at, "reason": reason}
            tx.run(
                "INSERT INTO deployments (name, revision, spec, state, url, changed_at)"
                " VALUES (:name, :revision, :spec, 'serving', '', :at) ON CONFLICT (name) DO UPDATE SET"
                " revision = excluded.revision, spec = excluded.spec, state = 'serving',"
                " changed_at = excluded.changed_at",
                values,
            )
            tx.run(
                "INSERT INTO deployment_revisions (name, revision, spec, reason, changed_at)"
                " VALUES (:name, :revision, :spec, :reason, :at)",
                values,
            )
            data = {"revision": spec.revision, "spec": digest, "reason": reason}
            self._store.ledger.append(tx, "deployment.changed", f"deployment:{name}", data)
            self._settle(tx, held, spec, reason)
            return spec

        return self._store.database.write(change)

    def _settle(self, tx: Transaction, before: DeploymentSpec | None, spec: DeploymentSpec, reason: str) -> None:
        """Let stages and aliases say what the routes say: those of this deployment, and of the others."""
        old = before.routes if before else ()
        others = tx.all("SELECT spec FROM deployments WHERE name <> :name", {"name": spec.name})
        serving = {r.model for routes in (spec, *(self._decode(o["spec"]) for o in others)) for r in routes.routes}
        for route in old:
            if route.model not in serving:
                self._registry.advance(tx, route.model, "approved", f"replaced: {reason}")
        for role in ("champion", "challenger"):
            holder = next((route.model for route in spec.routes if route.role == role), None)
            if holder is not None:
                ref = parse(holder, "model")
                self._registry.advance(tx, holder, "deployed", f"answers in deployment:{spec.name}")
                self._registry.point(tx, ref.name, role, ref.version or 0)
            else:
                for model in {parse(route.model, "model").name for route in old}:
                    self._registry.unpoint(tx, model, role)

    def _preflight(self, name: str, version: ModelVersion) -> None:
        result = fresh_preflight(self._store.root, version.bundle)
        if result.ok:
            return
        reason = "; ".join(finding.message for finding in result.findings) or "the fresh process failed"
        self._store.database.write(
            lambda tx: self._store.ledger.append(
                tx, "deployment.refused", f"deployment:{name}", {"model": version.ref, "reason": reason}
            )
        )
        raise GateClosed(
            f"{version.ref} failed its golden requests; traffic stays as it is.",
            about="deployment",
            findings=result.findings,
            hint="The runtime or configuration here differs from the one it was validated in.",
        )

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
        return self._decode(row["spec"]) if row else None

    def _require(self, name: str) -> DeploymentSpec:
        return self._decode(self._row(name)["spec"])

    def _decode(self, digest: str) -> DeploymentSpec:
        return msgspec.json.decode(self._store.objects.get(digest), type=DeploymentSpec)


def _replica(row: Row) -> Replica:
    return Replica(row["pid"] or 0, row["started_at"] or 0, row["url"])

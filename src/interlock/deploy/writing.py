"""What a deployment shall be, written down: row, revision, event, stages and aliases in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from interlock.core.clock import to_micros
from interlock.core.errors import Conflict
from interlock.core.refs import parse
from interlock.deploy.records import told
from interlock.serve.sources import read_spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.core.bundles import DeploymentSpec
    from interlock.core.errors import Finding
    from interlock.core.ports import Transaction
    from interlock.registry.service import RegistryService
    from interlock.store import Store


class Writer:
    """Writes what deployments shall be.

    Args:
        store: the workspace.
        registry: has the stages and aliases that follow.
    """

    def __init__(self, store: Store, registry: RegistryService) -> None:
        self._store = store
        self._registry = registry

    def write(
        self, held: DeploymentSpec | None, wanted: DeploymentSpec, reason: str, warnings: Sequence[Finding] = ()
    ) -> DeploymentSpec:
        """Return what a deployment shall be from now on, with the number that it got.

        Args:
            held: what it was when this was decided; None where it is new.
            wanted: what it shall be.
            reason: why.
            warnings: what was found meanwhile; the event has their sentences behind its reason.

        Raises:
            Conflict: it is no more as it was `held`.
        """
        name = wanted.name

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
            values["warnings"] = msgspec.json.encode(warnings).decode()
            tx.run(
                "INSERT INTO deployments (name, revision, spec, state, url, changed_at)"
                " VALUES (:name, :revision, :spec, 'serving', '', :at) ON CONFLICT (name) DO UPDATE SET"
                " revision = excluded.revision, spec = excluded.spec, state = 'serving',"
                " changed_at = excluded.changed_at",
                values,
            )
            tx.run(
                "INSERT INTO deployment_revisions (name, revision, spec, reason, changed_at, warnings)"
                " VALUES (:name, :revision, :spec, :reason, :at, :warnings)",
                values,
            )
            data = {"revision": spec.revision, "spec": digest, "reason": told(reason, warnings)}
            self._store.ledger.append(tx, "deployment.changed", f"deployment:{name}", data)
            self._settle(tx, held, spec, reason)
            return spec

        return self._store.database.write(change)

    def _settle(self, tx: Transaction, before: DeploymentSpec | None, spec: DeploymentSpec, reason: str) -> None:
        """Let stages and aliases say what the routes say: those of this deployment, and of the others."""
        old = before.routes if before else ()
        others = tx.all("SELECT spec FROM deployments WHERE name <> :name", {"name": spec.name})
        serving = {
            r.model
            for routes in (spec, *(read_spec(self._store.objects, o["spec"]) for o in others))
            for r in routes.routes
        }
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

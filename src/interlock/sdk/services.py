"""The services: one static table, which the command line can show without importing any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Service(NamedTuple):
    """One row of the table.

    Attributes:
        target: where the class is, as `module:Class`.
        help: one line for people.
    """

    target: str
    help: str


SERVICES: Final[Mapping[str, Service]] = {
    "data": Service("interlock.data.service:DataService", "Datasets: ingest, contracts, profiles, versions."),
    "train": Service("interlock.train.service:TrainService", "Pipelines: run them, see their steps."),
    "track": Service("interlock.track.service:TrackService", "Runs: params, metrics, tags, artifacts, logs."),
    "experiments": Service(
        "interlock.track.experiment_service:ExperimentService", "Experiments: the names under which runs are compared."
    ),
    "logged_models": Service(
        "interlock.track.logged_model_service:LoggedModelService", "Logged models: what runs saved as models."
    ),
    "traces": Service("interlock.track.trace_service:TraceService", "Traces: what applications did, span by span."),
    "registry": Service("interlock.registry.service:RegistryService", "Models: versions, aliases, life cycle."),
    "audit": Service("interlock.audit.service:AuditService", "Gates, approvals, waivers."),
    "deploy": Service("interlock.deploy.service:DeployService", "Deployments: roll out, watch, roll back."),
    "monitor": Service("interlock.monitor.service:MonitorService", "Live models: drift, quality, alarms, labels."),
    "loop": Service("interlock.loop.service:LoopService", "The loop: plan, apply, turn, status, why."),
    "ledger": Service("interlock.store.service:LedgerService", "Events, proofs, checkpoints, erasure."),
    "webhooks": Service("interlock.bridges.webhooks.service:WebhookService", "Tell others of events, by signed HTTP."),
}

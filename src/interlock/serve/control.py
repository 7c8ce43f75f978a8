"""The server's own pages: `/metrics`, `/-/status`, `/-/reload`."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.bundles import Serving
from interlock.core.errors import Denied, Error
from interlock.serve import openapi_pages as pages
from interlock.serve.engine import Report
from interlock.serve.guard import CONSTANT_ROWS
from interlock.serve.http import Endpoint, Request, Response, to_json
from interlock.serve.release import versions
from interlock.serve.watch import reasons

if TYPE_CHECKING:
    from interlock.serve.engine import Engine
    from interlock.serve.revision import LiveRoute, Revision
    from interlock.serve.watch import Watcher

_LOCAL: Final = frozenset({"127.0.0.1", "::1", "", "localhost"})


class RouteStatus(msgspec.Struct, frozen=True):
    """A route as it is served.

    Attributes:
        model: the model version.
        bundle: its bundle's digest.
        weight: its share.
        role: champion or challenger.
        load_s: how long the model took to load.
        call_s: how long it takes for one row.
        rows: rows that it answered since the start.
        engine: what calculates: `linear`, `onnx`, `xgboost`, `lightgbm` or `worker`.
        checked: golden rows that it was asked on the way that requests take.
        skew: what was wrong with its last answers to them.
    """

    model: str
    bundle: str
    weight: float
    role: str
    load_s: float
    call_s: float
    rows: int
    engine: str = ""
    checked: int = 0
    skew: list[str] = []


class ModelStatus(msgspec.Struct, frozen=True):
    """One of the models of a server.

    Attributes:
        name: what the server calls it.
        revision: what is served, or None.
        ready: whether it answers with sound scores.
        errors: why what is wanted is not served, or why it is not ready.
        routes: what is routed to.
    """

    name: str
    revision: int | None
    ready: bool
    errors: list[str]
    routes: list[RouteStatus]


class LogStatus(msgspec.Struct, frozen=True):
    """The prediction log: rows on their way, rows on disk, and the last error."""

    waiting: int
    written: int
    error: str


class Status(msgspec.Struct, frozen=True):
    """What a server does. Of several models, all but `ready`, `errors` and `models` is about the first or the process.

    Attributes:
        deployment: the deployment's name.
        ready: whether it answers with sound scores.
        revision: the revision that is served, or None.
        wanted_revision: the one that its row asks for.
        routes: what is routed to.
        errors: why the wanted revision is not served, or why it is not ready; of all models.
        warnings: what is strange about its answers: a model that gives one score to all, or that is old.
        serving: how it answers.
        pid: the process.
        started_at: when it started.
        under_way: requests for predictions that were begun and not yet answered.
        versions: of everything that an answer depends on.
        log: the prediction log.
        models: all models, the first one too.
    """

    deployment: str
    ready: bool
    revision: int | None
    wanted_revision: int | None
    routes: list[RouteStatus]
    errors: list[str]
    pid: int
    started_at: datetime
    under_way: int
    versions: dict[str, str]
    log: LogStatus
    warnings: list[str] = []
    serving: Serving = Serving()
    models: list[ModelStatus] = []


_RELOAD: Final = pages.struct("Look at once whether something else shall be served.", Status, 403, same=409)


class Control:
    """Endpoints about the server itself.

    Args:
        engine: what serves.
        watcher: what swaps.
        started_at: when the server started.
    """

    name = "control"
    prefix = "/-"

    def __init__(self, engine: Engine, watcher: Watcher, started_at: datetime) -> None:
        self.engine = engine
        self.watcher = watcher
        self.started_at = started_at

    def routes(self) -> list[Endpoint]:
        """Return the endpoints."""
        return [
            Endpoint("GET", "/metrics", self._metrics, describe=pages.text("Figures, for Prometheus.")),
            Endpoint("GET", "/-/status", self._status, describe=pages.struct("What runs.", Status)),
            Endpoint("POST", "/-/reload", self._reload, describe=_RELOAD),
        ]

    async def status(self) -> Status:
        """Return what the server does, readiness being tried now."""
        engine, wanted = self.engine, self.watcher.wanted
        revision = engine.revision
        if engine.fleet is None:
            reports = [Report(engine.name, engine, reasons(self.watcher.error))]
        else:
            reports = engine.fleet.reports()
        models = await asyncio.gather(*map(self._model, reports))
        many = len(models) > 1
        errors = [f"{model.name}: {why}" if many else why for model in models for why in model.errors]
        journal = engine.journal
        return Status(
            deployment=engine.name,
            ready=all(model.ready for model in models),
            revision=None if revision is None else revision.number,
            wanted_revision=None if wanted is None else wanted.revision,
            routes=[] if revision is None else [self._route(live) for live in revision.routes],
            errors=list(dict.fromkeys(errors)),
            pid=os.getpid(),
            started_at=self.started_at,
            under_way=engine.under_way,
            versions=versions(),
            log=LogStatus(journal.waiting, journal.written, journal.error),
            warnings=[] if revision is None else _warnings(revision),
            serving=engine.rules.defaults if revision is None else revision.serving,
            models=models,
        )

    async def _model(self, report: Report) -> ModelStatus:
        revision = report.engine.revision
        findings = [found.message for found in await report.engine.verdict()]
        return ModelStatus(
            name=report.name,
            revision=None if revision is None else revision.number,
            ready=not findings,
            errors=list(report.errors or findings),
            routes=[] if revision is None else [self._route(live) for live in revision.routes],
        )

    def _route(self, live: LiveRoute) -> RouteStatus:
        route, rows = live.route, self.engine.metrics.models[live.route.model].rows
        model, checked = live.model, self.engine.selfcheck.of(live.model)
        skew = [found.message for found in checked.findings]
        timed, name = (model.load_s, model.call_s, rows), model.engine.name
        return RouteStatus(route.model, route.bundle, route.weight, route.role, *timed, name, checked.rows, skew)

    async def _status(self, _: Request) -> Response:
        return Response(to_json(await self.status()))

    async def _metrics(self, _: Request) -> Response:
        revision, journal = self.engine.revision, self.engine.journal
        routes = revision.routes if revision else ()
        gauges: dict[str, tuple[str, float | dict[str, float]]] = {
            "interlock_ready": ("Whether golden requests agree now.", float(not await self.engine.verdict_all())),
            "interlock_revision": ("The revision that is served.", float(revision.number) if revision else 0.0),
            "interlock_under_way": ("Requests begun and not yet answered.", float(self.engine.under_way)),
            "interlock_log_queue_rows": ("Predictions on their way to disk.", float(journal.waiting)),
            "interlock_log_rows": ("Predictions on disk since the start.", float(journal.written)),
            "interlock_log_broken": ("Whether the prediction log failed last.", float(bool(journal.error))),
            "interlock_model_age_seconds": ("Since the version was made.", revision.ages if revision else {}),
            "interlock_self_checked_rows": (
                "Golden rows that were asked on the way that requests take.",
                {live.route.model: float(self.engine.selfcheck.of(live.model).rows) for live in routes},
            ),
            "interlock_self_check_failing": (
                "Whether golden rows are answered otherwise than they were when their scores became known.",
                {live.route.model: float(bool(self.engine.selfcheck.of(live.model).findings)) for live in routes},
            ),
            "interlock_constant_output": (
                f"Whether the last {CONSTANT_ROWS} rows, though different, got the same score.",
                {live.route.model: float(live.guard.constant) for live in routes},
            ),
        }
        text = self.engine.metrics.exposition(gauges)
        return Response(text, media=b"text/plain; version=0.0.4; charset=utf-8")

    async def _reload(self, request: Request) -> Response:
        if request.peer not in _LOCAL:
            raise Denied("Only this machine may ask for a reload.", hint="The server follows its deployment by itself.")
        await asyncio.to_thread(self.watcher.check)
        failed = self.watcher.error is not None
        return Response(to_json(await self.status()), 409 if failed else 200)


def _warnings(revision: Revision) -> list[str]:
    found = []
    for live in revision.routes:
        model = live.route.model
        if live.guard.constant:
            found.append(f"{model} gave the same score to the last {CONSTANT_ROWS} rows, though different.")
        if age_s := revision.stale_s(model):
            found.append(f"{model} is {int(age_s // 86_400)} days old.")
    return found


def refuse(status: int, error: Error) -> Response:
    """Return an error of a path that belongs to no protocol."""
    return Response(to_json({"error": str(error), "code": error.code}), status)

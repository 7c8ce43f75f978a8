"""One turn of the loop: look, decide, do, until nothing is left to do."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from interlock.core.actor import acting_as
from interlock.core.errors import Error
from interlock.core.plugins import load
from interlock.core.refs import parse
from interlock.loop.arcs.canary import settle_canaries
from interlock.loop.context import Context, Outcome
from interlock.loop.jobs import Job, Jobs
from interlock.loop.triggers import fire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from interlock.loop.project import Project
    from interlock.monitor.records import WindowReport
    from interlock.store import Store


_FINDINGS = 3  # of what is wrong, as many as a job's reason names


class Turn(msgspec.Struct, frozen=True):
    """What one turn did.

    Attributes:
        until: the instant that counted as now.
        windows: the windows that were evaluated, each with its verdict.
        decisions: what became of canaries.
        jobs: what became of jobs.
        wrong: what could not be done now; everything else was, and the next turn tries again.
        healed: runs that were ended and deployments that were started again, as their process was gone.
    """

    until: str
    windows: tuple[str, ...]
    decisions: tuple[str, ...]
    jobs: tuple[str, ...]
    healed: tuple[str, ...]
    wrong: tuple[str, ...] = ()


def take_turn(store: Store, project: Project, until: datetime) -> Turn:
    """Return what one turn did. Safe to repeat, and to take up after a turn that was killed.

    Args:
        store: the workspace.
        project: what interlock.toml said when it was applied.
        until: the instant that counts as now.
    """
    context, jobs = Context(store, project, until), Jobs(store)
    wrong: list[str] = []
    with acting_as("loop:turn"):
        healed = context.train.bury() + _heal(context, wrong)
        _follow_champions(context, wrong)
        reports = [report for name in project.monitor for report in _look(context, name, wrong)]
        decisions = settle_canaries(context, wrong)
        _follow_champions(context, wrong)
    done: list[str] = []
    while True:
        fire(store, jobs, project.when)
        job = jobs.claim()
        if job is None:
            break
        done.append(_run(context, jobs, job))
        with acting_as("loop:turn"):
            _follow_champions(context, wrong)
    store.ledger.checkpoint_if_due(1)
    windows = tuple(f"{r.model} {r.window}: {r.verdict.action}, {r.verdict.reason}" for r in reports)
    return Turn(until.isoformat(), windows, tuple(decisions), tuple(done), tuple(healed), tuple(dict.fromkeys(wrong)))


def _look(context: Context, monitor: str, wrong: list[str]) -> list[WindowReport]:
    reports: list[WindowReport] = []
    if context.monitor.is_watching(monitor):  # it is set once its deployment has a champion
        with _noting(f"monitor:{monitor}", wrong):
            reports += context.monitor.look(monitor, context.until.isoformat())
    return reports


def _heal(context: Context, wrong: list[str]) -> list[str]:
    """Return the deployments whose server should run and did not; it is started again."""
    healed = []
    for deployment in context.deploy.deployments():
        if deployment.state == "serving" and not deployment.live:
            with _noting(f"deployment:{deployment.name}", wrong):
                context.deploy.reconcile(deployment.name)
                healed.append(f"deployment:{deployment.name}")
    return healed


def _follow_champions(context: Context, wrong: list[str]) -> None:
    """Let each monitor watch the version that is champion now: the state, not the moment, decides."""
    for deployment in context.deploy.deployments():
        if deployment.name in context.project.monitor:
            champion = next(route.model for route in deployment.routes if route.role == "champion")
            with _noting(f"monitor:{deployment.name}", wrong):
                context.monitor.watch(deployment.name, champion)


@contextlib.contextmanager
def _noting(what: str, wrong: list[str]) -> Iterator[None]:
    """Keep one thing that cannot be done now from stopping the others."""
    try:
        yield
    except Error as error:
        wrong.append(f"{what}: {error}")


def _run(context: Context, jobs: Jobs, job: Job) -> str:
    cause = context.store.ledger.event(int(parse(job.cause, "event").name))
    with jobs.held(job), acting_as(f"loop:{job.kind}"):
        try:
            outcome = load("interlock.action", job.kind)(context, job.target, cause, job.ref)
        except Error as error:
            found = "; ".join(finding.message for finding in error.findings[:_FINDINGS])
            outcome = Outcome("failed", f"{error} {found}".strip(), again=error.transient)
        except Exception as error:  # noqa: BLE001 - the border of the background loop: one bad job stops no other
            outcome = Outcome("failed", f"{type(error).__name__}: {error}")
    jobs.finish(job, outcome.status, outcome.reason, again=outcome.again)
    return f"{job.kind} {job.target}: {outcome.status}, {outcome.reason}"

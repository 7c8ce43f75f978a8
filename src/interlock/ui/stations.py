"""The ring of the loop as it stands: what each station holds, how it is, and its newest word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.pictures import Picture, Station, ring
from interlock.ui.words import clip, percent, plural

if TYPE_CHECKING:
    from interlock.loop.jobs import Job
    from interlock.loop.status import Status
    from interlock.pictures.rings import State
    from interlock.registry.service import ModelVersion

_MAKERS = frozenset({"train", "retrain"})
_LONGEST = 120
_PASSED = frozenset({"validated", "approved", "deployed", "retired"})


def loop_ring(status: Status) -> Picture:
    """Return the ring of a workspace."""
    return ring("The loop as it stands", stations(status), _centre(status))


def stations(status: Status) -> list[Station]:
    """Return the eight stations, from data to retrain."""
    return [
        _data(status),
        _train(status),
        _track(status),
        _register(status),
        _audit(status),
        _deploy(status),
        _monitor(status),
        _retrain(status),
    ]


def _centre(status: Status) -> tuple[str, str]:
    """Return the worst of what monitors last said."""
    verdicts = {monitor.verdict for monitor in status.monitors if monitor.model}
    for verdict in ("retrain", "wait for labels", "keep"):
        if verdict in verdicts:
            return verdict, "the newest verdict"
    return ("", "no model is watched yet") if status.versions or status.datasets else ("", "nothing here yet")


def _station(name: str, counted: tuple[int, str], detail: str, state: State | None = None) -> Station:
    """Return a station that is in order when it holds anything, unless its state is given."""
    count, unit = counted
    told = plural(count, unit).partition(" ") if count else ("", "", "")
    return Station(name, told[0], told[2], state or ("ok" if count else "idle"), clip(detail, _LONGEST))


def _data(status: Status) -> Station:
    told = [f"{d.name}: {plural(d.versions, 'version')}, {plural(d.rows, 'row')}" for d in status.datasets]
    return _station("data", (len(told), "dataset"), "; ".join(told) or "no dataset yet")


def _train(status: Status) -> Station:
    at_work = [job for job in status.jobs if job.kind in _MAKERS and job.status in {"queued", "running"}]
    newest = _newest(status)
    made = len({version.run for version in status.versions})
    if at_work:
        detail = f"{at_work[0].kind} {at_work[0].target} is {at_work[0].status}"
        return _station("train", (made, "candidate"), detail, "busy")
    return _station("train", (made, "candidate"), f"{newest.run} made {newest.ref}" if newest else "no candidate yet")


def _track(status: Status) -> Station:
    """Return the station of runs."""
    detail = "params, metrics and files of every run" if status.runs else "no run yet"
    return _station("track", (status.runs, "run"), detail)


def _register(status: Status) -> Station:
    newest = _newest(status)
    told = f"{newest.ref}: {newest.stage}" if newest else "no version yet"
    return _station("register", (len(status.versions), "version"), told)


def _audit(status: Status) -> Station:
    waiting = [version.ref for version in status.versions if version.stage == "validated"]
    failed = [version.ref for version in status.versions if version.stage == "development"]
    passed = [version for version in status.versions if version.stage in _PASSED]
    told = [f"{', '.join(waiting)} waits for approval"] if waiting else []
    told += [f"{', '.join(failed)} back in development"] if failed else []
    told = told or [f"{plural(len(passed), 'version')} passed the gates" if passed else "no gate has judged yet"]
    judged = len(passed) + len(failed)
    return _station("audit", (judged, "judged version"), "; ".join(told), "warn" if waiting else None)


def _deploy(status: Status) -> Station:
    wanted = [d for d in status.deployments if d.state == "serving"]
    down = [d.name for d in wanted if not d.live]
    told = [f"{name} should serve and does not answer" for name in down]
    told += [
        f"{d.name}: " + ", ".join(f"{route.model} {percent(route.weight)}" for route in d.routes)
        for d in wanted
        if d.live
    ]
    if not wanted and status.deployments:
        told = [f"{status.deployments[0].name} is stopped"]
    told = told or ["nothing is deployed yet"]
    return _station("deploy", (len(wanted), "deployment"), "; ".join(told), "alarm" if down else None)


def _monitor(status: Status) -> Station:
    watched = [monitor for monitor in status.monitors if monitor.model]
    verdicts = {monitor.verdict for monitor in watched}
    state: State = "alarm" if "retrain" in verdicts else "warn" if "wait for labels" in verdicts else "ok"
    told = [f"{monitor.name}: {monitor.verdict}" for monitor in watched] or ["nothing is watched yet"]
    return _station("monitor", (len(status.windows), "window"), "; ".join(told), state if watched else None)


def _retrain(status: Status) -> Station:
    jobs = [job for job in status.jobs if job.kind == "retrain"]
    done = sum(job.status == "done" for job in jobs)
    detail = _said(jobs[0]) if jobs else "no alarm has asked for it"
    state: State | None = None
    if jobs and jobs[0].status in {"queued", "running", "failed"}:
        state = "alarm" if jobs[0].status == "failed" else "busy"
    return _station("retrain", (done, "time"), detail, state)


def _said(job: Job) -> str:
    return f"{job.kind} {job.target}: {job.status}" + (f", {job.reason}" if job.reason else "")


def _newest(status: Status) -> ModelVersion | None:
    return max(status.versions, key=lambda version: (version.created_at, version.version), default=None)

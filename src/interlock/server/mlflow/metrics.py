"""Metrics on the wire: points in, histories out."""

from __future__ import annotations

import base64
import functools
import math
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.operations import Permission
from interlock.server.mlflow import checks
from interlock.server.mlflow.adapter import Adapter
from interlock.server.mlflow.experiments import Tag
from interlock.server.mlflow.routing import Pending, route
from interlock.server.mlflow.runs import RunId
from interlock.server.mlflow.wire import Int64, from_millis, invalid, number
from interlock.store.series import LatestValue
from interlock.track.logged_models import ModelMetric, model_row
from interlock.track.runs import run_row
from interlock.track.sampling import sample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interlock.core.ports import Transaction
    from interlock.store.histories import Place
    from interlock.store.segments import Points

READ, WRITE = Permission.TRACK_READ, Permission.TRACK_WRITE
_MOST_RUNS: Final = 100
_MOST_SAMPLED: Final = 2500
_MOST_POINTS: Final = 25_000
_MOST_HISTORY: Final = 1_000_000  # points of one answer; a token leads to those after them


class Metric(msgspec.Struct):
    """One point of a metric."""

    key: str
    value: float
    timestamp: Int64 = 0
    step: Int64 = 0
    dataset_name: str = ""
    dataset_digest: str = ""
    model_id: str = ""
    run_id: str = ""


class LogMetric(RunId):
    """One point of one metric of a run."""

    key: str = ""
    value: float | None = None
    timestamp: Int64 | None = None
    step: Int64 = 0
    model_id: str = ""
    dataset_name: str = ""
    dataset_digest: str = ""


class LogBatch(RunId):
    """Many metrics, params and tags of a run."""

    metrics: list[Metric] = []
    params: list[Tag] = []
    tags: list[Tag] = []


class History(RunId):
    """Asks for all points of a metric."""

    metric_key: str = ""
    page_token: str = ""
    max_results: Int64 | None = None


class ShownPoint(msgspec.Struct, gc=False):
    """One point of a history as it is answered."""

    key: str
    value: float | str
    timestamp: int
    step: int


class Shown(msgspec.Struct, omit_defaults=True):
    """A page of a history."""

    metrics: list[ShownPoint]
    next_page_token: str = ""


class Bulk(msgspec.Struct):
    """Asks for points of one metric of several runs."""

    run_ids: list[str] = []
    run_id: list[str] = []
    metric_key: str = ""
    start_step: Int64 | None = None
    end_step: Int64 | None = None
    max_results: Int64 | None = None


@route("POST", "runs/log-metric", WRITE, direct=True)
def log_metric(adapter: Adapter, ask: LogMetric) -> Pending:
    """Add a point to a metric of a run."""
    run = ask.run
    checks.required(key=ask.key, value=ask.value, timestamp=ask.timestamp)
    value, timestamp = ask.value or 0.0, ask.timestamp or 0
    metric = Metric(ask.key, value, timestamp, ask.step, ask.dataset_name, ask.dataset_digest, ask.model_id)
    return _log(adapter, run, [metric], {}, {})


@route("POST", "runs/log-batch", WRITE, direct=True)
def log_batch(adapter: Adapter, ask: LogBatch) -> Pending:
    """Add metrics, params and tags to a run: all of them, or none."""
    run = ask.run
    checks.batch(ask.metrics, ask.params, ask.tags)
    for param in ask.params:
        checks.key(param.key, "Parameter")
    for tag in ask.tags:
        checks.key(tag.key, "Tag")
    params = checks.unique_params([(param.key, checks.cut(param.value, checks.PARAM_VALUE)) for param in ask.params])
    tags = {tag.key: checks.cut(tag.value, checks.TAG_VALUE) for tag in ask.tags}
    return _log(adapter, run, ask.metrics, dict(params), tags)


def _log(
    adapter: Adapter, run: str, metrics: Sequence[Metric], params: dict[str, str], tags: dict[str, str]
) -> Pending:
    named: dict[str, list[Metric]] = {}
    for metric in metrics:
        named.setdefault(metric.key, []).append(metric)
    for name in named:
        checks.key(name, "Metric")
    instants = [metric.timestamp for metric in metrics] or [0]
    from_millis(min(instants))
    from_millis(max(instants))
    points = list(chain.from_iterable(named.values()))  # those of a metric beside each other, as they are kept
    about_models = [metric for metric in metrics if metric.model_id]
    tracker = adapter.tracker

    def change(tx: Transaction) -> None:
        row = tracker.metrics.active_row(tx, run)
        if params or tags:
            tracker.runs.log(tx, run, params, tags)
        if points:
            ats = [m.timestamp * 1000 for m in points]
            columns = ([m.key for m in points], [m.step for m in points], ats, [m.value for m in points])
            tracker.metrics.log(tx, row, columns)
        for metric in about_models:
            model_row(tx, metric.model_id)
            point = LatestValue(metric.step, metric.timestamp * 1000, metric.value)
            found = ModelMetric(metric.key, point, run, metric.dataset_name, metric.dataset_digest)
            tracker.logged_models.log_metric(tx, metric.model_id, found)

    def packing() -> Callable[[], None] | None:
        return functools.partial(tracker.metrics.pack, run) if tracker.metrics.due(run) else None

    return Pending(change, after=packing)


@route("GET", "metrics/get-history", READ)
def history(adapter: Adapter, ask: History) -> Shown:
    """Show the points of a metric by instant, then step, then value; a page at a time."""
    run_row(adapter.database, ask.run)
    checks.required(metric_key=ask.metric_key)
    if ask.max_results is not None and ask.max_results < 0:
        raise invalid(f"Invalid value {ask.max_results} for parameter 'max_results': it is negative.")
    after = _place(ask.page_token) if ask.page_token else None
    most = min(ask.max_results or _MOST_HISTORY, _MOST_HISTORY)
    page = adapter.store.series.page(ask.run, ask.metric_key, after, most)
    return Shown(_shown(ask.metric_key, page.points), "" if page.last is None else _token(page.last))


@route("GET", "metrics/get-history-bulk-interval", READ)
def history_interval(adapter: Adapter, ask: Bulk) -> dict[str, Any]:
    """Show some points of a metric of several runs, as many as a chart needs, the extremes among them."""
    runs = ask.run_ids or ask.run_id
    most = _MOST_SAMPLED if ask.max_results is None else ask.max_results
    _check_bulk(runs, ask)
    if not 1 <= most <= _MOST_SAMPLED:
        raise invalid(f"Invalid value {most} for parameter 'max_results': it must be 1 to {_MOST_SAMPLED}.")
    if (ask.start_step is None) != (ask.end_step is None):
        raise invalid("If either start step or end step are specified, both must be specified.")
    if ask.start_step is not None and ask.end_step is not None and ask.start_step > ask.end_step:
        raise invalid(f"end_step {ask.end_step} must be greater than start_step {ask.start_step}.")
    found = []
    for run in runs:
        points = adapter.store.series.points(run, ask.metric_key, ask.start_step, ask.end_step)
        found += [_point(ask.metric_key, at, step, value, run_id=run) for step, at, value in sample(points, most)]
    return {"metrics": found}


@route("GET", "metrics/get-history-bulk", READ)
def history_bulk(adapter: Adapter, ask: Bulk) -> dict[str, Any]:
    """Show the points of a metric of several runs."""
    runs = ask.run_id or ask.run_ids
    _check_bulk(runs, ask)
    most = min(ask.max_results or _MOST_POINTS, _MOST_POINTS)
    found: list[dict[str, Any]] = []
    for run in sorted(runs):
        points = adapter.store.series.page(run, ask.metric_key, None, most - len(found)).points
        found += [_point(ask.metric_key, at, step, value, run_id=run) for step, at, value in points]
        if len(found) == most:
            break
    return {"metrics": found}


def _check_bulk(runs: list[str], ask: Bulk) -> None:
    if not runs:
        raise invalid("GetMetricHistoryBulk request must specify at least one run_id.")
    if len(runs) > _MOST_RUNS:
        raise invalid(f"GetMetricHistoryBulk request cannot specify more than {_MOST_RUNS} run_ids. Got {len(runs)}.")
    if not ask.metric_key:
        raise invalid("GetMetricHistoryBulk request must specify a metric_key.")
    if ask.max_results is not None and ask.max_results < 0:
        raise invalid(f"Invalid value {ask.max_results} for parameter 'max_results': it is negative.")


def _shown(key: str, points: Points) -> list[ShownPoint]:
    values: Sequence[float | str] = points.values
    if not math.isfinite(sum(points.values)):
        values = [number(value) for value in points.values]
    return list(map(ShownPoint, repeat(key), values, [at // 1000 for at in points.ats], points.steps))


def _point(key: str, at: int, step: int, value: float, **more: str) -> dict[str, Any]:
    return {"key": key, "value": number(value), "timestamp": at // 1000, "step": step, **more}


def _token(place: Place) -> str:
    """Return the token of the page after a point; points that come meanwhile move nothing."""
    at, step, value = place
    return base64.urlsafe_b64encode(msgspec.json.encode([at, step, repr(value)])).decode()


def _place(token: str) -> Place:
    """Return the point after which a page begins.

    Raises:
        Refused: the token is none of ours.
    """
    try:
        at, step, value = msgspec.json.decode(base64.urlsafe_b64decode(token.encode()), type=tuple[int, int, str])
        return at, step, float(value)
    except (ValueError, RecursionError):  # of base64, of JSON, of the number
        raise invalid("Invalid page token: it is none that this server gave.") from None

"""The part of the page about one model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.audit.evaluation import picture_of
from interlock.pictures import Markup, element, fragment, share_bar, sparkline
from interlock.pictures.markup import is_safe_address
from interlock.ui.parts import Tone, figure, folded, listed, pill, scrolling, section, small, table
from interlock.ui.quality import MOST_COLUMNS, distrusted, drift_strip, quality_chart
from interlock.ui.views import ModelView, newest_by_window
from interlock.ui.words import clip, interval, moment, number, percent, plural, score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.audit.evaluation import Evaluation
    from interlock.core.bundles import Route
    from interlock.deploy.service import Deployment
    from interlock.monitor.records import WindowReport
    from interlock.pictures.markup import Child
    from interlock.registry.service import ModelVersion

MOST_WINDOWS: Final = 60
MOST_VERSIONS: Final = 20
_OPEN: Final = 12
_VERDICTS: Final[dict[str, Tone]] = {"keep": "ok", "wait for labels": "warn", "retrain": "alarm"}
_STAGES: Final[dict[str, Tone]] = {"deployed": "ok", "validated": "warn", "development": "alarm"}
_HEADER: Final = (
    "Window",
    "Version",
    "#Predictions",
    "#Labels",
    "#Estimated [interval]",
    "#Realised [interval]",
    "#Brier",
    "Worst columns",
    "Verdict",
)


def model_section(view: ModelView, ident: str) -> Markup:
    """Return the section of a model.

    Args:
        view: what is known of it.
        ident: its place on the page.
    """
    charted = newest_by_window(view.windows)[-MOST_WINDOWS:]
    parts: list[Child] = [_verdicts(view), _figures(view, charted)]
    if charted:
        parts += [_quality(view, charted), _drift(charted)]
    if view.evaluation is not None:
        parts.append(_evaluation(view.evaluation))
    if view.deployments:
        parts.append(_deployments(view))
    if view.versions:
        parts.append(_versions(view))
    if view.windows:
        parts.append(_windows(view))
    monitor = view.monitors[0] if view.monitors else None
    aside = pill(monitor.verdict, _VERDICTS.get(monitor.verdict, "quiet")) if monitor and monitor.model else None
    return section(ident, f"Model {view.name}", *parts, aside=aside)


def _verdicts(view: ModelView) -> Markup:
    told = []
    for monitor in view.monitors:
        words = monitor.reason or ("no window is over yet" if monitor.model else "it waits for a champion")
        since = f" Drift since {monitor.since}." if monitor.since and monitor.since not in words else ""
        told.append(element("p", {"class": "lead"}, f"Monitor {monitor.name}: {clip(words, 600)}{since}"))
    return fragment(told)


def _figures(view: ModelView, charted: Sequence[WindowReport]) -> Markup:
    champions = [route.model for d in view.deployments for route in d.routes if route.role == "champion"]
    items: list[tuple[Child, Sequence[Child]]] = [("Champion", (", ".join(champions) or "none yet",))]
    labelled = [w for w in charted if w.realised]
    expected = [w for w in charted if w.estimated and not w.distrust]
    if labelled and (found := labelled[-1].realised):
        line = sparkline("Realised ROC AUC by window", [w.realised.value if w.realised else None for w in charted])
        items.append(("Realised ROC AUC", (_big(score(found.value)), line.svg, small(_from(found, labelled[-1])))))
    if expected and (found := expected[-1].estimated):
        line = sparkline(
            "Estimated ROC AUC by window",
            [w.estimated.value if w.estimated and not w.distrust else None for w in charted],
        )
        items.append(("Estimated ROC AUC", (_big(score(found.value)), line.svg, small(_from(found, expected[-1])))))
    if charted:
        newest = charted[-1]
        line = sparkline("Predictions by window", [float(w.predictions) for w in charted])
        known = f"{number(newest.labels)} labels, in {newest.window}"
        items.append(("Predictions", (_big(number(newest.predictions)), line.svg, small(known))))
    return listed(items)


def _from(found: object, report: WindowReport) -> str:
    shown = interval(report.realised if found is report.realised else report.estimated)
    return f"{shown.partition(' ')[2]} in {report.window}"


def _big(text: str) -> Markup:
    return element("b", {}, text)


def _quality(view: ModelView, charted: Sequence[WindowReport]) -> Markup:
    every = len(newest_by_window(view.windows))
    notes = [f"The newest {len(charted)} of {number(every)} windows."] if every > len(charted) else []
    notes += [missing] if (missing := distrusted(charted)) else []
    return figure(quality_chart(charted, view.monitors), " ".join(notes))


def _drift(charted: Sequence[WindowReport]) -> Markup:
    picture, columns = drift_strip(charted)
    note = f"The {MOST_COLUMNS} of {columns} columns that drifted most." if columns > MOST_COLUMNS else ""
    numbers = scrolling("Drift as numbers", picture.table.html(), "wide numbers")
    return fragment((figure(picture, note), folded("The same as numbers", numbers)))


def _evaluation(found: Evaluation) -> Markup:
    """Return the confusion matrix, where there is one, and every metric, folded."""
    rows = [
        (metric.metric, _value(metric.value), f"{_value(metric.low)} to {_value(metric.high)}", metric.asked)
        for metric in found.metrics
        if metric.value is not None
    ]
    title = f"{found.version} on {number(found.rows)} held-out rows"
    metrics = table(
        f"Metrics of {title}", ("Metric", "#Value", f"#{percent(found.confidence)} interval", "Asked"), rows
    )
    drawn = [figure(picture_of(found, part)) for part in ("confusion", "metrics")] if found.classes else []
    return fragment((*drawn, folded(f"Metrics of {title}", metrics)))


def _value(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _deployments(view: ModelView) -> Markup:
    rows = [_deployment(found) for found in view.deployments]
    header = ("Deployment", "State", "Routes", "Traffic", "Address", "#Revision", "Changed (UTC)")
    return table(f"Deployments of {view.name}", header, rows)


def _deployment(found: Deployment) -> tuple[Child, ...]:
    state = pill("live", "ok") if found.live else pill("stopped") if found.state == "stopped" else pill("down", "alarm")
    bar = share_bar(f"Traffic of {found.name}", [(route.model, route.weight) for route in found.routes])
    routes = element("ul", {"class": "plain"}, *(element("li", {}, _route(route)) for route in found.routes))
    return found.name, state, routes, bar.svg, _address(found.url), number(found.revision), moment(found.changed_at)


def _route(route: Route) -> str:
    return f"{route.model} {route.role} {percent(route.weight)}"


def _address(url: str) -> Child:
    return element("a", {"href": url}, url) if url and is_safe_address(url) else url


def _versions(view: ModelView) -> Markup:
    shown = view.versions[:MOST_VERSIONS]
    more = f"; the newest {len(shown)} of {len(view.versions)}" if len(view.versions) > len(shown) else ""
    rows = [_version(version) for version in shown]
    header = ("Version", "Stage", "Why", "Since (UTC)", "Aliases", "Made from")
    return table(f"Versions of {view.name}{more}", header, rows)


def _version(version: ModelVersion) -> tuple[Child, ...]:
    return (
        version.ref,
        pill(version.stage, _STAGES.get(version.stage, "quiet")),
        clip(version.stage_reason),
        moment(version.stage_at),
        ", ".join(version.aliases),
        fragment((", ".join(version.data), small(element("code", {}, version.run)))),
    )


def _windows(view: ModelView) -> Markup:
    """Return the windows as a table, newest first; the older ones folded."""
    actions = ["keep", *(report.verdict.action for report in view.windows)]
    rows = [
        _window(report, is_news=report.verdict.action != before)
        for report, before in zip(view.windows, actions, strict=False)
    ]
    newest = rows[: -MOST_WINDOWS - 1 : -1]
    more = f"; the newest {len(newest)} of {number(len(view.windows))}" if len(view.windows) > len(newest) else ""
    parts: list[Child] = [table(f"Windows of {view.name}{more}", _HEADER, newest[:_OPEN])]
    if len(newest) > _OPEN:
        older = table(f"Earlier windows of {view.name}", _HEADER, newest[_OPEN:])
        parts.append(folded(plural(len(newest) - _OPEN, "earlier window"), older))
    return fragment(parts)


def _window(report: WindowReport, *, is_news: bool) -> tuple[Child, ...]:
    """Return the cells of a window; a verdict's reason where the verdict is another than that of the window before."""
    action = report.verdict.action
    reason = small(clip(report.verdict.reason)) if is_news and report.verdict.reason else None
    distrust = small("not to be trusted") if report.estimated and report.distrust else None
    return (
        report.window,
        report.model.partition("@")[2] and f"@{report.model.partition('@')[2]}",
        number(report.predictions),
        number(report.labels),
        fragment((interval(report.estimated), distrust)),
        str(report.measured) if report.measured else interval(report.realised),
        score(report.brier.value) if report.brier else "",
        _worst(report),
        fragment((pill(action, _VERDICTS[action]), reason)),
    )


def _worst(report: WindowReport) -> Child:
    """Return the columns that drifted, the worst first, with its sentence."""
    found = [drift for drift in report.drifts if drift.severity != "none"]
    found.sort(key=lambda drift: (drift.severity != "alarm", -drift.effect))
    if not found:
        return ""
    names = ", ".join(drift.column for drift in found[:3])
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return fragment((f"{found[0].severity}: {clip(names)}{more}", small(clip(found[0].reason, 120))))

"""The demo's tables: what gates said, and the life of a model window by window."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interlock.audit.service import GateReport
    from interlock.monitor.auc import Interval
    from interlock.sdk import Workspace

_SHOWN = 3


def gates_table(report: GateReport) -> list[tuple[str, str]]:
    """Return one line a gate, each with its mark."""
    lines = []
    for result in report.results:
        failed = result.status == "failed"
        lines.append(("!" if failed else "+", f"gate {result.gate} {result.status}: {result.summary}"))
    return lines


def life_table(workspace: Workspace, name: str) -> list[tuple[str, ...]]:
    """Return the life of a deployment: windows, champion, estimated and realised quality, events."""
    rows: list[tuple[str, ...]] = [
        ("window", "champion", "scored", "labels", "estimated", "realised", "drift", "events"),
    ]
    events = _events(workspace, name)
    for report in workspace.monitor.windows(name):
        drifted = [d.column for d in report.drifts if d.severity == "alarm"]
        more = f" +{len(drifted) - _SHOWN}" if len(drifted) > _SHOWN else ""
        rows.append(
            (
                report.window,
                report.model.rpartition(":")[2],
                str(report.predictions),
                str(report.labels),
                ("not trusted" if report.distrust else _auc(report.estimated)),
                _auc(report.realised),
                ", ".join(drifted[:_SHOWN]) + more or "-",
                "; ".join(events.pop(report.window, [])),
            )
        )
    return rows


def _events(workspace: Workspace, name: str) -> dict[str, list[str]]:
    """Return what happened in each window, from the ledger."""
    found: dict[str, list[str]] = {}
    window = "before"
    for event in workspace.store.ledger.events(limit=100_000):
        data = event.data or {}
        if event.kind == "window.evaluated":
            window = max(window, str(data["window"])) if window != "before" else str(data["window"])
        elif event.kind == "alarm.raised" and event.subject == f"monitor:{name}":
            found.setdefault(window, []).append(f"alarm: {data['verdict']}")
        elif event.kind == "alarm.closed":
            found.setdefault(window, []).append("alarm closed")
        elif event.kind == "dataset_version.created" and window != "before":
            found.setdefault(window, []).append(f"{event.subject} ({data['rows']} rows)")
        elif event.kind == "deployment.changed" and window != "before":
            found.setdefault(window, []).append(str(data["reason"]).split(" on ")[0].rstrip(":"))
    return found


def _auc(interval: Interval | None) -> str:
    return f"{interval.value:.3f} ({interval.low:.2f}-{interval.high:.2f})" if interval else "-"

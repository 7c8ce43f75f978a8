"""Runs as files: a table, all facts, or a folder with curves and artifacts."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from interlock.core.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.sdk.workspace import Workspace
    from interlock.track.records import Run


def export(workspace: Workspace, runs: Sequence[str], output: str) -> int:
    """Return how many files were written for runs.

    Args:
        workspace: where the runs are.
        runs: their ids.
        output: a .csv (a row a run), a .json (all facts), or else a folder.

    Raises:
        Conflict: the output is there already.
    """
    target = Path(output)
    if target.exists():
        raise Conflict(f"{output!r} is there already.", about="file", hint="Name another, or take it away first.")
    found = [workspace.track.run(run) for run in runs]
    if target.suffix.lower() == ".csv":
        _table(found, target)
        return 1
    if target.suffix.lower() == ".json":
        target.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
        return 1
    return sum(_folder(workspace, run, target / run.id) for run in found)


def _table(runs: Sequence[Run], target: Path) -> None:
    params = sorted({name for run in runs for name in run.params})
    metrics = sorted({name for run in runs for name in run.metrics})
    fixed = ["run", "name", "experiment", "status", "started_at", "ended_at"]
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*fixed, *(f"params.{name}" for name in params), *(f"metrics.{name}" for name in metrics)])
        for run in runs:
            own = [getattr(run, name if name != "run" else "id") for name in fixed]
            texts = ["" if value is None else str(value) for value in own]
            cells = [run.params.get(name, "") for name in params]
            writer.writerow([*texts, *cells, *(repr(run.metrics[n]) if n in run.metrics else "" for n in metrics)])


def _folder(workspace: Workspace, run: Run, folder: Path) -> int:
    """Write `run.json`, `log.txt`, `metrics/NAME.csv` and `artifacts/...`; return how many files there are."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_bytes(msgspec.json.format(msgspec.json.encode(run)) + b"\n")
    (folder / "log.txt").write_text(workspace.track.logs(run.id), "utf-8")
    for number, name in enumerate(sorted(run.metrics)):
        points = workspace.track.metric(run.id, name)
        safe = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)
        target = folder / "metrics" / f"{number:03}-{safe[:100]}.csv"
        target.parent.mkdir(exist_ok=True)
        with target.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["step", "at", name])
            writer.writerows(
                (step, at.isoformat(), repr(value))
                for step, at, value in zip(points.steps, points.ats, points.values, strict=True)
            )
    for artifact in run.artifacts:
        path = folder / "artifacts" / artifact.name
        path.parent.mkdir(parents=True, exist_ok=True)
        workspace.save(artifact.digest, path)
    return 2 + len(run.metrics) + len(run.artifacts)

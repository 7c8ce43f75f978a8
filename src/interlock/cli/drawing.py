"""Curves of runs as a picture in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from interlock.cli.session import note
from interlock.core.errors import Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.pictures import Curve
    from interlock.sdk.workspace import Workspace


def draw(workspace: Workspace, runs: Sequence[str], metric: str, target: str) -> None:
    """Draw the curves of one metric of runs into a file, by its ending .svg or .png.

    Args:
        workspace: where the runs are.
        runs: their ids.
        metric: its name; "" for the first, the user's before the machine's, that has more than one point in a run.
        target: the file.

    Raises:
        Invalid: the file's ending is neither.
        NotFound: no run has the metric.
    """
    from interlock.cli.differences import is_made
    from interlock.pictures import curve_chart, to_png

    path = Path(target)
    if path.suffix.lower() not in {".svg", ".png"}:
        raise Invalid(f"{path.name!r} is no .svg or .png.", about="picture", hint="Name the file so.")
    found = [workspace.track.run(run) for run in runs]
    names = sorted({name for run in found for name in run.metrics}, key=lambda name: (is_made("metric", name), name))
    if metric and metric not in names:
        raise NotFound.named("metric", metric, names)
    for name in [metric] if metric else names:
        curves = [_curve(workspace, run.id, run.name, name) for run in found if name in run.metrics]
        if metric or any(len(curve.steps) > 1 for curve in curves):
            break
    else:
        raise NotFound("No metric of these runs has more than one point.", about="metric", hint="Name one: --metric.")
    picture = curve_chart(name, curves)
    if path.suffix.lower() == ".png":
        path.write_bytes(to_png(picture))
    else:
        path.write_text(picture.standalone(), "utf-8")
    note(f"{name}: {path}")


def _curve(workspace: Workspace, run: str, label: str, metric: str) -> Curve:
    from interlock.pictures import Curve

    points = workspace.track.metric(run, metric)
    return Curve(label, tuple(map(float, points.steps)), points.values)

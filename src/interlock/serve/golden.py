"""Golden requests: rows with the scores that training saw, asked before traffic and for readiness."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from interlock.core.errors import Error, Finding

if TYPE_CHECKING:
    from interlock.core.bundles import Golden
    from interlock.serve.model import LoadedModel


def check_golden(model: LoadedModel, golden: Golden, limit: int | None = None) -> list[Finding]:
    """Return what is wrong with a model's answers to its golden rows; nothing when they agree.

    Args:
        model: the loaded model.
        golden: rows, scores and the tolerance, a difference of scores.
        limit: look only at so many of the first rows.

    Cost: one call of the model; two without a limit, for a graph may answer a certain number of rows only.
    """
    rows, wanted = golden.rows[:limit], golden.scores[:limit]
    if not rows and not model.parts.source:
        return []  # it came without a request that it is known to answer; `LoadedModel.open` says so
    if not rows or len(golden.rows) != len(golden.scores):
        return [Finding("golden_missing", "The bundle has no golden request with a score for every row.")]
    columns = {name: [row.get(name) for row in rows] for name in rows[0]}
    try:
        scores = [
            score
            for some in ([columns] if limit else _apart(columns))
            for score in model.run(model.prepare(some)).scores
        ]
    except Error as error:
        return [
            Finding("golden_failed", f"The golden rows are not answered: {error}", count=len(rows)),
            *error.findings,
        ]
    tolerance = golden.tolerance
    # The comparison is turned around so that NaN, in score or tolerance, is a difference.
    bad = [i for i, (a, b) in enumerate(zip(scores, wanted, strict=True)) if not abs(a - b) <= tolerance]
    if not bad:
        return []
    worst = max((abs(scores[i] - wanted[i]) for i in bad), key=lambda d: math.inf if math.isnan(d) else d)
    when = "in training" if model.parts.source == "training" else "when it was opened"
    message = (
        f"{len(bad)} of {len(rows)} golden rows get another score than {when}:"
        f" the largest difference is {worst:.3g}, {tolerance:.3g} is allowed."
    )
    return [Finding("golden_differs", message, rows=tuple(bad[:10]), count=len(bad))]


def _apart(columns: dict[str, list[object]]) -> list[dict[str, list[object]]]:
    """Return the first row, and the others."""
    first = {name: values[:1] for name, values in columns.items()}
    others = {name: values[1:] for name, values in columns.items()}
    return [first, others] if next(iter(others.values()), []) else [first]

"""The evaluation of a version: every metric with its interval, and the confusion matrix, as its gates found them.

It is read from the report that the gates left, so it is what an approver signed, and never calculated anew.
"""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import msgspec

from interlock.audit.reports import GateReport
from interlock.core.errors import Corrupt, NotFound
from interlock.pictures import Picture, Whisker, confusion_chart, whisker_chart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.store import Store


Part = Literal["confusion", "metrics"]
_NO_SHARES: Final = frozenset({"log_loss", "brier"})


class Metric(msgspec.Struct, frozen=True):
    """One metric on the held-out rows.

    Attributes:
        metric: its name, as gates know it.
        value: what it is; None where the rows do not define it.
        low, high: the ends of its interval; None where it has none.
        method: where the interval comes from.
        asked: the bound of the policy, or "".
        bound: its figure; None where there is none.
    """

    TABLE: ClassVar = ("metric", "value", "low", "high", "asked", "method")

    metric: str
    value: float | None
    low: float | None = None
    high: float | None = None
    method: str = ""
    asked: str = ""
    bound: float | None = None


_SHARES: Final = ("precision", "precision_low", "precision_high", "recall", "recall_low", "recall_high")


class ClassFigures(msgspec.Struct, frozen=True, rename={"label": "class"}):
    """One class: how many rows are of it, how often it was chosen, and how often that was right, with intervals."""

    TABLE: ClassVar = ("label", "rows", "chosen", *_SHARES, "f1")

    label: int | str
    rows: int
    chosen: int
    precision: float | None
    precision_low: float
    precision_high: float
    recall: float | None
    recall_low: float
    recall_high: float
    f1: float | None


class Evaluation(msgspec.Struct, frozen=True):
    """A version on its held-out rows.

    Attributes:
        version: its reference.
        kind: what it answers: `two classes`, `more classes` or `values`.
        rows: how many rows it was judged on.
        confidence: of every interval, 0-1.
        made_at: when its gates judged it last.
        metrics: all that there are for its kind.
        classes: the classes, in the model's order; none of values.
        confusion: the confusion matrix: for each true class, how often each class was chosen.
        by_class: what follows from it for each class.
    """

    version: str
    kind: str
    rows: int
    confidence: float
    made_at: datetime
    metrics: tuple[Metric, ...]
    classes: tuple[int | str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    by_class: tuple[ClassFigures, ...] = ()


def evaluation_of(report: GateReport) -> Evaluation:
    """Return the evaluation that a report holds.

    Args:
        report: what the gates said.

    Raises:
        NotFound: it holds none: it is of an earlier release, or the gate `metric` is not installed or broke.
    """
    facts: dict[str, Any] = next((result.facts for result in report.results if result.gate == "metric"), {})
    if "figures" not in facts:
        raise NotFound(
            f"The report on {report.version} holds no evaluation.",
            about="evaluation",
            hint=f"Run `interlock audit check {report.version}` again, or see `interlock audit report`.",
        )
    asked = {fact["metric"]: {"asked": fact["asked"], "bound": fact["threshold"]} for fact in facts.get("metrics", ())}
    metrics = [figure | asked.get(figure["metric"], {}) for figure in facts["figures"]]
    found = facts["confusion"] or {"classes": (), "counts": (), "by_class": ()}
    plain = {"classes": found["classes"], "confusion": found["counts"], "by_class": found["by_class"]}
    plain |= {"version": report.version, "made_at": report.made_at, "metrics": metrics}
    return msgspec.convert({**{name: facts[name] for name in ("kind", "rows", "confidence")}, **plain}, Evaluation)


def newest_evaluations(store: Store, champions: Mapping[str, int]) -> list[Evaluation]:
    """Return one evaluation a model that gates have judged: its champion's, or that of the version judged last.

    Args:
        store: the workspace.
        champions: the number of each model's champion, where it has one.

    Raises:
        Corrupt: a report is lost.

    Cost: one query, and an object a model.
    """
    chosen: dict[str, tuple[int, str]] = {}
    for row in store.database.all("SELECT model, version, report FROM gate_reports ORDER BY model, made_at"):
        model, version = row["model"], row["version"]
        if champions.get(model) == version or chosen.get(model, (0, ""))[0] != champions.get(model):
            chosen[model] = version, row["report"]
    found = []
    for model, (version, digest) in chosen.items():
        report = _report(store, f"model:{model}@{version}", digest)
        with contextlib.suppress(NotFound):  # judged by an earlier release
            found.append(evaluation_of(report))
    return found


def _report(store: Store, version: str, digest: str) -> GateReport:
    try:
        return msgspec.json.decode(store.objects.get(digest), type=GateReport)
    except NotFound as error:
        raise Corrupt(f"The report of the gates on {version} is lost: {error}", about="evaluation") from None


def picture_of(evaluation: Evaluation, part: Part = "confusion") -> Picture:
    """Return the confusion matrix as a picture, or all metrics between 0 and 1 with their intervals and bounds.

    Raises:
        NotFound: the version answers values: they have no such picture.
    """
    if not evaluation.classes:
        raise NotFound(
            f"{evaluation.version} answers values: they have neither confusion matrix nor shares.",
            about="evaluation",
            hint=f"See `interlock audit evaluation {evaluation.version}`.",
        )
    if part == "metrics":
        title = f"Metrics of {evaluation.version}, {evaluation.confidence:.0%} intervals"
        return whisker_chart(title, [_whisker(metric) for metric in evaluation.metrics if _is_share(metric)])
    title = f"Confusion matrix of {evaluation.version}, {evaluation.rows:,} held-out rows"
    return confusion_chart(title, [str(name) for name in evaluation.classes], evaluation.confusion)


def _is_share(metric: Metric) -> bool:
    return metric.metric not in _NO_SHARES and None not in {metric.value, metric.low, metric.high}


def _whisker(metric: Metric) -> Whisker:
    return Whisker(metric.metric, metric.value or 0.0, metric.low or 0.0, metric.high or 0.0, metric.bound)

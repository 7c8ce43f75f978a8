"""Every metric of a model on its held-out rows: which belong to what it answers, and what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from interlock.registry.flavors.scoring import THRESHOLD
from interlock.registry.measures import classes, two_classes
from interlock.registry.measures.confusion import confusion_matrix
from interlock.registry.measures.intervals import wilson
from interlock.registry.measures.values import measure_values

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from interlock.audit.evidence import Evidence
    from interlock.registry.measures.figure import Figure

Kind = Literal["two classes", "more classes", "values"]

_ANY: Final = (
    *("roc_auc", "accuracy", "balanced_accuracy", "precision_macro", "precision_weighted", "recall_macro"),
    *("recall_weighted", "f1_macro", "f1_weighted", "log_loss", "brier"),
)
_TWO: Final = ("average_precision", "precision", "recall", "f1")
_VALUES: Final = ("mae", "rmse", "r2", "median_absolute_error", "mape")
METRICS_OF: Final[dict[Kind, tuple[str, ...]]] = {
    "two classes": (*_ANY, *_TWO),
    "more classes": _ANY,
    "values": _VALUES,
}
"""The metrics of each kind of model."""

_INSTEAD: Final = {
    "f1": "f1_macro or f1_weighted",
    "precision": "precision_macro or precision_weighted",
    "recall": "recall_macro or recall_weighted",
    "average_precision": "roc_auc",
}


def kind_of(evidence: Evidence) -> Kind:
    """Return what kind of answers a model gives."""
    if evidence.bundle.task == "regression":
        return "values"
    return "two classes" if len(evidence.bundle.classes) == 2 else "more classes"


def figure_of(name: str, evidence: Evidence) -> Figure | None:
    """Return a metric of the model on its evaluation rows, or None where these rows do not define it.

    Args:
        name: one of `METRICS_OF` this kind of model.
        evidence: what is judged.
    """
    return figures_of((name,), evidence)[name]


def figures_of(names: Iterable[str], evidence: Evidence) -> dict[str, Figure | None]:
    """Return metrics as `figure_of` does, all at once: what they share is calculated once."""
    kind = kind_of(evidence)
    if kind == "two classes":
        return two_classes.all_measures(names, evidence.labels, evidence.scores)
    if kind == "values":
        return {name: measure_values(name, evidence.truth, evidence.table[:, 0]) for name in names}
    return classes.all_measures(names, evidence.truth.astype("int64"), evidence.table)


def unfit(name: str, evidence: Evidence) -> str:
    """Return why a metric says nothing about this kind of model, or ""."""
    kind = kind_of(evidence)
    if name in METRICS_OF[kind]:
        return ""
    about = next((other for other in METRICS_OF if name in METRICS_OF[other]), None)
    if about is None:  # a policy of before names were looked at, or of a newer release
        return f"there is no metric {name!r}: there are {', '.join(METRICS_OF[kind])}."
    model = "gives values" if kind == "values" else f"has {len(evidence.bundle.classes)} classes"
    if kind == "more classes" and name in _INSTEAD:
        return f"{name} is a metric of two classes, this model {model}: ask for {_INSTEAD[name]}."
    what = "classes" if about == "two classes" and name in _ANY else about
    return f"{name} is a metric of {what}, this model {model}: there are {', '.join(METRICS_OF[kind])}."


def undefined(name: str, evidence: Evidence, rows: str) -> str:
    """Return why a metric cannot be calculated on these rows.

    Args:
        name: the metric.
        evidence: what is judged.
        rows: how many rows there are, in words.
    """
    import numpy as np

    if kind_of(evidence) == "values":
        return f"{name} cannot be calculated: all {rows} have the same value."
    known = set(np.unique(evidence.truth).tolist())
    if len(known) == 1:
        return f"{name} cannot be calculated: all {rows} have the same label."
    lost = [str(label) for place, label in enumerate(evidence.bundle.classes) if place not in known]
    return f"{name} cannot be calculated: none of {rows} is of class {', '.join(lost)}."


def confusion_of(evidence: Evidence) -> dict[str, Any] | None:
    """Return the confusion matrix of a classification as plain values, None of a regression.

    Returns:
        `classes`; `counts`, a list for each true class with how often each class was chosen; and `by_class`: precision,
        recall (each with the ends of Wilson's 90 % interval) and F1 of each, with its rows.
    """
    if kind_of(evidence) == "values":
        return None
    names = evidence.bundle.classes
    counts = confusion_matrix(evidence.truth.astype("int64"), _chosen(evidence), len(names))
    right, true, taken = counts.diagonal().tolist(), counts.sum(axis=1).tolist(), counts.sum(axis=0).tolist()
    by_class = [
        {
            "class": label,
            "rows": rows,
            "chosen": picked,
            "precision": hits / picked if picked else None,
            "precision_low": wilson(hits, picked)[0],
            "precision_high": wilson(hits, picked)[1],
            "recall": hits / rows if rows else None,
            "recall_low": wilson(hits, rows)[0],
            "recall_high": wilson(hits, rows)[1],
            "f1": 2 * hits / (rows + picked) if rows + picked else None,
        }
        for label, hits, rows, picked in zip(names, right, true, taken, strict=True)
    ]
    return {"classes": list(names), "counts": counts.tolist(), "by_class": by_class}


def _chosen(evidence: Evidence) -> NDArray[np.int64]:
    """Return the place of the class that the model chooses for each row, as it is served."""
    import numpy as np

    two = kind_of(evidence) == "two classes"
    return np.asarray(evidence.scores > THRESHOLD if two else evidence.table.argmax(axis=1), dtype=np.int64)

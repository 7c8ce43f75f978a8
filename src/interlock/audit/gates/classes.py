"""Metrics of a classifier of more than two classes and how sure they are, in NumPy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.audit.gates.confusion import COUNTED, confusion_matrix, counted
from interlock.audit.gates.figure import Figure, of_mean
from interlock.audit.gates.measures import auc_interval, won

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def measure_classes(name: str, truth: NDArray[np.int64], table: NDArray[np.float64]) -> Figure | None:
    """Return a metric with its interval, or None where it is not defined: by the classes that are absent.

    Args:
        name: a metric of any number of classes in `policy.METRICS`.
        truth: the place of each row's class, (rows,), at least one row.
        table: the probability of each class, (rows, classes).

    Cost: O(classes * rows log rows).
    Source: each equals scikit-learn 1.9's function within 1e-12 (tested); `roc_auc` is that of each class against the
        rest, averaged (`multi_class="ovr"`), and needs rows of every class.
    """
    import numpy as np

    seen = len(np.unique(truth))
    if seen < (table.shape[1] if name == "roc_auc" else 1 if name in _DEFINED else 2):
        return None
    if name in COUNTED:
        return counted(name, confusion_matrix(truth, table.argmax(axis=1), table.shape[1]))
    return _MEASURES[name](truth, table)


def _roc_auc(truth: NDArray[np.int64], table: NDArray[np.float64]) -> Figure:
    """Return the mean of the AUCs of each class against the rest.

    Its variance follows as DeLong's does for one: what each row adds to the mean, spread within each class.
    """
    import numpy as np

    classes = table.shape[1]
    sizes = np.bincount(truth, minlength=classes)
    added, aucs = np.zeros(len(truth)), []
    for place in range(classes):
        positive = truth == place
        share = won(positive, table[:, place])
        aucs.append(share[positive].mean())
        added += share / np.where(positive, sizes[place], len(truth) - sizes[place]) / classes
    spreads = [size * added[truth == place].var(ddof=1) for place, size in enumerate(sizes.tolist()) if size > 1]
    auc = float(np.mean(aucs))
    low, high = auc_interval(auc, float(sum(spreads)), int(sizes.min()))
    return Figure(float(np.clip(auc, 0, 1)), low, high, "DeLong, each class against the rest")


def _log_loss(truth: NDArray[np.int64], table: NDArray[np.float64]) -> Figure:
    import numpy as np

    tiny = np.finfo(np.float64).eps
    return of_mean(-np.log(np.clip(table[np.arange(len(truth)), truth], tiny, 1 - tiny)))


def _brier(truth: NDArray[np.int64], table: NDArray[np.float64]) -> Figure:
    import numpy as np

    wanted = np.zeros_like(table)
    wanted[np.arange(len(truth)), truth] = 1
    return of_mean(((table - wanted) ** 2).sum(axis=1))


_MEASURES: Final = {"roc_auc": _roc_auc, "log_loss": _log_loss, "brier": _brier}
_DEFINED: Final = frozenset({"accuracy", "recall_weighted", "log_loss", "brier"})  # with one class alone too

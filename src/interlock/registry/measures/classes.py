"""Metrics of a classifier of more than two classes and how sure they are, in NumPy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.registry.measures.confusion import COUNTED, all_counted, confusion_matrix
from interlock.registry.measures.figure import Figure
from interlock.registry.measures.losses import ALWAYS, brier, log_loss
from interlock.registry.measures.two_classes import auc_interval, won

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    return all_measures((name,), truth, table)[name]


def all_measures(
    names: Iterable[str], truth: NDArray[np.int64], table: NDArray[np.float64]
) -> dict[str, Figure | None]:
    """Return metrics as `measure_classes` does; what rests on the confusion matrix is drawn anew once for all."""
    import numpy as np

    seen, classes, names = len(np.unique(truth)), table.shape[1], list(names)
    least = {"roc_auc": classes, **dict.fromkeys(ALWAYS, 1)}
    defined = [name for name in names if seen >= least.get(name, 2)]
    counts = confusion_matrix(truth, table.argmax(axis=1), classes)
    found: dict[str, Figure | None] = dict.fromkeys(names)
    found.update(all_counted([name for name in defined if name in COUNTED], counts))
    return found | {name: _MEASURES[name](truth, table) for name in defined if name not in COUNTED}


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


_MEASURES: Final = {"roc_auc": _roc_auc, "log_loss": log_loss, "brier": brier}

"""Evidence for gates to judge, made from plain arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
import pytest

from interlock.audit.evidence import Evidence
from interlock.core.bundles import Agreement, Bundle
from interlock.registry.flavors.frames import columns_of, layout_of


def build_evidence(
    rows: pl.DataFrame, scores: Sequence[float] | None = None, inputs: Sequence[str] = (), **known
) -> Evidence:
    """Return evidence about rows with a column `y` of labels; a row without a score has 0.5."""
    columns = columns_of(rows.select(list(inputs)))
    agreement = Agreement(rows=100, max_difference=1e-7, tolerance=1e-4, label_flips=0)
    return Evidence(
        bundle=Bundle("sklearn", "classification", columns, "y", (0, 1), {}, agreement, layout_of(columns)),
        evaluation=rows,
        scores=np.full(rows.height, 0.5) if scores is None else np.asarray(scores, dtype=np.float64),
        labels=rows["y"].to_numpy().astype(np.int8),
        **known,
    )


@pytest.fixture
def evidence() -> Callable[..., Evidence]:
    """Return the function that makes evidence."""
    return build_evidence

"""Further forms of a model that may answer faster than its graph: coefficients, or a booster by its own library."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from interlock.registry.flavors.frames import matrix
from interlock.registry.flavors.linear import LINEAR, LINEAR_FILE, linear_answers, linear_bytes, linear_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from interlock.core.bundles import Bundle

    Form = tuple[str, bytes, Callable[[pl.DataFrame], NDArray[np.float64]]]

BOOSTER: Final = "booster"


def further_forms(estimator: Any, bundle: Bundle, folder: Path, inputs: pl.DataFrame) -> dict[str, Form]:
    """Return the forms by role: file name, bytes, and what answers rows with it as (rows, answers).

    Args:
        estimator: the original.
        bundle: its record.
        folder: where its files are.
        inputs: training rows.
    """
    found: dict[str, Form] = {}
    form = linear_of(estimator, bundle.inputs, inputs) if bundle.layout == "matrix" else None
    if form is not None:
        found[LINEAR] = (LINEAR_FILE, linear_bytes(form), partial(linear_answers, form))
    if path := bundle.files.get(BOOSTER):
        data = (folder / path).read_bytes()
        found[BOOSTER] = (path, data, partial(_own_answers, bundle.flavor, data))
    return found


def _own_answers(library: str, data: bytes, frame: pl.DataFrame) -> NDArray[np.float64]:
    """Return what a booster's own file answers when its library reads it again."""
    rows = matrix(frame)
    if library == "xgboost":
        import xgboost

        from interlock.registry.flavors.xgboost import Xgboost

        booster = xgboost.Booster()
        booster.load_model(bytearray(data))
        found = Xgboost().answers(booster, rows)
    else:
        import lightgbm

        from interlock.registry.flavors.lightgbm import Lightgbm

        found = Lightgbm().answers(lightgbm.Booster(model_str=data.decode()), rows)
    return found.reshape(len(rows), -1)

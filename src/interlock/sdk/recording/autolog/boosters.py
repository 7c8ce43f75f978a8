"""The boosters' own `train`: XGBoost's and LightGBM's, for those who do without the estimators."""

from __future__ import annotations

import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any

from interlock.sdk.recording import rows
from interlock.sdk.recording.autolog.curves import booster_config, evaluations
from interlock.sdk.recording.autolog.fits import around, harmless, listening, log_curves, log_files, log_params
from interlock.sdk.recording.models import frame

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import polars as pl


def around_xgboost(train: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Return what `xgboost.train` returns, logged."""
    given = inspect.signature(train).bind(*args, **kwargs).arguments
    results: dict[str, Any] = given.get("evals_result") or {}
    if given.get("evals") and given.get("evals_result") is None:
        kwargs = {**kwargs, "evals_result": results}

    def log(run: Any, label: str, booster: Any, full: bool) -> None:
        params = {**booster_config(booster), **dict(given.get("params") or {})}
        _log(run, label, booster, {**params, "num_boost_round": booster.num_boosted_rounds()})
        log_curves(run, label, evaluations(results))
        if full:
            names = booster.feature_names or [f"f{place}" for place in range(booster.num_features())]
            kinds = booster.feature_types or ["float"] * len(names)
            seen = None
            with harmless(f"{label}'s rows"):
                seen = rows_of_matrix(given.get("dtrain"), names)
            _log_signature(run, label, dict(zip(names, kinds, strict=True)))
            log_files(run, label, booster, seen)

    return around(object(), "xgboost", functools.partial(train, *args, **kwargs), log)


def around_lightgbm(train: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Return what `lightgbm.train` returns, logged."""
    given = inspect.signature(train).bind(*args, **kwargs).arguments
    results: dict[str, Any] = {}
    kept = None
    if listening():
        with harmless("lightgbm's rows"):
            kept = rows_of_dataset(given.get("train_set"))  # now: training lets the data set forget them
    if given.get("valid_sets"):
        remember = sys.modules["lightgbm"].record_evaluation(results)
        kwargs = {**kwargs, "callbacks": [*(kwargs.get("callbacks") or ()), remember]}

    def log(run: Any, label: str, booster: Any, full: bool) -> None:
        _log(run, label, booster, {**booster.params, "num_boost_round": booster.current_iteration()})
        log_curves(run, label, evaluations(results))
        if full:
            names = booster.feature_name()
            _log_signature(run, label, dict.fromkeys(names, "float"))
            seen = None
            with harmless(f"{label}'s rows"):
                seen = None if kept is None else _named(kept, names)
            log_files(run, label, booster, seen)

    return around(object(), "lightgbm", functools.partial(train, *args, **kwargs), log)


def rows_of_matrix(matrix: Any, names: Sequence[str]) -> pl.DataFrame | None:
    """Return a sample of the rows of an XGBoost DMatrix; None of other kinds, which keep but bins.

    Args:
        matrix: the matrix.
        names: its columns.
    """
    import numpy as np
    import polars as pl

    if type(matrix).__name__ != "DMatrix":
        return None
    picked = rows.picks(matrix.num_row(), matrix.num_col())
    entries = matrix.slice(picked, allow_groups=True).get_data()
    values = np.full(entries.shape, np.nan, dtype=np.float32)  # what is no entry is a missing value, zeros are entries
    values[np.repeat(np.arange(len(picked)), np.diff(entries.indptr)), entries.indices] = entries.data
    return pl.DataFrame({name: values[:, place] for place, name in enumerate(names)})


def rows_of_dataset(data: Any) -> Any:
    """Return a sample of the rows that a LightGBM Dataset was made of, in their form; None where they are gone."""
    held = getattr(data, "data", None)
    return rows.sample(held) if len(getattr(held, "shape", ())) == 2 else None


def _named(kept: Any, names: Sequence[str]) -> pl.DataFrame | None:
    """Return rows as a frame whose columns have a booster's names; None where these are others."""
    found = frame(kept)
    return found.rename(dict(zip(found.columns, names, strict=True))) if found.width == len(names) else None


def _log(run: Any, label: str, booster: Any, params: Mapping[str, Any]) -> None:
    log_params(run, label, params)
    if getattr(booster, "best_iteration", 0) and isinstance(booster.best_iteration, int):
        run.metrics({f"{label}.best_iteration": booster.best_iteration})


def _log_signature(run: Any, label: str, kinds: Mapping[str, str]) -> None:
    inputs = tuple(rows.Field(name, kind) for name, kind in kinds.items())
    run.write(f"models/{label}/signature.json", rows.encoded(rows.Signature(inputs, (), 0)))

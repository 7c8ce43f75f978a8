"""The boosters' own `train`: XGBoost's and LightGBM's, for those who do without the estimators."""

from __future__ import annotations

import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any

from interlock.sdk.recording import rows
from interlock.sdk.recording.autolog.curves import booster_config, evaluations
from interlock.sdk.recording.autolog.fits import around, log_curves, log_model, log_params

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


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
            _log_signature(run, label, dict(zip(names, kinds, strict=True)))
            log_model(run, label, booster, None)

    return around(object(), "xgboost", functools.partial(train, *args, **kwargs), log)


def around_lightgbm(train: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Return what `lightgbm.train` returns, logged."""
    given = inspect.signature(train).bind(*args, **kwargs).arguments
    results: dict[str, Any] = {}
    if given.get("valid_sets"):
        remember = sys.modules["lightgbm"].record_evaluation(results)
        kwargs = {**kwargs, "callbacks": [*(kwargs.get("callbacks") or ()), remember]}

    def log(run: Any, label: str, booster: Any, full: bool) -> None:
        _log(run, label, booster, {**booster.params, "num_boost_round": booster.current_iteration()})
        log_curves(run, label, evaluations(results))
        if full:
            _log_signature(run, label, dict.fromkeys(booster.feature_name(), "float"))
            log_model(run, label, booster, None)

    return around(object(), "lightgbm", functools.partial(train, *args, **kwargs), log)


def _log(run: Any, label: str, booster: Any, params: Mapping[str, Any]) -> None:
    log_params(run, label, params)
    if getattr(booster, "best_iteration", 0) and isinstance(booster.best_iteration, int):
        run.metrics({f"{label}.best_iteration": booster.best_iteration})


def _log_signature(run: Any, label: str, kinds: Mapping[str, str]) -> None:
    inputs = tuple(rows.Field(name, kind) for name, kind in kinds.items())
    run.write(f"models/{label}/signature.json", rows.encoded(rows.Signature(inputs, (), 0)))

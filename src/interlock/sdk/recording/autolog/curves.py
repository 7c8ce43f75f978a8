"""What estimators say about their own training: learning curves, what a search found, params that a booster chose."""

from __future__ import annotations

from typing import Any, Final

import msgspec

_MOST_ROWS: Final = 1000


def curves_of(estimator: Any) -> dict[str, list[float]]:
    """Return learning curves by name, a value an iteration.

    XGBoost and LightGBM tell one for each validation set and metric; scikit-learn's own tell their loss.
    """
    found: dict[str, list[float]] = {}
    results = getattr(estimator, "evals_result_", None) or {}
    if isinstance(results, dict):
        found |= evaluations(results)
    for name in ("loss_curve_", "train_score_", "validation_score_"):
        values = getattr(estimator, name, None)
        if values is not None and hasattr(values, "__len__") and len(values) > 1:
            found[name.rstrip("_")] = [float(value) for value in values]
    return found


def evaluations(results: Any) -> dict[str, list[float]]:
    """Return the curves of a booster's evaluations: `{"valid": {"auc": [...]}}` becomes `{"valid.auc": [...]}`."""
    return {
        f"{data}.{metric}": [float(v[0] if isinstance(v, tuple) else v) for v in values]
        for data, metrics in results.items()
        for metric, values in metrics.items()
    }


def search_results(estimator: Any) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Return what a search found, as metrics, and what it tried, as rows; nothing for other estimators."""
    results = getattr(estimator, "cv_results_", None)
    if not isinstance(results, dict) or not hasattr(estimator, "best_score_"):
        return {}, []
    names = [name for name in results if not name.startswith("param_")]
    count = min(len(results["params"]), _MOST_ROWS)
    table = [{name: _cell(results[name][place]) for name in names} for place in range(count)]
    return {"best_score": float(estimator.best_score_), "candidates": float(len(results["params"]))}, table


def found_params(estimator: Any) -> dict[str, Any]:
    """Return params that a fit decides: what a search chose, what XGBoost takes where nothing is said."""
    found = {f"best.{name}": value for name, value in getattr(estimator, "best_params_", {}).items()}
    if type(estimator).__module__.partition(".")[0] == "xgboost" and hasattr(estimator, "get_booster"):
        chosen = booster_config(estimator.get_booster())
        asked = estimator.get_params()
        found |= {name: chosen[name] for name, value in asked.items() if value is None and name in chosen}
        if asked.get("n_estimators", 0) is None:
            found["n_estimators"] = estimator.get_booster().num_boosted_rounds()
    return found


def booster_config(booster: Any) -> dict[str, str]:
    """Return the training params of an XGBoost booster, defaults included, by name."""
    found: dict[str, str] = {}
    waiting = [msgspec.json.decode(booster.save_config())]
    while waiting:
        for name, value in waiting.pop().items():
            if isinstance(value, dict):
                waiting.append(value)
            elif isinstance(value, str):
                found.setdefault(name, value)
    return found


def _cell(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value) if isinstance(value, dict) else value

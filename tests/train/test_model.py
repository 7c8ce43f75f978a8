"""A model that does not fit together is refused with everything that is wrong."""

from __future__ import annotations

from typing import Any

import pandas as pd
import polars as pl
import pytest

from interlock import Model
from interlock.core.errors import Invalid


class Estimator:
    def predict(self, rows: Any) -> Any:
        return rows


INPUTS = pl.DataFrame({"age": [1, 2], "kind": ["a", "b"]})
HELD = pl.DataFrame({"id": [1, 2], "age": [3.0, None], "kind": ["a", None], "sex": [1, 2], "works": [0, 1]})


def test_a_good_model_is_accepted() -> None:
    model = Model(Estimator(), INPUTS, "works", HELD, params={"depth": 3}, metrics={"auc": 0.8})
    assert model.columns == ["age", "kind"]
    assert Model(Estimator(), pandas(INPUTS), "works", pandas(HELD)).columns == model.columns


def pandas(frame: pl.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(frame.to_dict(as_series=False))


@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({"inputs": INPUTS.head(0)}, {"empty"}),
        ({"evaluation": HELD.head(0)}, {"empty"}),
        ({"inputs": INPUTS.select([])}, {"empty"}),
        ({"inputs": INPUTS.with_columns(works=1)}, {"target_in_inputs"}),
        ({"evaluation": HELD.drop("age", "kind")}, {"missing_column"}),
        ({"evaluation": HELD.with_columns(age=pl.lit("old"))}, {"type"}),
        ({"evaluation": HELD.drop("works")}, {"missing_column"}),
        ({"evaluation": HELD.with_columns(works=pl.Series([1, None]))}, {"null_target"}),
        ({"evaluation": HELD.with_columns(works=pl.Series([1.0, float("nan")]))}, {"null_target"}),
        ({"estimator": object()}, {"no_predict"}),
        ({"metrics": {"auc": "good"}}, {"metric"}),
        (
            {"estimator": 3, "metrics": {"auc": None}, "evaluation": HELD.drop("age")},
            {"no_predict", "metric", "missing_column"},
        ),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], rules: set[str]) -> None:
    good: dict[str, Any] = {"estimator": Estimator(), "inputs": INPUTS, "target": "works", "evaluation": HELD}
    with pytest.raises(Invalid) as caught:
        Model(**{**good, **changes})
    assert {finding.rule for finding in caught.value.findings} == rules


def test_frames_are_wanted() -> None:
    with pytest.raises(Invalid, match="A frame is wanted, this is a LazyFrame"):
        Model(Estimator(), INPUTS.lazy(), "works", HELD)
    with pytest.raises(Invalid, match="several types"):
        Model(Estimator(), pd.DataFrame({"age": [1, "x"]}), "works", HELD)

"""Models as files."""

from __future__ import annotations

import polars as pl
import pytest

from interlock.core.errors import Error, Invalid
from interlock.sdk.recording.models import write_model


def test_a_model_that_cannot_be_judged_is_refused_with_the_way_to_keep_it(people: pl.DataFrame) -> None:
    from sklearn.neighbors import LocalOutlierFactor
    from sklearn.svm import LinearSVC

    rows = people.select("age", "income")
    truth = {"target": "happy", "evaluation": people.tail(100)}
    for model in (LocalOutlierFactor(novelty=True).fit(rows.to_numpy()), LinearSVC().fit(rows, people["happy"])):
        with pytest.raises(Error, match=r"leave target and evaluation out: run\.model\(model, NAME, example="):
            write_model(model, "m", {"training": rows, **truth})
        assert "model.skops" in write_model(model, "m", {"example": rows.head(4).to_numpy()})


def test_rows_that_do_not_fit_are_not_the_models_fault(people: pl.DataFrame) -> None:
    from sklearn.linear_model import LogisticRegression

    rows = people.select("age", "income")
    model = LogisticRegression().fit(rows, people["happy"])
    with pytest.raises(Invalid, match="lack the target") as caught:
        write_model(model, "m", {"training": rows, "target": "sad", "evaluation": people.tail(100)})
    assert "leave target" not in str(caught.value)


def test_training_rows_may_hold_an_id_and_the_evaluation_be_a_pair(people: pl.DataFrame) -> None:
    from sklearn.linear_model import LogisticRegression

    rows = people.select("age", "income")
    model, held = LogisticRegression().fit(rows.to_pandas(), people["happy"].to_numpy()), people.tail(100)
    told = {"training": people.head(200), "target": "happy"}
    whole = write_model(model, "m", {**told, "evaluation": held.select("age", "income", "happy")})
    pair = (held.select("age", "income"), held["happy"].to_numpy())
    assert write_model(model, "m", {**told, "evaluation": pair}) == whole
    with pytest.raises(Invalid, match=r"has 100 rows, and truths of shape \(99,\)"):
        write_model(model, "m", {**told, "evaluation": (pair[0], pair[1][:99])})


def test_lightgbm_may_rename_columns_that_have_spaces(people: pl.DataFrame) -> None:
    from lightgbm import LGBMClassifier

    rows = people.rename({"age": "the age (years)", "income": "in come"})
    inputs = rows.select("in come", "the age (years)").to_pandas()
    model = LGBMClassifier(n_estimators=3, verbose=-1).fit(inputs, rows["happy"].to_numpy())
    told = {"training": rows.head(200), "target": "happy", "evaluation": rows.tail(100)}
    written = write_model(model, "m", told)
    import json

    assert [c["name"] for c in json.loads(written["bundle.json"])["inputs"]] == ["in come", "the age (years)"]


def test_categories_that_trees_split_by_themselves_are_named(people: pl.DataFrame) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    frame = people.select("age", group=pl.col("group").cast(pl.String).cast(pl.Categorical)).to_pandas()
    model = HistGradientBoostingClassifier(max_iter=2, categorical_features="from_dtype").fit(frame, people["happy"])
    told = {"training": frame, "target": "happy", "evaluation": frame.assign(happy=people["happy"].to_numpy())}
    with pytest.raises(Invalid, match="split categories by themselves") as refused:
        write_model(model, "m", told)
    assert "OrdinalEncoder" in refused.value.hint

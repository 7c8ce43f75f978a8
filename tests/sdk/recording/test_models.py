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

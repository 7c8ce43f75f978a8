"""Models as Polars expressions."""

from __future__ import annotations

import polars as pl
import pytest

from interlock.core.errors import Invalid, NotFound
from interlock.sdk.polars import predict
from interlock.sdk.workspace import Workspace
from interlock.serve.model import LoadedModel


@pytest.fixture
def workspace(store, register):
    register()
    return Workspace.over(store)


@pytest.fixture
def wanted(workspace, people):
    """What the endpoint says of all people."""
    bundle = workspace.registry.version("model:happy@1").bundle
    model = LoadedModel.load(workspace.store.objects, bundle)
    return model.run(model.prepare(people.to_dict(as_series=False)))


def test_an_expression_gives_the_endpoints_numbers(workspace, people, wanted):
    made = people.select(score=predict("model:happy", workspace=workspace))
    assert made["score"].to_list() == wanted.scores
    labels = people.select(predict("model:happy@1", output="label", workspace=workspace))
    assert labels["happy"].to_list() == wanted.labels


def test_it_works_in_lazy_and_streaming_queries(workspace, people, wanted):
    query = people.lazy().with_columns(score=predict("model:happy", workspace=workspace)).select("score")
    assert query.collect()["score"].to_list() == wanted.scores
    assert query.collect(engine="streaming")["score"].to_list() == wanted.scores
    assert query.collect_schema()["score"] == pl.Float64


def test_columns_may_be_called_otherwise(workspace, people, wanted):
    other = people.select(years="age", half=pl.col("income") / 2)
    score = predict("model:happy", {"age": "years", "income": pl.col("half") * 2}, workspace=workspace)
    assert other.select(score)["score"].to_list() == wanted.scores


def test_a_folder_is_opened_and_closed_again(workspace, people, wanted):
    score = predict("model:happy", workspace=workspace.location)
    assert people.select(score)["score"].to_list() == wanted.scores


def test_rows_that_the_model_refuses_fail_or_have_no_answer(workspace, people):
    frame = people.head(3).with_columns(age=pl.Series([30, None, 31]))
    with pytest.raises((Invalid, pl.exceptions.ComputeError), match="row 1"):
        frame.select(predict("model:happy", workspace=workspace))
    made = frame.select(predict("model:happy", bad_rows="null", workspace=workspace))
    assert made["score"].is_null().to_list() == [False, True, False]


def test_there_is_a_short_way_to_both():
    import interlock

    assert interlock.polars.predict is predict
    assert interlock.duckdb.register.__module__ == "interlock.sdk.duckdb"


def test_what_is_not_there_is_said_at_once(workspace):
    with pytest.raises(NotFound):
        predict("model:nobody", workspace=workspace)
    with pytest.raises(Invalid, match="takes no column 'years'"):
        predict("model:happy", {"years": "age"}, workspace=workspace)


def test_a_version_without_a_record_gives_its_servers_numbers(store, keep, people):
    from sklearn.tree import DecisionTreeClassifier

    rows = people.select("age", "income").cast(pl.Float32)
    version = keep(DecisionTreeClassifier(max_depth=4).fit(rows, people["happy"]), example=rows.head(4), training=rows)
    model = LoadedModel.open(store.objects, version.bundle)
    served = model.run(model.prepare(rows.to_dict(as_series=False)))
    made = rows.select(score=predict("model:kept", workspace=Workspace.over(store)))
    assert made["score"].to_list() == served.scores


@pytest.mark.parametrize("words", [{"output": "probabilities"}, {"output": ""}, {"bad_rows": "skip"}])
def test_words_that_mean_nothing_are_refused(workspace, words):
    with pytest.raises(Invalid, match=r"There is no '.*' here\. Say one of"):
        predict("model:happy", workspace=workspace, **words)

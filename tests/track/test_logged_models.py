from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.store import Store
from interlock.store.series import LatestValue
from interlock.track.logged_models import ModelChange, ModelDraft, ModelMetric
from interlock.track.tracker import Tracker

NAN = float("nan")


@pytest.fixture
def model(tracker: Tracker, write: Any, run: str) -> str:
    made: str = write(tracker.logged_models.create, ModelDraft(tracker.experiments.named("e").id, "m", "sklearn", run))
    return made


def test_a_model_is_pending_until_it_is_finished(
    tracker: Tracker, write: Any, model: str, run: str, kinds: Any
) -> None:
    found = tracker.logged_models.get(model)
    assert (found.status, found.run, found.name, found.lifecycle) == ("pending", run, "m", "active")
    write(tracker.logged_models.change, model, ModelChange(status="ready"))
    write(tracker.logged_models.change, model, ModelChange(status="ready"))
    assert tracker.logged_models.get(model).status == "ready"
    assert kinds(f"logged_model:{model}") == ["logged_model.created", "logged_model.changed"]


def test_params_never_change_and_tags_do(tracker: Tracker, write: Any, store: Store, model: str) -> None:
    write(tracker.logged_models.change, model, ModelChange(params={"a": "1"}, tags={"t": "1"}))
    before, size = tracker.logged_models.get(model), store.ledger.size()
    write(tracker.logged_models.change, model, ModelChange(params={"a": "1"}, tags={"t": "1"}))
    assert (tracker.logged_models.get(model), store.ledger.size()) == (before, size)
    with pytest.raises(Conflict, match="Param 'a'"):
        write(tracker.logged_models.change, model, ModelChange(tags={"t": "2"}, params={"b": "1", "a": "2"}))
    assert tracker.logged_models.get(model) == before
    write(tracker.logged_models.change, model, ModelChange(tags={"t": "2"}, untag=("t",)))
    assert tracker.logged_models.get(model).tags == {}
    with pytest.raises(NotFound, match="'t'"):
        write(tracker.logged_models.change, model, ModelChange(untag=("t",)))


def test_a_deleted_one_only_comes_back(tracker: Tracker, write: Any, model: str) -> None:
    write(tracker.logged_models.change, model, ModelChange(lifecycle="deleted"))
    for words in ({"status": "ready"}, {"tags": {"a": "b"}}, {"params": {"a": "b"}}):
        with pytest.raises(Conflict, match="is deleted"):
            write(tracker.logged_models.change, model, ModelChange(**words))
    write(tracker.logged_models.change, model, ModelChange(lifecycle="active"))
    assert tracker.logged_models.get(model).lifecycle == "active"


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "a.b", "a%b", 'a"b', "a'b"])
def test_names_that_cannot_be(tracker: Tracker, write: Any, run: str, name: str) -> None:
    with pytest.raises(Invalid, match="cannot be the name of a logged model"):
        write(tracker.logged_models.create, ModelDraft(tracker.experiments.named("e").id, name))


def test_its_experiment_must_be_there(tracker: Tracker, write: Any, run: str) -> None:
    with pytest.raises(NotFound):
        write(tracker.logged_models.create, ModelDraft("nope", "m"))
    experiment = tracker.experiments.named("e").id
    write(tracker.experiments.change, experiment, lifecycle="deleted")
    with pytest.raises(Conflict):
        write(tracker.logged_models.create, ModelDraft(experiment, "m"))
    with pytest.raises(NotFound):
        tracker.logged_models.get("m-1")


def test_points_are_kept_in_order_whatever_the_order_of_arrival(tracker: Tracker, write: Any, run: str) -> None:
    points = [(1, 9, 9.0), (2, 1, math.inf), (2, 2, 3.0), (-3, 5, -0.5)]
    for order in itertools.permutations(points):
        model = write(tracker.logged_models.create, ModelDraft(tracker.experiments.named("e").id, "m"))

        def log(tx: Any, model: str = model, order: Any = order) -> None:
            for point in (*order, order[0]):
                tracker.logged_models.log_metric(tx, model, ModelMetric("auc", LatestValue(*point), "r"))

        write(log)
        found = [metric.point for metric in tracker.logged_models.get(model).metrics]
        assert found == [LatestValue(*point) for point in sorted(points)]


def test_metrics_are_told_apart_by_dataset_and_run(tracker: Tracker, write: Any, model: str) -> None:
    metrics = [
        ModelMetric("auc", LatestValue(0, 0, NAN)),
        ModelMetric("auc", LatestValue(0, 0, 0.5), "r"),
        ModelMetric("auc", LatestValue(0, 0, 0.7), "r", "people", "abc"),
    ]
    for metric in metrics:
        write(tracker.logged_models.log_metric, model, metric)
    found = tracker.logged_models.get(model).metrics
    assert len(found) == 3
    assert math.isnan(found[0].point.value)
    assert found[1:] == tuple(metrics[1:])

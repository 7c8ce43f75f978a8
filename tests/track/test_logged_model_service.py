from __future__ import annotations

from typing import Any

import pytest

from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.core.files import StoredFile
from interlock.store import Store
from interlock.store.series import LatestValue
from interlock.track.logged_model_service import LoggedModelService
from interlock.track.logged_models import ModelChange, ModelDraft, ModelMetric
from interlock.track.runs import run_row
from interlock.track.tracker import Tracker


@pytest.fixture
def models(store: Store) -> LoggedModelService:
    return LoggedModelService(store)


@pytest.fixture
def made(tracker: Tracker, write: Any, store: Store, run: str) -> list[str]:
    """Three logged models of the run, of growing accuracy."""
    experiment = run_row(store.database, run)["experiment"]
    found = []
    for number in range(3):
        draft = ModelDraft(experiment, f"tree-{number}", "sklearn", run, {"depth": str(number)}, {"kind": "tree"})
        ident = write(tracker.logged_models.create, draft)
        point = LatestValue(1, 1_700_000_000_000_000, number / 2)
        write(tracker.logged_models.log_metric, ident, ModelMetric("auc", point, run, "test", "d1"))
        write(tracker.artifacts.put, "logged_model", ident, StoredFile("model.onnx", store.objects.put(b"x"), 1))
        found.append(ident)
    write(tracker.logged_models.change, found[0], ModelChange(status="ready"))
    return found


def test_a_model_is_shown_with_metrics_and_files(models: LoggedModelService, made: list[str], run: str) -> None:
    for text in (made[2], f"logged_model:{made[2]}"):
        found = models.show(text)
        assert (found.name, found.experiment, found.type, found.run) == ("tree-2", "e", "sklearn", run)
        assert (found.params, found.tags, found.status) == ({"depth": "2"}, {"kind": "tree"}, "pending")
        assert [str(metric) for metric in found.metrics] == ["auc=1 on test"]
        assert [file.name for file in found.files] == ["model.onnx"]
    with pytest.raises(NotFound):
        models.show("m-0")
    with pytest.raises(Invalid):
        models.show("run:x")


def test_models_are_found_page_by_page(models: LoggedModelService, made: list[str]) -> None:
    page = models.search("metrics.auc >= 0.5", order_by=["metrics.auc ASC"], limit=1)
    assert [model.id for model in page.models] == [made[1]]
    token = page.next_page_token
    rest = models.search("metrics.auc >= 0.5", order_by=["metrics.auc ASC"], limit=1, page_token=token)
    assert ([model.id for model in rest.models], rest.next_page_token) == ([made[2]], "")
    assert len(models.search(experiments=["e"]).models) == 3
    with pytest.raises(NotFound):
        models.search(experiments=["f"])
    with pytest.raises(Invalid):
        models.search("metrics.auc >")


def test_a_model_is_tagged_deleted_and_restored(models: LoggedModelService, made: list[str], kinds: Any) -> None:
    assert models.tag(made[0], {"kind": "bush"}).tags == {"kind": "bush"}
    assert models.tag(made[0], {"a": "b"}, remove=["kind"]).tags == {"a": "b"}
    with pytest.raises(NotFound):
        models.tag(made[0], {"c": "d"}, remove=["no"])
    assert models.delete(made[0]).lifecycle == "deleted"
    assert made[0] not in [model.id for model in models.search().models]
    assert [model.id for model in models.search(deleted=True).models] == [made[0]]
    with pytest.raises(Conflict):
        models.tag(made[0], {"a": "c"})
    assert models.restore(made[0]).tags == {"a": "b"}
    assert kinds(f"logged_model:{made[0]}")[-4:] == ["logged_model.changed"] * 4

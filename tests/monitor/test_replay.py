"""Replays decide as models are served: at a tie it is the other label, and damaged rows are refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from interlock.audit.policy import parse_policy
from interlock.audit.service import AuditService
from interlock.core.errors import Invalid
from interlock.monitor.records import MonitorPlan
from interlock.monitor.replay import answer_rows, duel, replay
from interlock.monitor.service import MonitorService
from interlock.registry.flavors.build import build_bundle
from interlock.registry.service import ModelVersion, RegistryService
from interlock.serve.model import LoadedModel
from interlock.store import Store
from interlock.store.manifests import put_folder
from interlock.track.environment import environment
from interlock.track.records import Start
from interlock.track.service import TrackService

_spec = spec_from_file_location("damaged", Path(__file__).parents[1] / "data" / "damaged.py")
damaged = module_from_spec(_spec)
_spec.loader.exec_module(damaged)

ROWS = pl.DataFrame({"a": [-1.0, 0.0, 1.0] * 20, "y": [0, 0, 1] * 20})


def registered(store: Store, folder: Path) -> ModelVersion:
    track = TrackService(store)
    run = track.start(Start("happy", environment=store.objects.put(msgspec.json.encode(environment()))))
    track.finish(run.id)
    return RegistryService(store).register("happy", run.ref, put_folder(store.objects, folder), ["data:people@1"])


@pytest.fixture
def even(store: Store, tmp_path: Path) -> ModelVersion:
    """A model that gives exactly one half where `a` is 0."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(ROWS.select("a").to_numpy(), ROWS["y"].to_numpy())
    model.coef_, model.intercept_ = np.array([[2.0]]), np.array([0.0])
    build_bundle(model, inputs=ROWS.select("a"), target="y", evaluation=ROWS, folder=tmp_path / "even")
    return registered(store, tmp_path / "even")


def test_a_tie_gets_the_label_that_it_gets_when_it_is_served(store: Store, even: ModelVersion) -> None:
    registry = RegistryService(store)
    rows = ROWS.head(3)
    scores, codes = answer_rows(registry, even.bundle, rows)
    assert scores[1] == 0.5
    assert codes == [0, 0, 1]
    served = LoadedModel.open(store.objects, even.bundle)
    try:
        assert served.bundle.classes == (0, 1)
    finally:
        served.close()


def test_a_logged_tie_is_no_flip(store: Store, even: ModelVersion) -> None:
    """A version that gives a little less than the logged tie says the same."""
    logged = pl.DataFrame(
        {
            "id": ["1"],
            "bundle": [even.bundle],
            "inputs.a": [-0.01],
            "score": [0.5],
            "label": [0],
            "kind of truth?": [None],
            "true of two?": [None],
            "true number?": [None],
            "true class?": [None],
        },
        schema_overrides={"kind of truth?": pl.String, "true of two?": pl.Int64},
    )
    found = replay(RegistryService(store), even, logged, ("", ""))
    assert (found.rows, found.flips) == (1, 0)


@pytest.fixture
def broken(store: Store, bundle_folder: Path, tmp_path: Path) -> ModelVersion:
    """A version whose evaluation rows end the process that reads them."""
    folder = tmp_path / "broken"
    shutil.copytree(bundle_folder, folder)
    name = msgspec.json.decode((folder / "bundle.json").read_bytes())["files"]["evaluation"]
    (folder / name).unlink()
    damaged.aborting(folder / name)
    return registered(store, folder)


def test_damaged_rows_of_a_bundle_are_refused_and_end_nothing(store: Store, broken: ModelVersion) -> None:
    monitor = MonitorService(store)
    monitor.set("happy", MonitorPlan("happy", "person", "happy"))
    with pytest.raises(Invalid, match=r"The evaluation rows cannot be read as parquet: it is damaged.*SIGABRT"):
        monitor.watch("happy", broken.ref)
    assert monitor.show("happy").model == ""
    with pytest.raises(Invalid, match=rf"The evaluation rows of {broken.ref} cannot be read"):
        duel(RegistryService(store), pl.DataFrame(), MonitorPlan("happy", "person", "happy"), (broken.ref, broken.ref))
    audit = AuditService(store)
    audit.set_policy("happy", parse_policy({"roc_auc": ">= 0.7"}, (), "happy", "person"))
    with pytest.raises(Invalid, match=rf"The evaluation rows of {broken.ref} cannot be read"):
        audit.check(broken.ref)


def test_damaged_training_rows_of_a_run_are_refused_too(
    store: Store, register: Callable[[], ModelVersion], tmp_path: Path
) -> None:
    from interlock.core.files import StoredFile

    version, track = register(), TrackService(store)
    content = damaged.aborting(tmp_path / "t").read_bytes()
    track.log_artifact(version.run, "training.parquet", StoredFile("t", store.objects.put(content), len(content)))
    audit = AuditService(store)
    audit.set_policy("happy", parse_policy({"roc_auc": ">= 0.7"}, (), "happy", "person"))
    with pytest.raises(Invalid, match=rf"training.parquet of {version.run} cannot be read as parquet"):
        audit.check(version.ref)

"""What all tests share: no settings of this machine leak in, and no test fails for being slow."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import settings

from interlock.store import create_store, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import polars as pl

    from interlock.registry.service import ModelVersion
    from interlock.store import Store

settings.register_profile("interlock", settings(), deadline=None)  # on top of hypothesis' own choice for CI
settings.load_profile("interlock")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in [name for name in os.environ if name.startswith("INTERLOCK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "config"))


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an empty workspace, to be copied: making one anew takes twenty times as long."""
    folder = tmp_path_factory.mktemp("blank") / ".interlock"
    create_store(folder).close()
    return folder


@pytest.fixture
def store(tmp_path: Path, blank: Path) -> Iterator[Store]:
    """A real workspace in an empty folder."""
    folder = tmp_path / "project" / ".interlock"
    shutil.copytree(blank, folder)
    made = open_store(folder)
    yield made
    made.close()


@pytest.fixture(scope="session")
def people() -> pl.DataFrame:
    """Rows whose truth follows from `age` and `income`; `group` is sensitive and means nothing."""
    import numpy as np
    import polars as pl

    chance = np.random.default_rng(7)
    age, income = chance.integers(18, 65, 3000), chance.normal(30, 10, 3000).round(2)
    logit = (age - 40) / 8 + (income - 30) / 10
    truth = chance.random(3000) < 1 / (1 + np.exp(-logit))
    columns = {"person": np.arange(3000), "age": age, "income": income, "group": chance.integers(1, 3, 3000)}
    return pl.DataFrame({**columns, "happy": truth.astype(int)})


@pytest.fixture(scope="session")
def bundle_folder(people: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a logistic regression on `people`, built once."""
    from sklearn.linear_model import LogisticRegression

    from interlock.registry.flavors.build import build_bundle

    inputs = people.head(2000).select("age", "income")
    model = LogisticRegression().fit(inputs.to_numpy(), people.head(2000)["happy"].to_numpy())
    folder = tmp_path_factory.mktemp("bundle")
    build_bundle(model, inputs=inputs, target="happy", evaluation=people.tail(1000), folder=folder)
    return folder


@pytest.fixture
def keep(store: Store) -> Callable[..., ModelVersion]:
    """Register what `run.model(model, name, ...)` makes of a model as its next version; its run is real."""
    from interlock.registry.service import RegistryService
    from interlock.sdk.recording.models import write_model
    from interlock.store.manifests import Entry, put_entries
    from interlock.track.environment import environment
    from interlock.track.records import Start
    from interlock.track.service import TrackService

    def make(model: object, name: str = "kept", **given: object) -> ModelVersion:
        track = TrackService(store)
        code, kept = store.objects.put(b"code"), store.objects.put(msgspec.json.encode(environment()))
        run = track.start(Start(name, environment=kept, code=code))
        track.finish(run.id)
        files = write_model(model, name, given).items()
        entries = [Entry(path, len(data), store.objects.put(data)) for path, data in files]
        return RegistryService(store).register(name, run.ref, put_entries(store.objects, entries))

    return make


@pytest.fixture
def register(store: Store, bundle_folder: Path) -> Callable[[], ModelVersion]:
    """Register the bundle as the next version of model `happy`; its run is real."""
    from interlock.registry.service import RegistryService
    from interlock.store.manifests import put_folder
    from interlock.track.environment import environment
    from interlock.track.records import Start
    from interlock.track.service import TrackService

    def make() -> ModelVersion:
        track, registry = TrackService(store), RegistryService(store)
        kept = store.objects.put(msgspec.json.encode(environment()))
        run = track.start(Start("happy", environment=kept))
        track.finish(run.id)
        return registry.register("happy", run.ref, put_folder(store.objects, bundle_folder), ["data:people@1"])

    return make

"""Versions that came without a bundle, approved as the tables say it; their files are as runs write them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from interlock.deploy.service import DeployService
from interlock.registry.service import ModelVersion, RegistryService
from interlock.store import Store
from interlock.store.manifests import Entry, put_entries
from interlock.track.environment import environment
from interlock.track.records import Start
from interlock.track.service import TrackService

sys.path.insert(0, str(Path(__file__).parent))  # for lone.py
Make = Callable[..., ModelVersion]


@pytest.fixture
def deploy(store: Store) -> Iterator[DeployService]:
    service = DeployService(store)
    yield service
    for row in store.database.all("SELECT name FROM deployments"):
        service.stop(row["name"])


@pytest.fixture(scope="session")
def original() -> bytes:
    """The skops file of a model with two columns."""
    import skops.io
    from sklearn.linear_model import LogisticRegression

    rows = np.random.default_rng(3).normal(size=(40, 2))
    return skops.io.dumps(LogisticRegression().fit(rows, (rows[:, 0] > 0).astype(int)))


@pytest.fixture
def logged(store: Store) -> Make:
    """Register files as the next version of model `kept`; its run recorded these packages."""

    def make(files: dict[str, bytes], **packages: str) -> ModelVersion:
        track, here = TrackService(store), environment()
        changed = {name.replace("_", "-"): version for name, version in packages.items()}
        there = msgspec.structs.replace(here, packages={k: v for k, v in (here.packages | changed).items() if v})
        run = track.start(Start("kept", environment=store.objects.put(msgspec.json.encode(there))))
        track.finish(run.id)
        entries = [Entry(path, len(data), store.objects.put(data)) for path, data in files.items()]
        return RegistryService(store).register("kept", run.ref, put_entries(store.objects, entries))

    return make


@pytest.fixture
def signed(store: Store, logged: Make) -> Make:
    """Register files as `logged` does, and approve them under a report of the gates."""
    registry = RegistryService(store)

    def make(files: dict[str, bytes], **packages: str) -> ModelVersion:
        version = logged(files, **packages)
        report = store.objects.put(b'{"waived": []}')
        values = {"model": version.model, "version": version.version, "bundle": version.bundle, "report": report}

        def write(tx: Any) -> None:
            for stage in ("environment prepared", "validated", "approved"):
                registry.advance(tx, version.ref, stage, "signed")
            tx.run(
                "INSERT INTO approvals (model, version, actor, bundle, report, policy, note, given_at)"
                " VALUES (:model, :version, 'user:ann', :bundle, :report, '', '', 0)",
                values,
            )

        store.database.write(write)
        return registry.version(version.ref)

    return make

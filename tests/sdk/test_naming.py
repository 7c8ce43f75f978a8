"""Collections of garbage rely on two promises of all rooms; every operation of the story is held to them.

Whoever names an object has put or held it just before, and what names objects is declared in store/tables.py.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
import test_local_remote as story
from cases import CASES, Past

from interlock.registry.gc import DAY_S
from interlock.registry.references import digests_in, names
from interlock.sdk.workspace import Workspace
from interlock.store import Store, create_store
from interlock.store.manifests import put_folder
from interlock.store.migrations import migrations
from interlock.store.tables import columns

# What a step's key was made of: these digests are compared, and never opened.
COMPARED = {("step_results", "parts")}
files = story.files


def a_day_passes(store: Store) -> None:
    then = time.time() - 2 * DAY_S
    for digest in store.objects.digests():
        os.utime(store.root / "objects" / digest[:2] / digest[2:], (then, then))


def named(store: Store) -> set[str]:
    with store.database.snapshot() as snapshot:
        return {name.digest for name in names(snapshot)}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")  # a deployment outlives its call
def test_whatever_an_operation_names_is_declared_and_was_touched(tmp_path: Path, files: Path) -> None:
    store = create_store(tmp_path / "project/.interlock", story.StillClock(story.NOW))
    bundle = put_folder(store.objects, story.make_bundle(tmp_path / "bundle"))
    story.make_traces(store)
    (tmp_path / "project/interlock.toml").write_text(story.PROJECT)
    (tmp_path / "project/pipeline.py").write_text(story.PIPELINE)
    untouched: dict[str, list[str]] = {}
    with Workspace.over(store, services=story.ALL) as workspace:
        side = story.Side(workspace, Past(files, bundle), store.project)
        for number, case in enumerate(CASES):
            operation = story.OPERATIONS.get(case.operation)
            if operation is None:
                continue
            store.clock.at = story.NOW + timedelta(minutes=number)
            before, begun = named(store), time.time() - 60
            if not operation.permission.reads_only:
                a_day_passes(store)
            side.play(case)
            for digest in () if operation.permission.reads_only else named(store) - before:
                held = store.objects.look(digest)
                if held is not None and held.touched_at < begun:
                    untouched.setdefault(case.operation, []).append(digest)
        for deployment in workspace.deploy.deployments():
            workspace.deploy.stop(deployment.name)
        assert untouched == {}, "put or hold what a transaction is about to name"
        known, strays = named(store), set()
        for table, held_columns in columns(migrations()).items():
            for column in held_columns:
                for row in store.database.all(f"SELECT {column} AS value FROM {table}"):
                    value = row["value"] or b""
                    for digest in digests_in(value.encode() if isinstance(value, str) else bytes(value)):
                        if digest not in known and store.objects.size(digest) is not None:
                            strays.add((table, column))
        assert strays - COMPARED == set(), "say in store/tables.py that these columns name objects"

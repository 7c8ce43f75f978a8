"""A workspace beside a project whose files tests write."""

from __future__ import annotations

import functools
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from interlock.store import Store, create_store
from interlock.store.objects import FolderObjects
from interlock.train.engine import PipelineResult, run_pipeline
from interlock.train.keys import Keys, StepKey
from interlock.train.loader import leave, load_entry
from interlock.train.steps import Step
from interlock.train.values import Values


class Project:
    """A folder with Python files, its workspace, and short ways to run what is in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @functools.cached_property
    def store(self) -> Store:
        """The workspace's store, opened when a test needs it."""
        return create_store(self.folder / ".interlock")

    @functools.cached_property
    def values(self) -> Values:
        """Values of their own, without a database."""
        return Values(FolderObjects(self.folder / ".values"), self.folder / ".values.key")

    def write(self, **files: str) -> None:
        """Write modules, named by their paths without `.py`."""
        for name, text in files.items():
            path = self.folder / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))

    def edit(self, name: str, before: str, after: str) -> None:
        """Replace a text that stands once in a file."""
        path = self.folder / f"{name}.py"
        text = path.read_text()
        assert text.count(before) == 1, f"{before!r} stands {text.count(before)} times"
        path.write_text(text.replace(before, after))

    def load(self, entry: str = "pipeline:main") -> Any:
        """Return a pipeline, its module freshly imported."""
        return load_entry(entry, self.folder)

    def run(self, entry: str = "pipeline:main", /, **options: Any) -> PipelineResult:
        """Run a pipeline; what is no option of `run_pipeline` is an argument."""
        names = ("run_id", "executor", "recorder", "fresh")
        known = {name: options.pop(name) for name in names if name in options}
        return run_pipeline(self.load(entry), options, store=self.store, **known)

    def key(self, name: str = "work", /, **inputs: Any) -> StepKey:
        """Return the key of a call of a step in pipeline.py, everything freshly imported."""
        self.load()
        step = getattr(sys.modules["pipeline"], name)
        assert isinstance(step, Step)
        return self.keys().of(step, inputs)

    def keys(self) -> Keys:
        """Return a maker of keys."""
        return Keys(self.folder, self.values)


@pytest.fixture
def project(tmp_path: Path):
    """Return a project with an empty workspace."""
    folder = tmp_path / "project"
    folder.mkdir()
    made = Project(folder)
    yield made
    if "store" in vars(made):
        made.store.close()
    leave()

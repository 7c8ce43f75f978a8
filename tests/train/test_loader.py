"""Entries load freshly and apart, and errors name the line."""

from __future__ import annotations

import os
import sys
from typing import Any

import polars as pl
import pytest

from interlock.core.errors import Invalid, NotFound
from interlock.train.loader import describe, load_entry

CODE = """
    from __future__ import annotations
    from typing import TYPE_CHECKING
    import polars as pl
    import helpers
    from interlock import pipeline, step
    if TYPE_CHECKING:
        from elsewhere import Thing

    @pipeline
    def train(people: pl.DataFrame, thing: Thing, plain, rate: float = 0.5) -> int:
        '''Train.

        Args:
            people: who.
            rate: how fast.
        '''
        return helpers.number()

    def simple(rate: float = 1.0) -> int:
        return helpers.number()

    @step
    def one() -> int:
        return 1

    @pipeline
    def greedy(*values): return values

    NUMBER = 3
"""


@pytest.fixture
def written(project):
    project.write(pipeline=CODE, helpers="def number(): return 1\n")
    return project


def test_a_pipeline_says_what_it_takes(written) -> None:
    people, thing, plain, rate = describe(written.load("pipeline:train"))
    assert (people.name, people.type, people.required, people.help) == ("people", pl.DataFrame, True, "who.")
    assert thing.type == "Thing"
    assert plain.type is Any
    assert (rate.type, rate.default, rate.required, rate.help) == (float, 0.5, False, "how fast.")


def test_plain_functions_are_entries_too(written) -> None:
    assert written.load("pipeline:simple")() == 1
    assert written.run("pipeline:simple", rate=2.0).value == 1


def test_modules_are_read_anew_even_within_a_second(written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = written.folder / "helpers.py"
    for number in range(10):
        path.write_text(f"def number(): return {number}\n")
        os.utime(path, (1, 1))
        assert written.load("pipeline:simple")() == number
    assert not (written.folder / "__pycache__").exists()


def test_projects_with_equal_names_do_not_mix(written, tmp_path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "pipeline.py").write_text("import helpers\ndef simple(): return helpers.number()\n")
    (other / "helpers.py").write_text("def number(): return 'other'\n")
    mine = written.load("pipeline:simple")
    yours = load_entry("pipeline:simple", other)
    assert (mine(), yours()) == (1, "other")
    assert str(written.folder) not in sys.path
    assert written.load("pipeline:simple")() == 1


@pytest.mark.parametrize(
    ("entry", "kind", "message"),
    [
        ("pipeline", Invalid, "names no function"),
        ("pipeline:", Invalid, "names no function"),
        ("../pipeline:train", Invalid, "names no function"),
        ("nowhere:train", NotFound, "no module 'nowhere'"),
        ("pipeline:trian", NotFound, "'train'"),
        ("pipeline:NUMBER", Invalid, "no pipeline"),
        ("pipeline:one", Invalid, "no pipeline"),
        ("pipeline:greedy", Invalid, r"takes \*values"),
    ],
)
def test_wrong_entries_are_explained(written, entry: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        written.load(entry)


@pytest.mark.parametrize(
    ("helpers", "place"),
    [
        ("x = 1\ny = 1 / 0\n", "helpers.py, line 2"),
        ("x = 1\n\ndef broken(:\n", "helpers.py, line 3"),
        ("\nimport not_installed_anywhere\n", "helpers.py, line 2"),
    ],
)
def test_a_module_that_does_not_load_names_its_line(written, helpers: str, place: str) -> None:
    (written.folder / "helpers.py").write_text(helpers)
    with pytest.raises(Invalid, match=place) as caught:
        written.load("pipeline:train")
    assert caught.value.facts["place"] == place

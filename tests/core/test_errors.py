from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from interlock.core import errors
from interlock.core.errors import EXTRAS, Error, Finding, Invalid, MissingExtra, NotFound, StorageFull, Unavailable


def kinds() -> list[type[Error]]:
    return [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, Error)]


@pytest.mark.parametrize("kind", kinds())
def test_every_error_survives_the_wire_in_its_own_class(kind: type[Error]) -> None:
    error = kind(
        "It is wrong.",
        about="model_version",
        hint="Do this.",
        findings=[Finding("range", "too old", "AGEP", (3, 9), 2)],
        version=3,
        known=["a"],
    )
    problem = json.loads(json.dumps(error.to_problem()))
    found = Error.from_problem(problem)
    assert type(found) is kind
    assert found == error
    assert found.code == f"model_version.{kind.suffix}"
    assert found.findings[0].rows == (3, 9)


def test_suffixes_are_unique() -> None:
    assert len({kind.suffix for kind in kinds()}) == len(kinds())


def test_the_hint_is_computed_from_near_names() -> None:
    error = NotFound.named("model", "creditt", ["credit", "fraud"])
    assert error.code == "model.not_found"
    assert "Did you mean 'credit'?" in error.hint


def test_without_near_names_the_known_ones_are_listed() -> None:
    assert "fraud" in NotFound.named("model", "zzz", ["credit", "fraud"]).hint


def test_pythonistas_catch_what_they_expect() -> None:
    assert isinstance(Invalid("x"), ValueError)
    assert isinstance(NotFound("x"), LookupError)
    assert isinstance(MissingExtra.named("data", "polars"), ImportError)
    assert "pip install 'interlock[data]'" in str(MissingExtra.named("data", "polars"))


def test_only_unavailable_is_worth_a_retry() -> None:
    assert [kind for kind in kinds() if kind.transient] == [Unavailable, StorageFull]


def test_an_unknown_code_is_still_an_error() -> None:
    assert type(Error.from_problem({"code": "new.kind", "title": "t"})) is Error


def test_a_missing_library_of_ours_is_a_missing_extra_and_nothing_else_is() -> None:
    found = MissingExtra.behind(ModuleNotFoundError("x", name="polars"))
    assert found == MissingExtra.named("data", "polars")
    assert MissingExtra.behind(ModuleNotFoundError("x", name="my_module")) is None
    assert MissingExtra.behind(ModuleNotFoundError("x", name="polars.nothing")) is None
    assert MissingExtra.behind(ImportError("cannot import name", name="polars")) is None


def test_every_extra_that_is_named_exists() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    for module, extra in EXTRAS.items():
        distribution = {"sklearn": "scikit-learn", "onnx": "skl2onnx"}.get(module, module.replace("_", "-"))
        assert any(wanted.startswith(distribution) for wanted in extras[extra]), module

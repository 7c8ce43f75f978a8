from __future__ import annotations

import pytest

from interlock.audit.environments.needs import loadable, pins, roots, runtime
from interlock.core.bundles import Agreement, Bundle
from interlock.core.errors import Conflict, Invalid
from interlock.registry.content import FileFormat
from interlock.track.environment import Environment

PACKAGES = {
    "numpy": "2.4.6",
    "onnxruntime": "1.31.1",
    "scikit-learn": "1.9.1",
    "skops": "0.16.0",
    "torch": "2.9.0+cpu",
    "ours": "0.1.dev3+gabc.dirty",
    "xgboost-cpu": "3.1.0",
    "vendored": "unknown",
}


def recorded(python: str = "3.12.4", implementation: str = "CPython", **packages: str) -> Environment:
    return Environment(python, implementation, "Linux", 2, PACKAGES | packages)


def files(*formats: str) -> list[FileFormat]:
    return [FileFormat(f"f{number}", kind, "") for number, kind in enumerate(formats)]  # type: ignore[arg-type]


def test_needs_follow_what_the_files_are() -> None:
    assert roots(files("onnx", "opaque"), recorded(), ()) == ("numpy", "onnxruntime")
    assert roots(files("onnx", "skops"), recorded(), ()) == ("numpy", "onnxruntime", "scikit-learn", "skops")
    assert roots(files("xgboost"), recorded(), ()) == ("numpy", "xgboost-cpu")
    assert roots(files("opaque"), recorded(), ("Scikit_Learn", "torch")) == ("scikit-learn", "torch")


def test_what_was_not_recorded_is_not_made_up() -> None:
    with pytest.raises(Conflict, match="opaque"):
        roots(files("opaque"), recorded(), ())
    with pytest.raises(Conflict, match="did not record lightgbm"):
        roots(files("lightgbm"), recorded(), ())
    with pytest.raises(Conflict, match="vendored unknown is no release"):
        roots(files("opaque"), recorded(), ("vendored",))
    for name in ("msgspec==1", "-r x", "", "a b", "a\nb", "https://x/y.whl"):
        with pytest.raises(Invalid, match="no name"):
            roots(files("onnx"), recorded(), (name,))


def test_pins_are_releases_and_nothing_else() -> None:
    environment = recorded(**{"--index-url": "1", "a b": "1", "evil": "1\n--pre", "paper": "1.0 ; x"})
    assert pins(environment) == [
        "numpy==2.4.6",
        "onnxruntime==1.31.1",
        "ours==0.1.dev3",
        "scikit-learn==1.9.1",
        "skops==0.16.0",
        "torch==2.9.0",
        "xgboost-cpu==3.1.0",
    ]


def test_environments_are_built_for_the_python_of_the_run() -> None:
    assert runtime(recorded("3.13.0rc1")) == "3.13"
    for python, implementation in (("3.11.2", "PyPy"), ("", "CPython"), ("--help", "CPython")):
        with pytest.raises(Conflict, match="CPython"):
            runtime(recorded(python, implementation))


def test_what_answers_is_tried_first_and_formats_with_code_never() -> None:
    agreement = Agreement(rows=1, max_difference=0.0, tolerance=0.0, label_flips=0)
    bundle = Bundle("xgboost", "classification", (), "y", (0, 1), {"serving": "f2"}, agreement)
    found = loadable(files("xgboost", "skops", "onnx", "opaque", "safetensors"), bundle)
    assert [file.path for file in found] == ["f2", "f0"]

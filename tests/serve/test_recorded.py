"""Packages that a model was made with, beside those here, and what a trial could not prove."""

from __future__ import annotations

import io
import zipfile

import msgspec
import onnxruntime
import pytest

from interlock.core.bundles import Agreement, Golden
from interlock.core.errors import Corrupt, NotFound
from interlock.serve.model import LoadedModel
from interlock.serve.recorded import Compared, Recorded, compare, read_recorded, unproved

HERE = {"onnxruntime": onnxruntime.__version__, "numpy": __import__("numpy").__version__}


class Engine:
    """Stands where an original's process would: what is compared depends on its name only."""

    name = "worker"


@pytest.fixture
def model(shop):
    return LoadedModel.open(shop.store.objects, shop.bundle("people"))


def original(model, schema: str) -> LoadedModel:
    """Return a model as if its original answered, of which this is the schema."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("schema.json", schema)
    model.engine = Engine()
    model.parts = model.parts._replace(read=lambda _: packed.getvalue())
    return model


def test_the_same_packages_are_no_news(model) -> None:
    assert compare(model, Recorded("3.12.1", HERE)) == Compared()
    assert unproved(model) == ()


def test_of_a_file_that_runs_no_code_another_version_is_told(model) -> None:
    found = compare(model, Recorded(packages={**HERE, "onnxruntime": "1.0.0+cpu"}))
    assert found.findings == ()
    (told,) = found.warnings
    assert told.column == "onnxruntime"
    assert told.message.startswith(f"onnxruntime is {HERE['onnxruntime']} here and was 1.0.0+cpu where it was made")
    assert "golden requests get the answers of training, which is what counts" in told.message


def test_how_a_package_was_built_does_not_matter_and_either_of_two_names_does(model) -> None:
    built = {"numpy": HERE["numpy"] + "+abc", "onnxruntime-gpu": HERE["onnxruntime"]}
    assert compare(model, Recorded(packages=built)) == Compared()


def test_of_an_original_each_package_in_its_file_counts(model) -> None:
    import sklearn

    schema = (
        '{"__module__": "sklearn.linear_model._base", "x": {"__module__": "numpy"}, "y": {"__module__": "builtins"}}'
    )
    one = original(model, schema)
    import skops

    same = {"scikit-learn": sklearn.__version__, "numpy": HERE["numpy"], "skops": skops.__version__}
    assert compare(one, Recorded(packages=same | {"onnxruntime": "0.1"})) == Compared()
    found = compare(one, Recorded(packages=same | {"scikit-learn": "0.1", "numpy": "0.2"}))
    assert [told.column for told in found.findings] == ["numpy", "scikit-learn"]
    assert f"numpy is {HERE['numpy']} here and was 0.2" in found.findings[0].message
    assert "so only the same version may run it" in found.findings[1].message
    assert [told.message for told in compare(one, Recorded(packages=same | {"skops": "0.3"})).findings]
    unknown = compare(one, None)
    assert unknown.findings == ()
    assert (
        "Nothing records which packages it was made with, so skops, numpy, scikit-learn" in unknown.warnings[0].message
    )
    del same["numpy"]
    assert "Nothing records which numpy" in compare(one, Recorded(packages=same)).warnings[0].message


@pytest.mark.parametrize("data", [b"no archive", b""])
def test_an_original_that_is_no_archive_is_corrupt(model, data) -> None:
    model.engine = Engine()
    model.parts = model.parts._replace(read=lambda _: data)
    with pytest.raises(Corrupt, match="no skops file"):
        compare(model, None)


def test_the_record_of_an_environment_is_read_or_it_is_said_what_is_wrong(shop) -> None:
    objects = shop.store.objects
    assert read_recorded(objects, "") is None
    kept = objects.put(msgspec.json.encode({"python": "3.12.1", "packages": {"numpy": "2.0"}, "cores": 2}))
    assert read_recorded(objects, kept) == Recorded("3.12.1", {"numpy": "2.0"})
    with pytest.raises(Corrupt, match="no record of an environment"):
        read_recorded(objects, objects.put(b"[1]"))
    with pytest.raises(NotFound):
        read_recorded(objects, "0" * 64)


@pytest.mark.parametrize(
    ("source", "rows", "says"),
    [
        ("example", [{"a": 1}], "it answers the 1 row of the example beside it"),
        ("zeros", [{"a": 0}], "it answers a row of zeros"),
        ("", [], "it was asked nothing"),
    ],
)
def test_what_no_golden_request_proves_is_said(model, source, rows, says) -> None:
    model.parts = model.parts._replace(source=source)
    model.golden = Golden(rows, [0.0] * len(rows), 0.0)
    model.bundle = msgspec.structs.replace(model.bundle, agreement=Agreement(0, 0.0, 1.0, 0))
    (told,) = unproved(model)
    assert says in told.message
    assert "nobody can say" in told.message
    assert "agreed" not in told.message
    model.bundle = msgspec.structs.replace(model.bundle, agreement=Agreement(1200, 0.0, 1.0, 0))
    assert "agreed with the original on 1,200 rows" in unproved(model)[0].message

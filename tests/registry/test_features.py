"""The columns that a model takes, as its files say; nothing else of these files is believed or run."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.errors import Invalid
from interlock.registry.features import LONGEST_NAME, MOST, features_of
from interlock.registry.flavors.skops_file import to_skops
from interlock.registry.records import Feature
from interlock.registry.service import RegistryService
from interlock.store import Store
from interlock.store.manifests import Entry, put_entries, read_manifest

FILES = Path(__file__).parent / "files"
# As MLflow 3.17 writes it: the JSON of the signature folded by PyYAML, quotes doubled.
MLMODEL = """flavors:
  python_function:
    loader_module: mlflow.sklearn
  sklearn:
    code: null
saved_input_example_info:
  artifact_path: input_example.json
  inputs: '[{"name": "elsewhere"}]'
signature:
  inputs: '[{"type": "double", "name": "AGEP", "required": true}, {"type": "long",
    "name": "it''s: \\"odd\\"", "required": true}, {"type": "long", "name": "S", "required":
    true}]'
  outputs: '[{"type": "long", "required": true}]'
  params: null
type_hint_from_example: false
"""


def names(registry, make, manifest, **files: bytes) -> list[str]:
    return [feature.name for feature in registry.features(make(bundle=manifest(**files)).ref)]


def test_a_bundle_says_what_it_takes(registry, register) -> None:
    assert registry.features(register().ref) == [Feature("age", "integer"), Feature("income", "float")]


def test_a_signature_of_mlflow_is_read(registry, make, manifest) -> None:
    version = make(bundle=manifest(MLmodel=MLMODEL.encode()))
    assert registry.features(version.ref) == [
        Feature("AGEP", "double"),
        Feature('it\'s: "odd"', "long"),
        Feature("S", "long"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        'signature:\n  inputs: \'[{"type": "tensor", "tensor-spec": {"dtype": "float64"}}]\'\n',
        "signature: null\n",
        "signature:\n  inputs: !!python/object/apply:os.system ['touch pwned']\n",
        "signature:\n  inputs: &a ['x']\n",
        "signature:\n  inputs: '[{\"name\": 3}]'\n",
        "signature:\n  inputs: '" + "[" * 100_000 + "'\n",
        "signature:\n  inputs: 'never ends",
        'other:\n  inputs: \'[{"name": "x"}]\'\n',
        "\udcff".encode("utf-8", "surrogateescape").decode("latin-1"),
    ],
)
def test_what_is_no_signature_names_nothing(registry, make, manifest, text: str) -> None:
    assert names(registry, make, manifest, MLmodel=text.encode()) == []


@given(st.binary(max_size=300))
def test_whatever_mlmodel_holds_it_is_read_as_nothing_more(data: bytes) -> None:
    from interlock.core.mlmodel import mlmodel_inputs

    for text in (data, b"signature:\n  inputs: '" + data + b"'\n"):
        assert all(isinstance(name, str) for name, _ in mlmodel_inputs(text))


def test_a_model_without_a_signature_says_it_itself(registry, make, manifest) -> None:
    from sklearn.linear_model import LogisticRegression

    lightgbm = (FILES / "lightgbm.txt").read_bytes()
    unnamed = names(registry, make, manifest, model__txt=lightgbm)
    named = lightgbm.replace(b"feature_names=", b"feature_names=", 1)
    assert all(not name.startswith("Column_") for name in unnamed)
    header = next(line for line in named.split(b"\n") if line.startswith(b"feature_names="))
    count = len(header.split(b" "))
    renamed = named.replace(header, b"feature_names=" + b" ".join(b"f%d" % n for n in range(count)), 1)
    assert names(registry, make, manifest, model__txt=renamed) == [f"f{n}" for n in range(count)]
    import polars as pl

    frame = pl.DataFrame({"AGEP": [1.0, 2.0, 3.0, 4.0], "WAGP": [4.0, 3.0, 2.0, 1.0]})
    fitted = LogisticRegression().fit(frame, [0, 0, 1, 1])
    assert names(registry, make, manifest, model__skops=to_skops(fitted)) == ["AGEP", "WAGP"]
    booster = msgspec.json.decode((FILES / "xgboost.json").read_bytes())
    booster["learner"]["feature_names"] = ["one", "two", 3]
    assert names(registry, make, manifest, model__json=msgspec.json.encode(booster)) == ["one", "two"]


def test_our_signature_comes_before_the_models_own_names(registry, make, manifest) -> None:
    signature = msgspec.json.encode({"inputs": [{"name": "asked", "type": "float"}], "outputs": []})
    files = {"signature__json": signature, "MLmodel": MLMODEL.encode()}
    assert names(registry, make, manifest, **files) == ["asked"]
    assert names(registry, make, manifest, signature__json=b"{", MLmodel=MLMODEL.encode())[0] == "AGEP"


def test_what_is_too_long_to_be_a_record_is_not_read(store: Store, make, monkeypatch, tmp_path: Path) -> None:
    """Manifests, bundles and signatures are records; files of a gigabyte under their names are not read into memory."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(65 << 20)
    large = store.objects.put(tmp_path / "large")
    read = []
    monkeypatch.setattr(store.objects, "get", read.append)
    with pytest.raises(Invalid, match="too large for a manifest"):
        make(bundle=large)
    monkeypatch.undo()
    for path in ("bundle.json", "signature.json", "MLmodel", "twin.json"):
        bundle = put_entries(store.objects, [Entry(path, 1, large)])  # it may lie about the size
        get = store.objects.get
        monkeypatch.setattr(store.objects, "get", lambda digest, get=get: read.append(digest) or get(digest))
        version = make(bundle=bundle)
        assert version.format == "opaque"
        if path == "twin.json":
            assert RegistryService(store).twin(version.ref).verdict == "none"
        monkeypatch.undo()
    assert large not in read


def test_names_are_kept_within_bounds_and_once(store: Store, manifest) -> None:
    listed = [{"name": name} for name in ("", "a", "x" * (LONGEST_NAME + 1), "a", *map(str, range(MOST + 5)))]
    found = read_manifest(store.objects, manifest(signature__json=msgspec.json.encode({"inputs": listed})))
    features = features_of(store.objects, found, None, ())
    assert len(features) == MOST
    assert [feature.name for feature in features[:2]] == ["a", "0"]

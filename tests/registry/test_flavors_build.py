"""Bundles: everything is in the folder, both forms agree, and what disagrees is not kept."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from interlock.core.bundles import Bundle, Column, Golden, Range
from interlock.core.errors import Invalid, NotFound
from interlock.registry.flavors.build import GOLDEN_ROWS, build_bundle
from interlock.registry.flavors.scoring import score_frame
from interlock.registry.flavors.twins import RECORD_FILE, Twin


def make(rows: int = 300, seed: int = 0) -> pl.DataFrame:
    """Return rows with an id, a sensitive column, mixed inputs and a target."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 70, rows)
    job = rng.choice(["a", "b", "c"], rows)
    target = (age + 10 * (job == "a") + rng.normal(0, 8, rows) > 45).astype(np.int8)
    frame = pl.DataFrame({"person": np.arange(rows), "sex": rng.integers(1, 3, rows), "age": age, "job": job})
    return frame.with_columns(pl.col("job").cast(pl.Categorical), works=target)


def fitted(frame: pl.DataFrame):
    """Return a pipeline fitted on the inputs of rows."""
    columns = make_column_transformer((OneHotEncoder(), ["job"]), (StandardScaler(), ["age"]))
    return make_pipeline(columns, LogisticRegression()).fit(frame.select("age", "job"), frame["works"].to_numpy())


def build(folder: Path, train: pl.DataFrame | None = None, estimator=None) -> Bundle:
    """Return the bundle of a pipeline."""
    train = make() if train is None else train
    inputs, estimator = train.select("age", "job"), estimator or fitted(train)
    return build_bundle(estimator, inputs=inputs, target="works", evaluation=make(seed=1), folder=folder)


def test_everything_is_in_the_folder(tmp_path) -> None:
    bundle = build(tmp_path / "new")
    assert bundle.flavor == "sklearn"
    assert bundle.inputs == (Column("age", "integer", nulls=False), Column("job", "string", nulls=False))
    assert bundle.layout == "columns"
    assert bundle.classes == (0, 1)
    written = {path.name for path in (tmp_path / "new").iterdir()}
    assert written == {"bundle.json", *bundle.files.values()}
    assert set(bundle.files) == {"serving", "original", "golden", "evaluation", "twin"}
    assert msgspec.json.decode((tmp_path / "new" / "bundle.json").read_bytes(), type=Bundle) == bundle
    assert pl.read_parquet(tmp_path / "new" / "evaluation.parquet").equals(make(seed=1))


def test_agreement_covers_evaluation_and_training_rows(tmp_path) -> None:
    bundle = build(tmp_path, train=make(5001))
    assert bundle.agreement.rows == 300 + 2000
    twin = msgspec.json.decode((tmp_path / RECORD_FILE).read_bytes(), type=Twin)
    assert (twin.verdict, twin.rows, twin.compared) == ("agrees", 2300, {"evaluation": 300, "training": 2000})
    assert 0 < bundle.agreement.max_difference < 1e-6
    assert bundle.agreement.tolerance == 1e-4


def test_golden_requests_are_the_originals_answers(tmp_path) -> None:
    bundle = build(tmp_path)
    golden = msgspec.json.decode((tmp_path / "golden.json").read_bytes(), type=Golden)
    assert len(golden.rows) == len(golden.scores) == GOLDEN_ROWS
    frame = pl.DataFrame(golden.rows)
    np.testing.assert_array_equal(golden.scores, fitted(make()).predict_proba(frame)[:, 1])
    assert golden.scores == sorted(golden.scores)
    every = fitted(make()).predict_proba(make(seed=1))[:, 1]
    assert (golden.scores[0], golden.scores[-1]) == (every.min(), every.max())
    served = score_frame(bundle, (tmp_path / "model.onnx").read_bytes(), frame)
    np.testing.assert_allclose(served, golden.scores, atol=golden.tolerance)


def test_golden_requests_lack_nothing_that_serving_wants(tmp_path) -> None:
    evaluation = make(seed=1).with_columns(age=pl.when(pl.int_range(pl.len()) > 3).then("age").otherwise(30))
    holes = evaluation.with_columns(job=pl.when(pl.int_range(pl.len()) % 2 == 0).then("job"))
    train = make().with_columns(job=pl.col("job").cast(pl.String))
    estimator = make_pipeline(make_column_transformer((StandardScaler(), ["age"])), LogisticRegression())
    estimator.fit(train.select("age", "job"), train["works"].to_numpy())
    build_bundle(estimator, inputs=train.select("age", "job"), target="works", evaluation=holes, folder=tmp_path)
    golden = msgspec.json.decode((tmp_path / "golden.json").read_bytes(), type=Golden)
    assert len(golden.rows) == GOLDEN_ROWS
    assert None not in [row["job"] for row in golden.rows]
    nothing = evaluation.with_columns(job=pl.lit(None, pl.String))
    with pytest.raises(Invalid, match="Every evaluation row lacks a text"):
        build_bundle(estimator, inputs=train.select("age", "job"), target="works", evaluation=nothing, folder=tmp_path)


def digests(folder: Path) -> dict[str, str]:
    """Return the digest of each file."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_the_same_estimator_has_the_same_bytes(tmp_path) -> None:
    build(tmp_path / "one")
    build(tmp_path / "two")
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    build(tmp_path / "other", train=make(seed=9))
    assert digests(tmp_path / "one")["model.onnx"] != digests(tmp_path / "other")["model.onnx"]


@pytest.mark.slow
def test_another_process_writes_the_same_bytes(tmp_path) -> None:
    estimator = fitted(make())
    build(tmp_path / "here", estimator=estimator)
    (tmp_path / "estimator").write_bytes(pickle.dumps(estimator))
    code = (
        "import importlib.util, pathlib, pickle, sys;"
        "spec = importlib.util.spec_from_file_location('again', sys.argv[1]);"
        "again = importlib.util.module_from_spec(spec); spec.loader.exec_module(again);"
        "folder = pathlib.Path(sys.argv[2]);"
        "again.build(folder / 'there', estimator=pickle.loads((folder / 'estimator').read_bytes()))"
    )
    source = str(Path(__file__).parents[2] / "src")
    command = [sys.executable, "-c", code, __file__, str(tmp_path)]
    subprocess.run(command, check=True, env={"PYTHONHASHSEED": "7", "PYTHONPATH": source})
    assert digests(tmp_path / "there") == digests(tmp_path / "here")


def test_a_form_that_disagrees_is_not_kept(tmp_path) -> None:
    # A scaler calculates in 64 bits and ONNX in 32, so rows at a threshold take the other branch.
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(rng.normal(size=(4000, 4)), schema=list("abcd"))
    frame = frame.with_columns(y=(pl.col("a") * pl.col("b") + rng.normal(size=4000) > 0).cast(pl.Int8))
    inputs = frame.select("a", "b", "c", "d")
    estimator = make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=30, random_state=0))
    with threadpool_limits(1):
        estimator.fit(inputs, frame["y"].to_numpy())
        with pytest.raises(Invalid, match=r"ONNX form disagrees with the original. \d+ of 4000 evaluation") as caught:
            build_bundle(estimator, inputs=inputs, target="y", evaluation=frame, folder=tmp_path)
        original = estimator.predict_proba(inputs)[:, 1]
    places = [finding.message.split()[3] for finding in caught.value.findings]
    assert places == ["evaluation", "training"]
    first = caught.value.findings[0]
    assert first.count >= len(first.rows) > 0
    assert f"row {first.rows[0]}: {original[first.rows[0]]:.6f} in the original" in first.message
    assert "Float32" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["names", "values"])
def test_other_targets_than_two_classes(tmp_path, kind) -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(rng.normal(size=(300, 2)).astype(np.float32), schema=["a", "b"])
    total = frame.to_numpy().sum(axis=1).astype(float) * 1000
    truth = total if kind == "values" else np.array(["low", "mid", "top"])[np.digitize(total, [-500, 500])]
    frame = frame.with_columns(y=pl.Series(truth))
    inputs = frame.select("a", "b")
    estimator = (Ridge() if kind == "values" else LogisticRegression()).fit(inputs, truth)
    bundle = build_bundle(estimator, inputs=inputs, target="y", evaluation=frame, folder=tmp_path)
    golden = msgspec.json.decode((tmp_path / "golden.json").read_bytes(), type=Golden)
    twin = msgspec.json.decode((tmp_path / RECORD_FILE).read_bytes(), type=Twin)
    assert (twin.verdict, twin.rows, twin.classes, twin.inputs) == ("agrees", 600, bundle.classes, bundle.inputs)
    assert bundle.engines["linear"].rows == 600
    assert bundle.engines["linear"].max_difference < 1e-9
    rows = pl.DataFrame(golden.rows)
    if kind == "values":
        assert (bundle.task, bundle.classes) == ("regression", ())
        np.testing.assert_allclose(golden.scores, estimator.predict(rows))
        assert golden.tolerance == pytest.approx(1e-4 * total.std(), rel=0.1)
        wrong = frame.with_columns(y=pl.lit("text"))
    else:
        assert (bundle.task, bundle.classes) == ("classification", ("low", "mid", "top"))
        np.testing.assert_allclose(golden.scores, estimator.predict_proba(rows).max(axis=1))
        wrong = frame.with_columns(y=pl.lit("else"))
    with pytest.raises(Invalid, match="300 evaluation rows have no label"):
        build_bundle(estimator, inputs=inputs, target="y", evaluation=wrong, folder=tmp_path / "wrong")
    kinds = "a regression" if kind == "values" else "a model of 3 classes"
    with pytest.raises(Invalid, match=f"This is {kinds}; what is asked for"):
        score_frame(bundle, (tmp_path / "model.onnx").read_bytes(), inputs)


def test_values_that_disagree_are_measured_by_their_spread(tmp_path) -> None:
    # On top of a large constant, 32-bit floats are coarse against what the values differ by.
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(rng.normal(size=(400, 2)), schema=["a", "b"])
    frame = frame.with_columns(y=pl.col("a") + 1e6)
    inputs = frame.select("a", "b")
    estimator = RandomForestRegressor(3, random_state=0).fit(inputs, frame["y"].to_numpy())
    with pytest.raises(Invalid, match="evaluation rows differ by more than"):
        build_bundle(estimator, inputs=inputs, target="y", evaluation=frame, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_ties_that_fall_the_other_way_are_counted_apart(tmp_path) -> None:
    # Twenty-two trees vote 11:11 on many rows; in 32 bits the sum of these votes is a last digit above a half.
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(rng.normal(size=(3000, 3)).astype(np.float32), schema=list("abc"))
    frame = frame.with_columns(y=pl.Series(rng.integers(0, 2, 3000)))
    inputs = frame.select("a", "b", "c")
    estimator = RandomForestClassifier(22, random_state=0).fit(inputs.head(1000), frame["y"].head(1000).to_numpy())
    bundle = build_bundle(estimator, inputs=inputs.head(1000), target="y", evaluation=frame.tail(2000), folder=tmp_path)
    served = score_frame(bundle, (tmp_path / "model.onnx").read_bytes(), inputs)
    original = estimator.predict_proba(inputs)[:, 1]
    assert bundle.agreement.max_difference < 1e-6
    assert bundle.agreement.label_flips == ((served > 0.5) != (original > 0.5)).sum() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": make().select("age", "job", "works")}, "target 'works' is among the inputs"),
        ({"inputs": make().select()}, "inputs have no columns"),
        ({"evaluation": make().head(0)}, "evaluation has no rows"),
        ({"evaluation": make().drop("works")}, "lack the target"),
        ({"evaluation": make().drop("age")}, "lacks 1 of the model's 2 inputs: age"),
        ({"evaluation": make().with_columns(works=pl.lit(None))}, "300 evaluation rows have no label"),
        ({"evaluation": make().with_columns(works=pl.lit(2))}, "300 evaluation rows have no label"),
    ],
)
def test_frames_that_do_not_fit_are_refused(change, message: str, tmp_path) -> None:
    train = make()
    parts = {"inputs": train.select("age", "job"), "target": "works", "evaluation": make(seed=1)} | change
    with pytest.raises(Invalid, match=message):
        build_bundle(fitted(train), folder=tmp_path, **parts)


def test_an_estimator_that_no_flavor_knows(tmp_path) -> None:
    with pytest.raises(NotFound, match=r"no flavor .builtins\.dict.") as caught:
        build_bundle({}, inputs=make().select("age"), target="works", evaluation=make(), folder=tmp_path)
    assert "Flavors here: lightgbm, sklearn, xgboost" in caught.value.hint
    assert "interlock.flavor" in caught.value.hint


def test_a_flavor_of_somebody_else_comes_through_the_same_door(tmp_path, monkeypatch) -> None:
    package = tmp_path / "packages"
    (package / "theirs-1.dist-info").mkdir(parents=True)
    (package / "theirs-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (package / "theirs-1.dist-info" / "entry_points.txt").write_text("[interlock.flavor]\ntheirs = theirs:FLAVOR\n")
    (package / "theirs.py").write_text(
        "from interlock.registry.flavors.sklearn import Sklearn\n"
        "class Wrapped:\n"
        "    def __init__(self, inner): self.inner, self.feature_names_in_ = inner, inner.feature_names_in_\n"
        "    def predict_proba(self, rows): return self.inner.predict_proba(rows)\n"
        "class Theirs:\n"
        "    name = 'theirs'\n"
        "    def recognise(self, estimator): return isinstance(estimator, Wrapped)\n"
        "    def save(self, estimator, sample, folder): return Sklearn().save(estimator.inner, sample, folder)\n"
        "FLAVOR = Theirs()\n"
    )
    monkeypatch.syspath_prepend(package)
    import theirs

    train = make()
    bundle = build_bundle(
        theirs.Wrapped(LogisticRegression().fit(train.select("age"), train["works"].to_numpy())),
        inputs=train.select("age"),
        target="works",
        evaluation=train,
        folder=tmp_path / "bundle",
    )
    assert bundle.flavor == "theirs"
    assert bundle.agreement.rows == 600


def test_what_training_saw_stands_in_the_record(tmp_path: Path) -> None:
    train = make()
    bundle = build(tmp_path, train)
    ages = train["age"].to_numpy()
    assert bundle.ranges == {
        "age": Range(float(ages.min()), float(ages.max())),
        "job": Range(categories=("a", "b", "c")),
    }
    assert bundle.answers is None
    assert msgspec.json.decode((tmp_path / "bundle.json").read_bytes(), type=Bundle) == bundle


def test_a_regression_records_the_values_that_were_seen(tmp_path: Path) -> None:
    train, held = (make(seed=seed).with_columns(pl.col("age").cast(pl.Float32)) for seed in (0, 1))
    estimator = Ridge().fit(train.select("age"), train["person"].to_numpy())
    bundle = build_bundle(
        estimator, inputs=train.select("age"), target="person", evaluation=held.select("age", "person"), folder=tmp_path
    )
    assert bundle.answers is not None
    assert (bundle.answers.lowest, bundle.answers.highest) == (0.0, 299.0)  # the targets reach further than the answers

"""Evidence: scored and labelled as the model serves."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from interlock.audit.evidence import gather, labels_of, rows_text
from interlock.core.bundles import Agreement, Bundle
from interlock.core.errors import Invalid
from interlock.registry.flavors.frames import columns_of
from interlock.registry.flavors.onnx_file import to_onnx

FRAME = pl.DataFrame({"a": np.linspace(-1, 1, 50), "b": np.tile([0.0, 1.0], 25)})
ROWS = FRAME.with_columns(y=pl.when(pl.col("a") > 0).then(2).otherwise(1))
ESTIMATOR = LogisticRegression().fit(FRAME, ROWS["y"].to_numpy())
BUNDLE = Bundle("sklearn", "classification", columns_of(FRAME), "y", (1, 2), {}, Agreement(1, 0.0, 1e-4, 0), "matrix")
SERVING = to_onnx(ESTIMATOR, BUNDLE.inputs, "matrix")


def test_gathers_scores_and_labels_of_both_sets() -> None:
    evidence = gather(BUNDLE, SERVING, ROWS, training=ROWS.head(9), data=("data:people@1",), preflight={"ok": True})
    np.testing.assert_allclose(evidence.scores, ESTIMATOR.predict_proba(FRAME)[:, 1], atol=1e-6)
    assert evidence.labels.tolist() == [0] * 25 + [1] * 25
    np.testing.assert_array_equal(evidence.training_scores, evidence.scores[:9])
    assert (evidence.data, evidence.preflight) == (("data:people@1",), {"ok": True})
    assert gather(BUNDLE, SERVING, ROWS).training_scores is None


@pytest.mark.parametrize("value", [None, 0, 3, float("nan")])
def test_a_row_without_a_label_of_the_model_is_refused(value) -> None:
    rows = ROWS.with_columns(y=pl.when(pl.col("a") > 0.9).then(value).otherwise("y"))
    with pytest.raises(Invalid, match="3 of 50 rows have no label of the model in 'y'"):
        labels_of(BUNDLE, rows)


def test_labels_are_read_from_any_type() -> None:
    for kind in (pl.Int8, pl.Float32, pl.String):
        assert labels_of(BUNDLE, ROWS.with_columns(pl.col("y").cast(kind))).sum() == 25
    with pytest.raises(Invalid, match="lack the target 'y'"):
        labels_of(BUNDLE, FRAME)


def test_a_row_without_a_score_is_refused() -> None:
    holes = ROWS.with_columns(a=pl.when(pl.col("a") < 0.9).then("a"))
    with pytest.raises(Invalid, match="gives 3 of 50 evaluation rows no score"):
        gather(BUNDLE, SERVING, holes)


@pytest.mark.parametrize("classes", [(10, 20, 30), ("high", "low", "mid"), ("no", "yes")])
def test_classes_of_any_name_and_number(classes) -> None:
    places = np.arange(50) % len(classes)
    rows = FRAME.with_columns(y=pl.Series([classes[i] for i in places]))
    estimator = LogisticRegression().fit(FRAME, rows["y"].to_numpy())
    bundle = msgspec.structs.replace(BUNDLE, classes=classes)
    evidence = gather(bundle, to_onnx(estimator, bundle.inputs, "matrix"), rows, training=rows.head(9))
    assert evidence.truth.tolist() == places.tolist()
    np.testing.assert_allclose(evidence.table, estimator.predict_proba(FRAME), atol=1e-6)
    two = len(classes) == 2
    assert (evidence.scores.size, evidence.labels.size) == ((50, 50) if two else (0, 0)), "nobody takes them for two"
    assert (evidence.training_scores is not None) is two
    with pytest.raises(Invalid, match="1 of 50 rows have no label of the model"):
        gather(bundle, SERVING, rows.with_columns(y=pl.when(pl.int_range(50) > 0).then("y")))


def test_values() -> None:
    rows = FRAME.with_columns(y=pl.col("a") * 3)
    estimator = LinearRegression().fit(FRAME, rows["y"].to_numpy())
    bundle = msgspec.structs.replace(BUNDLE, task="regression", classes=())
    serving = to_onnx(estimator, bundle.inputs, "matrix")
    evidence = gather(bundle, serving, rows)
    np.testing.assert_allclose(evidence.truth, rows["y"])
    np.testing.assert_allclose(evidence.table[:, 0], rows["y"], atol=1e-5)
    with pytest.raises(Invalid, match="2 of 50 rows have no finite number in 'y'"):
        gather(bundle, serving, rows.with_columns(y=pl.when(pl.int_range(50) > 1).then("y").otherwise(float("inf"))))


def test_no_rows_are_refused() -> None:
    with pytest.raises(Invalid, match="No row"):
        gather(BUNDLE, SERVING, ROWS.head(0))


def test_rows_are_counted_as_people_read_them() -> None:
    assert [rows_text(1), rows_text(12_345)] == ["1 row", "12,345 rows"]

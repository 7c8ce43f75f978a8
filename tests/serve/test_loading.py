"""Which engine a bundle gets, and that each gives the original's answers."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, Ridge, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from interlock.core.bundles import Agreement, Bundle
from interlock.core.errors import Corrupt, Denied
from interlock.registry.flavors import build_bundle
from interlock.serve import loading
from interlock.serve.golden import check_golden
from interlock.serve.model import LoadedModel
from interlock.serve.preflight import preflight
from interlock.store.manifests import put_folder, read_manifest

DRAW = np.random.default_rng(5)
FRAME = pl.DataFrame(DRAW.normal(size=(240, 3)).astype(np.float32), schema=["a", "b", "c"])
SUM = FRAME.to_numpy().sum(axis=1).astype(float)
TWO = (SUM > 0).astype(int)
THREE = np.digitize(SUM, [-1, 1])
NAMED = np.array(["low", "mid", "top"])[THREE]
YES = np.where(TWO, "yes", "no")


@pytest.fixture
def kept(shop, tmp_path):
    """Return what builds, keeps and loads a model."""

    def keep(model, truth, **options) -> LoadedModel:
        folder = tmp_path / "bundle"
        build_bundle(
            model,
            inputs=FRAME,
            target="y",
            evaluation=FRAME.head(60).with_columns(y=pl.Series(truth[:60])),
            folder=folder,
        )
        for change in options.pop("changes", ()):
            change(folder)
        return LoadedModel.load(shop.store.objects, put_folder(shop.store.objects, folder), **options)

    return keep


def columns() -> dict[str, list[float]]:
    return {name: FRAME[name].to_list() for name in FRAME.columns}


@pytest.mark.parametrize(
    ("model", "truth", "engine"),
    [
        (LogisticRegression(), TWO, "linear"),
        (LogisticRegression(), NAMED, "linear"),
        (LogisticRegression(), YES, "linear"),
        (make_pipeline(StandardScaler(), MinMaxScaler(), LogisticRegression()), TWO, "linear"),
        (SGDClassifier(loss="log_loss", random_state=0), THREE, "linear"),
        (make_pipeline(StandardScaler(), Ridge()), SUM, "linear"),
        (PoissonRegressor(), np.abs(SUM), "linear"),
        (RandomForestClassifier(5, random_state=0), TWO, "onnx"),
        (RandomForestClassifier(5, random_state=0), NAMED, "onnx"),
        (HistGradientBoostingClassifier(max_iter=3), THREE, "onnx"),
        (RandomForestRegressor(5, random_state=0), SUM * 1000, "onnx"),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else "",
)
def test_models_of_scikit_learn_answer_as_the_original(kept, model, truth, engine) -> None:
    found = kept(model.fit(FRAME, truth), truth)
    assert found.engine.name == engine
    assert check_golden(found, found.golden) == []
    scores = found.run(found.prepare(columns()))
    if found.bundle.task == "regression":
        assert scores.labels == [None] * len(truth)
        assert scores.codes == [0] * len(truth)
        np.testing.assert_allclose(scores.scores, model.predict(FRAME), rtol=1e-4)
        return
    table = model.predict_proba(FRAME)
    assert scores.labels == model.predict(FRAME).tolist()
    assert scores.codes == table.argmax(axis=1).tolist()
    np.testing.assert_allclose(scores.probabilities, table, atol=1e-5)
    wanted = table[:, 1] if table.shape[1] == 2 else table.max(axis=1)
    np.testing.assert_allclose(scores.scores, wanted, atol=1e-5)
    few = found.run(found.prepare({name: values[:2] for name, values in columns().items()}))
    np.testing.assert_allclose(few.scores, wanted[:2], atol=1e-5)
    assert few.labels == scores.labels[:2]


def boosters():
    import lightgbm
    import xgboost

    for truth in (TWO, THREE):
        yield xgboost.XGBClassifier(n_estimators=4, n_jobs=1), truth
        yield lightgbm.LGBMClassifier(n_estimators=4, n_jobs=1, verbose=-1), truth
    yield xgboost.XGBRegressor(n_estimators=4, n_jobs=1), SUM
    yield lightgbm.LGBMRegressor(n_estimators=4, n_jobs=1, verbose=-1), SUM


@pytest.mark.parametrize(("model", "truth"), list(boosters()), ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("slow", [False, True])
def test_a_booster_answers_itself_where_it_is_faster(kept, model, truth, slow, monkeypatch) -> None:
    library = type(model).__module__.partition(".")[0]
    if slow:  # as a graph of thousands of trees would be
        monkeypatch.setattr(loading, "seconds", lambda _, __, engine, rows=None: 1.0 if engine.name == "onnx" else 0.1)
    found = kept(model.fit(FRAME.to_numpy(), truth), truth)
    assert found.engine.name == (library if slow else "onnx")
    assert dict(found.parts.timed).keys() == ({"onnx", library} if slow else {"onnx"})
    assert found.bundle.engines["booster"].max_difference <= 1e-6
    assert check_golden(found, found.golden) == []
    scores = found.run(found.prepare(columns())).scores
    if found.bundle.task == "regression":
        np.testing.assert_allclose(scores, model.predict(FRAME.to_numpy()), rtol=1e-4, atol=1e-4)
    else:
        table = model.predict_proba(FRAME.to_numpy())
        wanted = table[:, 1] if table.shape[1] == 2 else table.max(axis=1)
        np.testing.assert_allclose(scores, wanted, atol=1e-5)


def test_a_booster_of_a_bundle_from_anywhere_is_tried_in_another_process_first(shop, kept, monkeypatch) -> None:
    import lightgbm

    def refuse(_):
        raise Corrupt("It dies of this file.")

    monkeypatch.setattr(loading, "seconds", lambda _, __, engine, rows=None: 1.0 if engine.name == "onnx" else 0.1)
    made = kept(lightgbm.LGBMRegressor(n_estimators=4, n_jobs=1, verbose=-1).fit(FRAME.to_numpy(), SUM), SUM)
    assert not made.parts.foreign
    found = LoadedModel.open(shop.store.objects, made.digest)
    assert (found.engine.name, found.parts.foreign) == ("lightgbm", True)
    monkeypatch.setattr(loading, "try_apart", refuse)
    with pytest.raises(Corrupt, match="It dies of this file"):
        LoadedModel.open(shop.store.objects, made.digest)


def test_coefficients_agree_far_closer_than_the_graph(kept) -> None:
    found = kept(LogisticRegression().fit(FRAME, TWO), TWO)
    assert found.bundle.engines["linear"].rows == found.bundle.agreement.rows == 300
    assert found.bundle.engines["linear"].max_difference < 1e-12 < found.bundle.agreement.max_difference


def record(change):
    """Return what changes a bundle's record in its folder."""

    def write(folder) -> None:
        path = folder / "bundle.json"
        path.write_bytes(msgspec.json.encode(change(msgspec.json.decode(path.read_bytes(), type=Bundle))))

    return write


@pytest.mark.parametrize("agreement", [None, Agreement(0, 0.0, 1e-4, 0), Agreement(9, 1e-3, 1e-4, 0)])
def test_coefficients_that_were_not_seen_to_agree_do_not_answer(kept, agreement) -> None:
    engines = {} if agreement is None else {"linear": agreement}
    model = LogisticRegression().fit(FRAME, TWO)
    change = record(lambda bundle: msgspec.structs.replace(bundle, engines=engines))
    assert kept(model, TWO, changes=[change]).engine.name == "onnx"


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b'{"columns":["a","b"],"coefficients":[[1,1]],"intercepts":[0],"link":"sigmoid"}',
        b'{"columns":["a","b","c"],"coefficients":[[1,1]],"intercepts":[0],"link":"sigmoid"}',
        b'{"columns":["a","b","c"],"coefficients":[[1,1,1]],"intercepts":[0],"link":"identity"}',
        b'{"columns":["a","b","c"],"coefficients":[[1,1,1e999]],"intercepts":[0],"link":"sigmoid"}',
    ],
)
def test_a_file_that_holds_no_coefficients_of_this_model_is_corrupt(kept, content) -> None:
    with pytest.raises(Corrupt):
        kept(
            LogisticRegression().fit(FRAME, TWO),
            TWO,
            changes=[lambda folder: (folder / "linear.json").write_bytes(content)],
        )


def without_graph(folder) -> None:
    """Leave a bundle its original only."""
    record(
        lambda b: msgspec.structs.replace(b, files={k: v for k, v in b.files.items() if k != "serving"}, engines={})
    )(folder)


def test_an_original_answers_only_where_the_policy_allows_it(kept) -> None:
    model = RandomForestClassifier(5, random_state=0).fit(FRAME, NAMED)
    with pytest.raises(Denied, match="does not allow originals"):
        kept(model, NAMED, changes=[without_graph])
    found = kept(model, NAMED, changes=[without_graph], code_models=True)
    try:
        assert found.engine.name == "worker"
        assert found.call_s >= 0.001  # it is never waited for inside the event loop
        assert check_golden(found, found.golden) == []
        scores = found.run(found.prepare(columns()))
        assert scores.labels == model.predict(FRAME).tolist()
        np.testing.assert_array_equal(scores.probabilities, model.predict_proba(FRAME))
    finally:
        found.close()


def test_preflight_takes_every_kind(shop, tmp_path) -> None:
    truth = pl.Series("y", SUM)
    model = LinearRegression().fit(FRAME, SUM)
    build_bundle(model, inputs=FRAME, target="y", evaluation=FRAME.with_columns(truth), folder=tmp_path / "bundle")
    found = preflight(shop.store.objects, put_folder(shop.store.objects, tmp_path / "bundle"))
    assert (found.ok, found.findings) == (True, [])


def test_the_graph_can_be_asked_for_and_rows_be_foretold(kept, monkeypatch) -> None:
    import xgboost

    monkeypatch.setattr(loading, "WORTH_A_LIBRARY_S", 0.0)
    asked = []
    monkeypatch.setattr(
        loading, "seconds", lambda _, golden, engine: asked.append((engine.name, len(golden.rows))) or 1
    )
    model = xgboost.XGBClassifier(n_estimators=2, n_jobs=1).fit(FRAME.to_numpy(), TWO)
    assert kept(model, TWO, graph=True).engine.name == "onnx"
    assert asked == []
    assert kept(model, TWO, rows=25).engine.name == "onnx"
    assert asked == [("onnx", 25), ("xgboost", 25)]
    assert kept(LogisticRegression().fit(FRAME, TWO), TWO, graph=True).engine.name == "onnx"


@pytest.mark.parametrize("role", ["serving", "linear"])
def test_each_form_of_a_bundle_is_checked_whichever_answers(store, bundle_folder, role):
    digest = put_folder(store.objects, bundle_folder)
    manifest = read_manifest(store.objects, digest)
    parts = loading.load_bundle(store.objects, digest)
    assert parts.engine.name == "linear"
    entry = manifest.find(parts.bundle.files[role])
    path = store.root / "objects" / entry.digest[:2] / entry.digest[2:]
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(Corrupt, match=entry.path):
        loading.load_bundle(store.objects, digest)

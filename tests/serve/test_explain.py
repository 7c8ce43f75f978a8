"""Explanations: they add up, and they are those of the reference implementations."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import polars as pl
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from interlock.core.bundles import Route
from interlock.core.errors import Denied, Invalid, MissingExtra, NotFound
from interlock.registry.flavors import build_bundle
from interlock.serve.app import status_of
from interlock.serve.engines.worker import RowsRefused, WorkerRunner
from interlock.serve.explain import explain, explanations, read_columns
from interlock.serve.http import Request
from interlock.serve.model import LoadedModel
from interlock.serve.revision import LiveRoute, Revision
from interlock.store.manifests import put_folder

DRAW = np.random.default_rng(9)
FRAME = pl.DataFrame(DRAW.normal(2, 1, size=(200, 3)).astype(np.float32), schema=["a", "b", "c"])
SUM = FRAME.to_numpy().sum(axis=1).astype(float)
TWO = (SUM > 6).astype(int)
NAMED = np.array(["low", "mid", "top"])[np.digitize(SUM, [5, 7])]
ROWS = FRAME.head(20)
COLUMNS = {name: ROWS[name].to_list() for name in ROWS.columns}


@pytest.fixture
def kept(shop, tmp_path):
    """Return what builds, keeps and loads a model."""

    def keep(model, truth, **options) -> LoadedModel:
        evaluation = FRAME.head(60).with_columns(y=pl.Series(truth[:60]))
        build_bundle(model, inputs=FRAME, target="y", evaluation=evaluation, folder=tmp_path / "bundle")
        return LoadedModel.load(shop.store.objects, put_folder(shop.store.objects, tmp_path / "bundle"), **options)

    return keep


def table(found) -> np.ndarray:
    """Return the shares of an explanation, (rows, columns)."""
    return np.array([[row.contributions[name] for name in "abc"] for row in found.rows])


def check_sums(found, raw, tolerance=1e-6) -> None:
    """Base and shares add up to what is said, and that is the raw answer."""
    sums = [row.base_value + sum(row.contributions.values()) for row in found.rows]
    np.testing.assert_allclose(sums, [row.raw for row in found.rows], atol=1e-9)
    np.testing.assert_allclose(sums, raw, rtol=tolerance, atol=tolerance)


def test_a_linear_models_shares_are_exact(kept) -> None:
    import shap

    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, TWO)
    found = explain(kept(model, TWO), COLUMNS)
    assert (found.method, found.scale, found.relative_to) == ("linear", "log-odds", "the mean of training rows")
    check_sums(found, model.decision_function(ROWS), 1e-9)
    plain = LogisticRegression().fit(FRAME.to_numpy(), TWO)
    reference = shap.LinearExplainer(plain, shap.maskers.Independent(FRAME.to_numpy(), max_samples=200))
    shares = table(explain(kept(plain, TWO), COLUMNS))
    np.testing.assert_allclose(shares, reference.shap_values(ROWS.to_numpy()), atol=1e-5)


@pytest.mark.parametrize(
    ("model", "truth", "scale", "raw"),
    [
        (Ridge(), SUM, "value", lambda m: m.predict(ROWS)),
        (PoissonRegressor(), SUM - SUM.min(), "log of the value", lambda m: np.log(m.predict(ROWS))),
        (LogisticRegression(), NAMED, "logit", lambda m: m.decision_function(ROWS).max(axis=1)),
    ],
    ids=["values", "logarithm", "three"],
)
def test_other_linear_models(kept, model, truth, scale, raw) -> None:
    found = explain(kept(model.fit(FRAME, truth), truth), COLUMNS)
    assert found.scale == scale
    check_sums(found, raw(model), 1e-9)


@pytest.mark.filterwarnings("ignore:LightGBM binary classifier with TreeExplainer")  # shap's own advice
@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
@pytest.mark.parametrize("truth", [TWO, SUM], ids=["classes", "values"])
def test_boosters_have_the_shares_that_shap_finds(kept, library, truth) -> None:
    import lightgbm
    import shap
    import xgboost

    kinds = {
        "xgboost": (xgboost.XGBClassifier, xgboost.XGBRegressor, {}),
        "lightgbm": (lightgbm.LGBMClassifier, lightgbm.LGBMRegressor, {"verbose": -1}),
    }[library]
    model = kinds[truth is SUM](n_estimators=8, max_depth=3, n_jobs=1, **kinds[2]).fit(FRAME.to_numpy(), truth)
    found = explain(kept(model, truth), COLUMNS)
    assert (found.method, found.scale) == ("TreeSHAP", "value" if truth is SUM else "log-odds")
    asks = {"xgboost": {"output_margin": True}, "lightgbm": {"raw_score": True}}[library]
    check_sums(found, model.predict(ROWS.to_numpy(), **asks), 1e-6 if library == "lightgbm" else 1e-5)
    inner = model.get_booster() if library == "xgboost" else model.booster_
    reference = np.asarray(shap.TreeExplainer(inner).shap_values(ROWS.to_numpy()))
    np.testing.assert_allclose(table(found), reference, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "truth", "scale", "raw"),
    [
        (RandomForestClassifier(5, random_state=0), TWO, "probability", lambda m: m.predict_proba(ROWS)[:, 1]),
        (RandomForestClassifier(5, random_state=0), NAMED, "probability", lambda m: m.predict_proba(ROWS).max(axis=1)),
        (RandomForestRegressor(5, random_state=0), SUM, "value", lambda m: m.predict(ROWS)),
        (GradientBoostingClassifier(n_estimators=5), TWO, "log-odds", lambda m: m.decision_function(ROWS)),
        (
            make_pipeline(StandardScaler(), RandomForestRegressor(5, max_depth=2, random_state=0)),
            SUM,
            "value",
            lambda m: m.predict(ROWS),
        ),
    ],
    ids=["forest", "three", "values", "boosting", "pipeline"],
)
def test_ensembles_of_scikit_learn_are_explained_by_their_originals(kept, model, truth, scale, raw) -> None:
    import shap

    loaded = kept(model.fit(FRAME, truth), truth, code_models=True)
    found = explain(loaded, COLUMNS)
    assert (found.method, found.scale) == ("TreeSHAP", scale)
    check_sums(found, raw(model))
    if not hasattr(model, "steps") and truth is not NAMED:
        reference = np.asarray(shap.TreeExplainer(model).shap_values(ROWS.to_numpy()))
        np.testing.assert_allclose(table(found), reference[..., 1] if reference.ndim == 3 else reference, atol=1e-9)


def test_originals_are_a_matter_of_policy(kept) -> None:
    model = kept(RandomForestClassifier(5, random_state=0).fit(FRAME, TWO), TWO)
    with pytest.raises(Denied, match="Only the original could tell why"):
        explain(model, COLUMNS)


def test_what_has_no_shares_says_so(kept, shop) -> None:
    with pytest.raises(Invalid, match="neither linear"):
        explain(
            LoadedModel.load(shop.store.objects, shop.bundle("people")), {"age": [1], "hours": [1.0], "income": [1.0]}
        )
    near = kept(GaussianNB().fit(FRAME, TWO), TWO)  # also where originals may not answer: nobody allows them in vain
    with pytest.raises(Invalid, match="nor an ensemble of trees"):
        explain(near, COLUMNS)


def test_means_of_example_rows_are_not_called_those_of_training(kept) -> None:
    model = kept(Ridge().fit(FRAME, SUM), SUM)
    model.parts = model.parts._replace(source="example")
    assert explain(model, COLUMNS).relative_to == "the mean of the example rows that were logged with the model"


def test_rows_are_checked_as_for_predictions(kept) -> None:
    model = kept(Ridge().fit(FRAME, SUM), SUM)
    with pytest.raises(Invalid, match="'b' is missing"):
        explain(model, {"a": [1.0], "c": [1.0]})
    with pytest.raises(Invalid, match="at most 100"):
        explain(model, {name: [1.0] * 101 for name in "abc"})


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_records": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]},
        {"instances": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]},
        {"inputs": {"a": [1, 3], "b": [2, 4]}},
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}},
    ],
)
def test_bodies_are_those_of_invocations(body) -> None:
    assert read_columns(json.dumps(body).encode()) == {"a": [1, 3], "b": [2, 4]}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"inputs": {}, "instances": []}',
        b'{"dataframe_split": {"columns": ["a"], "data": [[]]}}',
    ],
)
def test_other_bodies_are_refused(body) -> None:
    with pytest.raises(Invalid):
        read_columns(body)


class Asked:
    """What `POST /explain` needs of the engine between protocols and models."""

    def __init__(self, model, *further) -> None:
        routes = [Route(f"model:m@{3 + place}", one.digest, 1.0) for place, one in enumerate((model, *further))]
        live = [LiveRoute(route, one) for route, one in zip(routes, (model, *further), strict=True)]
        self.revision = Revision("shop", 1, "", live)
        self.answering = 0
        self.hands = self
        self.seen = []

    def current(self) -> Revision:
        return self.revision

    def find(self, _):
        return self

    def named(self, name):
        return self, self.revision, self.revision.view(name)

    async def apart(self, function):
        self.seen.append(self.answering)
        return function()


def ask(model, body: bytes, query: bytes = b""):
    """Return the answer to a request."""
    (endpoint,) = explanations(Asked(model))
    assert (endpoint.method, endpoint.path, endpoint.predicts) == ("POST", "/explain", True)
    scope = {"method": "POST", "path": "/explain", "headers": [], "query_string": query}
    request = Request(scope, "request-1")
    request.body = body
    return asyncio.run(endpoint.handler(request))


def test_a_row_is_explained_over_http(kept) -> None:
    model = kept(Ridge().fit(FRAME, SUM), SUM)
    response = ask(model, b'{"inputs": {"a": [1.0], "b": [2.0], "c": [3.0]}}')
    assert (response.status, response.model) == (200, "model:m@3")
    said = json.loads(response.body)
    assert (said["model"], said["target"]) == ("model:m@3", "y")
    (row,) = said["explanation"]["rows"]
    assert row["base_value"] + sum(row["contributions"].values()) == pytest.approx(row["score"])
    assert row["label"] is None
    with pytest.raises(Invalid, match="are missing"):
        ask(model, b'{"inputs": {"a": [1.0]}}')


def test_a_query_picks_the_model(kept) -> None:
    model = kept(Ridge().fit(FRAME, SUM), SUM)
    body = b'{"inputs": {"a": [1.0], "b": [2.0], "c": [3.0]}}'
    assert ask(model, body, b"model=m").status == 200
    with pytest.raises(NotFound, match="'other'"):
        ask(model, body, b"model=other")
    with pytest.raises(Invalid, match="more than 'model'"):
        ask(model, body, b"version=3")


def test_a_subject_is_explained_by_the_route_that_answers_it_and_an_unload_waits(kept) -> None:
    model = kept(Ridge().fit(FRAME, SUM), SUM)
    asked = Asked(model, model)
    (endpoint,) = explanations(asked)
    told = {}
    for subject in ("p1", "p2", "p3", "p4", "p5", "p6"):
        headers = [(b"interlock-subject", subject.encode())]
        for request_id in ("r1", "r2", "r3"):
            request = Request({"method": "POST", "path": "/explain", "headers": headers}, request_id)
            request.body = b'{"inputs": {"a": [1.0], "b": [2.0], "c": [3.0]}}'
            told.setdefault(subject, set()).add(asyncio.run(endpoint.handler(request)).model)
    whole = asked.revision.whole
    assert told == {subject: {whole.routes[whole.pick(subject)].route.model} for subject in told}
    assert len(set.union(*told.values())) == 2
    assert ({*asked.seen}, asked.answering) == ({1}, 0)


def test_the_refusal_of_an_original_names_both_ways_to_allow_it(kept) -> None:
    with pytest.raises(Denied) as caught:
        explain(kept(RandomForestClassifier(5, random_state=0).fit(FRAME, TWO), TWO), COLUMNS)
    assert "[deployment.NAME.serving]" in caught.value.hint
    assert "interlock serve --code-models" in caught.value.hint


def test_what_may_not_be_explained_is_4xx(kept) -> None:
    model = kept(RandomForestClassifier(5, random_state=0).fit(FRAME, TWO), TWO)
    with pytest.raises(Denied, match="Only the original could tell why") as caught:
        ask(model, b'{"inputs": {"a": [1.0], "b": [2.0], "c": [3.0]}}')
    assert (status_of(caught.value), caught.value.code) == (403, "model.denied")
    assert status_of(MissingExtra.named("explain", "shap")) == 501


def test_a_missing_library_is_501_and_not_the_models_fault(kept, monkeypatch) -> None:
    model = kept(RandomForestClassifier(5, random_state=0).fit(FRAME, TWO), TWO, code_models=True)
    missing = MissingExtra.named("explain", "shap")

    def refuse(self, feeds):
        raise RowsRefused(str(missing))

    monkeypatch.setattr(WorkerRunner, "contributions", refuse)
    with pytest.raises(MissingExtra) as caught:
        explain(model, COLUMNS)
    assert caught.value.message == missing.message


CITIES = FRAME.with_columns(city=pl.Series(DRAW.choice(["Oslo", "Lima", "Cairo"], 200)))


@pytest.mark.parametrize("encoding", [{}, {"drop": "first"}])
@pytest.mark.parametrize("trees", [RandomForestClassifier(5, random_state=0), GradientBoostingClassifier()])
def test_texts_have_the_sum_of_the_shares_of_what_is_made_of_them(shop, tmp_path, trees, encoding) -> None:
    import shap

    parts = [("city", OneHotEncoder(**encoding), ["city"]), ("b", "passthrough", ["b"]), ("c", StandardScaler(), ["c"])]
    model = make_pipeline(ColumnTransformer(parts), trees)
    truth = ((SUM > 6) | (CITIES["city"] == "Oslo").to_numpy()).astype(int)
    inputs = CITIES.select("b", "city", "c")
    model.fit(inputs, truth)
    evaluation = inputs.head(60).with_columns(y=pl.Series(truth[:60]))
    build_bundle(model, inputs=inputs, target="y", evaluation=evaluation, folder=tmp_path / "bundle")
    digest = put_folder(shop.store.objects, tmp_path / "bundle")
    loaded = LoadedModel.load(shop.store.objects, digest, code_models=True)
    rows = inputs.head(20)
    found = explain(loaded, {name: rows[name].to_list() for name in rows.columns})
    assert found.method == "TreeSHAP"
    forest = isinstance(trees, RandomForestClassifier)
    check_sums(found, model.predict_proba(rows)[:, 1] if forest else model.decision_function(rows))
    made = model[:-1].transform(rows)
    made = made.toarray() if hasattr(made, "toarray") else made
    reference = np.asarray(shap.TreeExplainer(model[-1]).shap_values(made))
    reference = reference[..., 1] if reference.ndim == 3 else reference
    shares = [[row.contributions[name] for name in ("city", "b", "c")] for row in found.rows]
    wanted = np.column_stack([reference[:, :-2].sum(axis=1), reference[:, -2:]])
    np.testing.assert_allclose(shares, wanted, atol=1e-9)


@pytest.mark.parametrize("encoding", [{}, {"drop": "first"}])
@pytest.mark.parametrize("target", ["two", "three", "value"])
def test_linear_models_behind_encoders_are_explained_exactly(shop, tmp_path, target, encoding) -> None:
    parts = [("city", OneHotEncoder(**encoding), ["city"]), ("b", "passthrough", ["b"]), ("c", StandardScaler(), ["c"])]
    model = make_pipeline(ColumnTransformer(parts), Ridge() if target == "value" else LogisticRegression())
    truth = {"two": TWO, "three": NAMED, "value": SUM}[target]
    inputs = CITIES.select("b", "city", "c")
    model.fit(inputs, truth)
    evaluation = inputs.head(60).with_columns(y=pl.Series(truth[:60]))
    build_bundle(model, inputs=inputs, target="y", evaluation=evaluation, folder=tmp_path / "bundle")
    digest = put_folder(shop.store.objects, tmp_path / "bundle")
    rows = inputs.head(20)
    columns = {name: rows[name].to_list() for name in rows.columns}
    with pytest.raises(Denied, match="Only the original could tell why"):
        explain(LoadedModel.load(shop.store.objects, digest), columns)
    found = explain(LoadedModel.load(shop.store.objects, digest, code_models=True), columns)
    scale = {"two": "log-odds", "three": "logit", "value": "value"}[target]
    assert (found.method, found.scale, found.relative_to) == ("linear", scale, "zeros behind the encoders")
    raw = model.predict(rows) if target == "value" else model.decision_function(rows)
    check_sums(found, raw.max(axis=1) if raw.ndim == 2 else raw)
    made = np.asarray(model[:-1].transform(rows))
    last = model[-1]
    for place, row in enumerate(found.rows):
        chosen = list(last.classes_).index(row.label) if target == "three" else 0
        weights = np.atleast_2d(last.coef_)[chosen]
        each = made[place] * weights
        assert row.base_value == pytest.approx(np.ravel(last.intercept_)[chosen])
        wanted = {"city": each[:-2].sum(), "b": each[-2], "c": each[-1]}
        assert row.contributions == pytest.approx(wanted)

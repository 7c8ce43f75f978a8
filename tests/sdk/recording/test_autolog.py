"""Fits that log themselves, in scripts that know nothing of us."""

from __future__ import annotations

import importlib.util
import textwrap
from pathlib import Path

import msgspec
import pytest

DATA = """
    import numpy as np, pandas as pd
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(300, 3)), columns=["a", "b", "c"])
    y = (X.a + X.b + rng.normal(size=300) / 4 > 0).astype(int)
"""


@pytest.fixture
def recorded(start, workspace):
    """Run a script under `interlock run`; return its run and its files."""

    def run(text: str, code: int = 0, quiet: bool = True):
        script = start(textwrap.dedent(DATA) + textwrap.dedent(text), "interlock", "run")
        ended, err = script.ends()
        assert ended == code, err
        lines = err.splitlines()
        assert not quiet or [line for line in lines if "not logged" in line] == []
        (found,) = workspace.track.runs()
        return found, {file.name: workspace.read(file.digest) for file in found.artifacts}, err

    return run


def test_a_fit_leaves_params_scores_signature_example_and_model(recorded) -> None:
    found, files, _ = recorded("from sklearn.linear_model import LogisticRegression\nLogisticRegression(C=2).fit(X, y)")
    assert found.params["LogisticRegression.C"] == "2"
    assert found.params["LogisticRegression.max_iter"] == "100"
    assert 0.8 < found.metrics["LogisticRegression.training_roc_auc"] <= 1
    folder = "models/LogisticRegression/"
    assert [field["name"] for field in msgspec.json.decode(files[folder + "signature.json"])["inputs"]] == [
        "a",
        "b",
        "c",
    ]
    assert len(msgspec.json.decode(files[folder + "example.json"])) == 5
    assert files[folder + "model.skops"].startswith(b"PK")
    assert folder + "model.onnx" in files
    assert msgspec.json.decode(files[folder + "twin.json"])["verdict"] == "agrees"
    assert found.tags["autolog.fits"] == "1"
    assert int(found.tags["autolog.inner_fits"]) <= 1, "an encoder of its own, but nothing that our files need"


def test_only_the_outermost_fit_is_logged_and_those_inside_are_counted(recorded) -> None:
    found, files, _ = recorded(
        """
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.model_selection import GridSearchCV, cross_val_score
        from sklearn.ensemble import BaggingClassifier
        search = GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()),
                              {"logisticregression__C": [0.1, 1.0]}, cv=3).fit(X, y)
        cross_val_score(LogisticRegression(), X, y, cv=4)
        BaggingClassifier(LogisticRegression(), n_estimators=6, n_jobs=2).fit(X, y)
        """
    )
    assert {name.partition(".")[0] for name in found.params} == {"GridSearchCV", "BaggingClassifier"}
    assert found.params["GridSearchCV.best.logisticregression__C"] in {"0.1", "1.0"}
    assert found.metrics["GridSearchCV.candidates"] == 2
    assert b"mean_test_score" in files["models/GridSearchCV/search.csv"]
    assert found.tags["autolog.fits"] == "2"
    inner = int(found.tags["autolog.inner_fits"])
    assert inner >= 7 * 3 + 4, "seven pipelines of three estimators, four folds"


def test_classes_of_the_script_and_several_fits_have_names_of_their_own(recorded) -> None:
    found, _, _ = recorded(
        """
        from sklearn.base import BaseEstimator, RegressorMixin
        from sklearn.tree import DecisionTreeRegressor
        class Mean(RegressorMixin, BaseEstimator):
            def __init__(self, shift=0.5): self.shift = shift
            def fit(self, X, y, twice=False): self.mean_ = float(np.mean(y)) + self.shift; return self
            def predict(self, X): return np.full(len(X), self.mean_)
        Mean().fit(X, X["a"])
        for depth in (1, 2): DecisionTreeRegressor(max_depth=depth).fit(X.to_numpy(), X["a"])
        import inspect, pickle
        assert list(inspect.signature(Mean.fit).parameters) == ["self", "X", "y", "twice"]
        assert pickle.loads(pickle.dumps(Mean().fit(X, y))).shift == 0.5
        """
    )
    assert found.params["Mean.shift"] == "0.5"
    assert found.params["DecisionTreeRegressor.max_depth"] == "1"
    assert found.params["DecisionTreeRegressor-2.max_depth"] == "2"
    assert 0.2 < found.metrics["DecisionTreeRegressor-2.training_r2"] < 1
    assert found.metrics["Mean.training_rmse"] > 1


def test_a_failure_of_ours_is_one_line_and_the_script_goes_on(recorded) -> None:
    found, _, err = recorded(
        """
        from sklearn.base import BaseEstimator, ClassifierMixin
        class Odd(ClassifierMixin, BaseEstimator):
            def __init__(self, *rest): pass
            def fit(self, X, y): return self
            def predict(self, X): raise RuntimeError("no")
        for _ in range(3): Odd().fit(X, y)
        print("done")
        """,
        quiet=False,
    )
    assert found.status == "finished"
    assert err.count("Odd's params: not logged") == 1
    assert err.count("Odd's scores: not logged") == 1


def test_a_fit_that_raises_raises(recorded) -> None:
    found, files, _ = recorded(
        "from sklearn.linear_model import LogisticRegression\nLogisticRegression(C=-1).fit(X, y)", code=1
    )
    assert "The 'C' parameter" in found.reason
    assert found.params == {}
    assert not [name for name in files if name.startswith("models/")]


def test_many_fits_cost_little_and_are_counted(recorded) -> None:
    found, files, _ = recorded(
        """
        from sklearn.linear_model import LogisticRegression
        for C in range(1, 121): LogisticRegression(C=C).fit(X, y)
        """
    )
    assert found.tags["autolog.fits"] == "120"
    assert len({name.split("/")[1] for name in files if name.startswith("models/")}) == 10
    assert len({name.partition(".")[0] for name in found.params}) == 100


def test_outside_of_a_run_fits_are_left_alone(start) -> None:
    script = start(
        textwrap.dedent(DATA)
        + "import interlock; interlock.autolog(); interlock.autolog()\n"
        + "from sklearn.linear_model import LogisticRegression; LogisticRegression().fit(X, y)\n"
    )
    assert script.ends() == (0, "")


def test_libraries_that_were_imported_before_are_watched_too(start, workspace) -> None:
    script = start(
        textwrap.dedent(DATA)
        + "from sklearn.linear_model import LogisticRegression; import interlock; interlock.autolog()\n"
        + "with interlock.run('exp', machine=False): LogisticRegression().fit(X, y)\n"
    )
    assert script.ends()[0] == 0
    assert workspace.track.runs()[0].tags["autolog.fits"] == "1"


@pytest.mark.skipif(importlib.util.find_spec("xgboost") is None, reason="needs XGBoost")
def test_xgboost(recorded) -> None:
    found, files, _ = recorded(
        """
        import xgboost
        xgboost.XGBClassifier(n_estimators=4).fit(X, y, eval_set=[(X, y)], verbose=False)
        rows = xgboost.DMatrix(X, label=y)
        xgboost.train({"max_depth": 3}, rows, 5, evals=[(rows, "train")], verbose_eval=False)
        """
    )
    assert found.params["XGBClassifier.max_depth"] == "6", "the default that XGBoost took"
    assert found.params["xgboost.max_depth"] == "3"
    assert {"XGBClassifier.validation_0.logloss", "xgboost.train.rmse"} <= found.metrics.keys()
    assert {"models/XGBClassifier/model.ubj", "models/xgboost/model.ubj"} <= files.keys()
    assert found.tags["autolog.fits"] == "2"


@pytest.mark.skipif(importlib.util.find_spec("lightgbm") is None, reason="needs LightGBM")
def test_lightgbm(recorded) -> None:
    found, files, _ = recorded(
        """
        import lightgbm
        lightgbm.LGBMRegressor(n_estimators=4, verbose=-1).fit(X, X["a"], eval_set=[(X, X["a"])])
        rows = lightgbm.Dataset(X, y)
        lightgbm.train({"objective": "binary", "verbose": -1}, rows, 5, valid_sets=[rows])
        """
    )
    assert found.params["LGBMRegressor.num_leaves"] == "31"
    assert found.params["lightgbm.objective"] == "binary"
    assert {"LGBMRegressor.training_r2", "lightgbm.training.binary_logloss"} <= found.metrics.keys()
    assert {"models/LGBMRegressor/model.txt", "models/lightgbm/model.txt"} <= files.keys()


def test_scores_are_those_of_scikit_learn() -> None:
    import numpy as np
    from sklearn import metrics
    from sklearn.linear_model import LinearRegression, LogisticRegression

    from interlock.sdk.recording.autolog.scoring import score

    chance = np.random.default_rng(3)
    rows, noise = chance.normal(size=(400, 2)).round(1), chance.normal(size=400)
    for truth in ((rows[:, 0] + noise > 0).astype(int), np.digitize(rows[:, 0] + noise, [-1, 1])):
        model = LogisticRegression().fit(rows, truth)
        found = score(model, rows, truth)
        assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, model.predict(rows)))
        assert found["log_loss"] == pytest.approx(metrics.log_loss(truth, model.predict_proba(rows)))
        if len(model.classes_) == 2:
            assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(truth, model.predict_proba(rows)[:, 1]))
    line = LinearRegression().fit(rows, noise)
    found = score(line, rows, noise)
    assert found["r2"] == pytest.approx(metrics.r2_score(noise, line.predict(rows)))
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(noise, line.predict(rows)))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(noise, line.predict(rows)))


def test_a_model_that_the_run_is_told_becomes_a_version(workspace, people, tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    import interlock

    inputs = people.head(2000).select("age", "income")
    model = LogisticRegression().fit(inputs.to_numpy(), people.head(2000)["happy"].to_numpy())
    with interlock.run("exp", machine=False, console=False) as run:
        run.model(model, "happy", example=inputs, target="happy", evaluation=people.tail(1000))
    (version,) = workspace.registry.versions("happy")
    assert (version.run, version.stage) == (run.ref, "registered")
    assert workspace.registry.bundle("happy@1").target == "happy"


def test_a_model_with_an_example_alone_is_a_version_in_its_own_format(workspace, people) -> None:
    from sklearn.ensemble import RandomForestRegressor

    import interlock
    from interlock.core.errors import Invalid

    inputs = people.head(300).select("age", "income")
    model = RandomForestRegressor(n_estimators=3, random_state=0).fit(inputs.to_numpy(), inputs["age"].to_numpy())
    with interlock.run("exp", machine=False, console=False) as run:
        run.model(model, "ages", example=inputs)
        with pytest.raises(Invalid, match="needs 'evaluation' too"):
            run.model(model, "ages", example=inputs, target="age")
        with pytest.raises(Invalid, match="takes no 'sample'"):
            run.model(model, "ages", sample=inputs)
        with pytest.raises(Invalid, match="No file can be made"):
            run.model(lambda rows: rows, "ages", example=inputs)
    (version,) = workspace.registry.versions("ages")
    assert version.run == run.ref
    assert version.format in {"onnx", "skops"}


def test_a_diff_of_two_versions_shows_the_params_that_changed(start, workspace) -> None:
    script = start(
        textwrap.dedent(DATA)
        + textwrap.dedent(
            """
            import interlock
            from sklearn.linear_model import LogisticRegression
            interlock.autolog()
            for C in (1.0, 0.5):
                with interlock.run("churn", machine=False) as run:
                    run.model(LogisticRegression(C=C, max_iter=50).fit(X, y), "churn", example=X)
            """
        )
    )
    ended, err = script.ends()
    assert ended == 0, err
    assert workspace.registry.pins("churn@1").params["LogisticRegression.tol"] == "0.0001"
    found = [row for row in workspace.registry.diff("churn@1", "churn@2") if row.part == "params"]
    assert [(row.name, row.left, row.right) for row in found] == [("LogisticRegression.C", "1.0", "0.5")]


def test_the_twin_is_checked_on_the_example_and_on_a_sample_of_the_rows_that_were_fitted(recorded) -> None:
    _, files, _ = recorded(
        """
        from sklearn.linear_model import LogisticRegression
        many = pd.concat([X] * 10, ignore_index=True)
        LogisticRegression().fit(many, pd.concat([y] * 10, ignore_index=True))
        LogisticRegression().fit(X.to_numpy().tolist(), y)
        """
    )
    twins = [msgspec.json.decode(files[f"models/{name}/twin.json"]) for name in (LABEL, f"{LABEL}-2")]
    assert [(twin["verdict"], twin["rows"], twin["compared"]) for twin in twins] == [
        ("agrees", 2005, {"example": 5, "training": 2000}),
        ("agrees", 305, {"example": 5, "training": 300}),
    ]
    assert all(twin["tolerance"] == 1e-4 and {"scikit-learn", "onnxruntime"} <= set(twin["versions"]) for twin in twins)


LABEL = "LogisticRegression"


@pytest.mark.skipif(importlib.util.find_spec("xgboost") is None, reason="needs XGBoost")
def test_rows_of_a_matrix_of_xgboost_are_compared_missing_ones_as_missing(recorded) -> None:
    _, files, _ = recorded(
        """
        import xgboost
        X.loc[::7, "a"] = np.nan
        X.loc[::5, "b"] = 0.0
        y = (X.a.isna() | (X.b == 0)).astype(int)
        def fit(kind): xgboost.train({"objective": "binary:logistic"}, kind(X, label=y), 5)
        fit(xgboost.DMatrix)
        fit(xgboost.QuantileDMatrix)
        xgboost.XGBClassifier(n_estimators=3).fit(X, y)
        """
    )
    twin = msgspec.json.decode(files["models/xgboost/twin.json"])
    assert (twin["verdict"], twin["compared"]) == ("agrees", {"example": 5, "training": 300})
    (first, *_) = msgspec.json.decode(files["models/xgboost/example.json"])
    assert (first["a"], first["b"]) == (None, 0.0)
    assert "models/xgboost-2/twin.json" not in files, "such a matrix has only its bins"
    twin = msgspec.json.decode(files["models/XGBClassifier/twin.json"])
    assert (twin["verdict"], twin["compared"]) == ("agrees", {"example": 5, "training": 300})


@pytest.mark.skipif(importlib.util.find_spec("lightgbm") is None, reason="needs LightGBM")
def test_rows_of_a_data_set_of_lightgbm_are_compared_while_it_has_them(recorded) -> None:
    _, files, _ = recorded(
        """
        import lightgbm
        rows = lightgbm.Dataset(X.astype("float32"), y)
        for _ in range(2): lightgbm.train({"objective": "binary", "verbose": -1}, rows, 5)
        lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(X.to_numpy("float32"), y), 5)
        """
    )
    for name in ("lightgbm", "lightgbm-3"):
        twin = msgspec.json.decode(files[f"models/{name}/twin.json"])
        assert (twin["verdict"], twin["compared"]) == ("agrees", {"example": 5, "training": 300})
        assert len(msgspec.json.decode(files[f"models/{name}/example.json"])) == 5
    assert "models/lightgbm-2/twin.json" not in files, "the first training let it forget its rows"


def test_a_twin_that_fails_on_the_training_rows_is_not_kept_and_says_so(workspace) -> None:
    """What tells the labels apart is beyond the 32 bits of ONNX, in rows that only training has."""
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier

    import interlock

    inputs = np.concatenate([np.full(50, 0.0), np.full(50, 1.0), np.full(50, 1.0 + 1e-9)]).reshape(-1, 1)
    labels = (inputs[:, 0] > 1).astype(int)
    model = HistGradientBoostingClassifier(max_iter=3).fit(inputs, labels)
    with interlock.run("exp", machine=False, console=False) as run:
        run.model(model, "example", example=inputs[:5])
        run.model(model, "training", example=inputs[:5], training=inputs)
        run.model(model, "alone", training=inputs[:100])
    assert workspace.registry.twin("example@1").compared == {"example": 5}
    assert workspace.registry.version("example@1").format == "onnx"
    twin = workspace.registry.twin("training@1")
    assert (twin.verdict, twin.compared) == ("differs", {"example": 5, "training": 150})
    assert "50 of 155 rows differ" in twin.reason
    assert workspace.registry.version("training@1").format == "skops"
    assert workspace.registry.twin("alone@1").compared == {"example": 5, "training": 100}

"""The evaluation of a version: read from what its gates found, as records and as a picture."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import confusion_matrix, f1_score, r2_score

from interlock.audit.evaluation import Evaluation, evaluation_of, newest_evaluations, picture_of
from interlock.audit.gates.figures import METRICS_OF
from interlock.audit.policy import parse_policy
from interlock.audit.service import AuditService
from interlock.core.errors import Corrupt, NotFound
from interlock.registry.flavors import build_bundle
from interlock.registry.service import RegistryService
from interlock.store.manifests import put_folder
from interlock.track.environment import environment
from interlock.track.records import Start
from interlock.track.service import TrackService

RNG = np.random.default_rng(4)
FRAME = pl.DataFrame(RNG.normal(size=(400, 3)), schema=["a", "b", "c"])
SUM = FRAME.to_numpy() @ [1.0, 0.5, -0.7] + RNG.normal(size=400) * 0.5
NAMED = np.array(["low", "mid", "top"])[np.digitize(SUM, [-0.6, 0.6])]


@pytest.fixture
def audit(store) -> AuditService:
    return AuditService(store)


@pytest.fixture
def checked(store, audit, tmp_path):
    """Register a fitted model as `other@1`, with all rows held out, and let gates judge it."""

    def check(model, truth, gates):
        track = TrackService(store)
        run = track.start(Start("other", environment=store.objects.put(msgspec.json.encode(environment()))))
        track.finish(run.id)
        rows = FRAME.with_columns(y=pl.Series(truth))
        build_bundle(model, inputs=FRAME, target="y", evaluation=rows, folder=tmp_path / "bundle")
        digest = put_folder(store.objects, tmp_path / "bundle")
        version = RegistryService(store).register("other", run.ref, digest, ["data:people@1"])
        audit.set_policy("other", parse_policy(gates, (), "y"))
        return audit.check(version.ref)

    return check


def test_a_two_class_version(audit, register) -> None:
    audit.set_policy("happy", parse_policy({"roc_auc": ">= 0.7"}, (), "happy", "person"))
    version = register()
    with pytest.raises(NotFound, match="No gate has judged"):
        audit.evaluation(version.ref)
    report = audit.check(version.ref)
    found = audit.evaluation(version.ref)
    assert (found.version, found.kind, found.made_at) == (version.ref, "two classes", report.made_at)
    assert [metric.metric for metric in found.metrics] == list(METRICS_OF["two classes"])
    assert {metric.metric: metric.asked for metric in found.metrics if metric.asked} == {"roc_auc": ">= 0.7"}
    assert sum(map(sum, found.confusion)) == found.rows
    root = ET.fromstring(audit.evaluation_svg(version.ref))
    assert f"{found.confusion[0][0]:,}" in {
        "".join(e.itertext()) for e in root.iter("{http://www.w3.org/2000/svg}text")
    }
    assert msgspec.json.decode(msgspec.json.encode(found), type=Evaluation) == found
    assert {metric.bound for metric in found.metrics} == {None, 0.7}
    worded = tuple(msgspec.structs.replace(one, asked=one.asked and "at least so much") for one in found.metrics)
    table = picture_of(msgspec.structs.replace(found, metrics=worded), "metrics").table
    (auc,) = [metric for metric in found.metrics if metric.metric == "roc_auc"]
    assert ("roc_auc", f"{auc.value:.4g}", f"{auc.low:.4g}", f"{auc.high:.4g}", "0.7") in table.rows
    assert "log_loss" not in {row[0] for row in table.rows}


def test_a_version_of_three_named_classes(audit, checked) -> None:
    model = LogisticRegression().fit(FRAME.to_numpy(), NAMED)
    report = checked(model, NAMED, {"f1_macro": ">= 0.6", "roc_auc": ">= 0.6", "leakage": "none"})
    assert report.passed, report.results
    found = audit.evaluation("other@1")
    chosen = model.predict(FRAME.to_numpy())
    assert found.classes == ("low", "mid", "top")
    assert [list(row) for row in found.confusion] == confusion_matrix(NAMED, chosen).tolist()
    figures = {metric.metric: metric for metric in found.metrics}
    assert figures["f1_macro"].value == pytest.approx(f1_score(NAMED, chosen, average="macro"), abs=1e-12)
    assert figures["f1_macro"].low < figures["f1_macro"].value < figures["f1_macro"].high
    assert [one.label for one in found.by_class] == ["low", "mid", "top"]


def test_a_regression(audit, checked) -> None:
    model = LinearRegression().fit(FRAME.to_numpy(), SUM)
    report = checked(model, SUM, {"r2": ">= 0.5", "mae": "<= 2", "leakage": "none"})
    assert report.passed, report.results
    found = audit.evaluation("other@1")
    assert (found.kind, found.confusion, found.by_class) == ("values", (), ())
    (r2,) = [metric for metric in found.metrics if metric.metric == "r2"]
    assert r2.value == pytest.approx(r2_score(SUM, model.predict(FRAME.to_numpy())), abs=1e-5)  # served in 32 bits
    with pytest.raises(NotFound, match="neither confusion matrix"):
        audit.evaluation_svg("other@1")


def test_an_input_that_knows_a_class_leaks(checked) -> None:
    model = LogisticRegression().fit(FRAME.to_numpy(), np.digitize(FRAME["a"].to_numpy(), [-0.6, 0.6]))
    report = checked(model, np.digitize(FRAME["a"].to_numpy(), [-0.6, 0.6]), {"leakage": "none"})
    (leakage,) = [result for result in report.results if result.gate == "leakage"]
    assert leakage.status == "failed"
    assert leakage.findings[0].message.startswith("Input a alone predicts the label ")


def test_an_input_that_knows_the_value_leaks(checked) -> None:
    truth = FRAME["a"].to_numpy() * 3
    report = checked(LinearRegression().fit(FRAME.to_numpy(), truth), truth, {"leakage": "none"})
    (leakage,) = [result for result in report.results if result.gate == "leakage"]
    assert leakage.status == "failed"
    assert [warning.rule for warning in leakage.warnings if warning.rule == "too_good"] == ["too_good"]
    assert "R2 is 1.0000" in leakage.warnings[-1].message


def test_a_report_of_an_earlier_release_says_what_to_do(audit, register) -> None:
    audit.set_policy("happy", parse_policy({"roc_auc": ">= 0.7"}, (), "happy", "person"))
    report = audit.check(register().ref)
    older = msgspec.structs.replace(
        report, results=tuple(msgspec.structs.replace(one, facts={"rows": 3}) for one in report.results)
    )
    with pytest.raises(NotFound, match="holds no evaluation") as caught:
        evaluation_of(older)
    assert "audit check" in caught.value.hint


def test_one_evaluation_a_model_is_shown_the_champions_first(store, audit, register) -> None:
    audit.set_policy("happy", parse_policy({"roc_auc": ">= 0.7"}, (), "happy", "person"))
    for _ in range(2):
        audit.check(register().ref)
    assert [found.version for found in newest_evaluations(store, {})] == ["model:happy@2"]
    assert [found.version for found in newest_evaluations(store, {"happy": 1})] == ["model:happy@1"]
    assert [found.version for found in newest_evaluations(store, {"happy": 9})] == ["model:happy@2"]
    assert [found.version for found in newest_evaluations(store, {"other": 1})] == ["model:happy@2"]


def test_a_report_that_is_lost_is_no_report_of_an_earlier_release(store, audit, register) -> None:
    audit.set_policy("happy", parse_policy({"roc_auc": ">= 0.7"}, (), "happy", "person"))
    audit.check(register().ref)
    older = msgspec.structs.replace(audit.report("happy@1"), results=())
    kept = store.objects.put(msgspec.json.encode(older))
    store.database.write(lambda tx: tx.run("UPDATE gate_reports SET report = :report", {"report": kept}))
    assert newest_evaluations(store, {}) == []
    store.database.write(lambda tx: tx.run("UPDATE gate_reports SET report = :report", {"report": "0" * 64}))
    with pytest.raises(Corrupt, match="gates on model:happy@1 is lost"):
        newest_evaluations(store, {})

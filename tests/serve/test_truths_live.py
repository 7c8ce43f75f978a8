"""Real servers of a regression and of three classes: truth by HTTP, through kill -9, up to what a monitor measures."""

from __future__ import annotations

import signal
import warnings

import numpy as np
import polars as pl
import pytest

from interlock.core.ids import new_id
from interlock.monitor.records import MonitorPlan
from interlock.monitor.service import MonitorService
from interlock.registry.flavors.build import build_bundle
from interlock.store.manifests import put_folder

ROWS = 60
INPUTS = ["age", "income"]


@pytest.fixture(scope="module")
def crowd():
    random = np.random.default_rng(11)
    age, income = random.integers(18, 65, 600), random.normal(30, 10, 600).round(2)
    total = age + income + random.normal(0, 4, 600)
    mood = np.array(["sad", "so-so", "glad"])[(total > 60).astype(int) + (total > 80)]
    return pl.DataFrame({"age": age, "income": income, "spend": (2.0 * total).round(3), "mood": mood})


@pytest.fixture(scope="module")
def folders(crowd, tmp_path_factory):
    from sklearn.linear_model import LinearRegression, LogisticRegression

    found, inputs = {}, crowd.head(400).select(INPUTS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter's own
        for target, model in (("spend", LinearRegression()), ("mood", LogisticRegression(max_iter=5000))):
            model.fit(inputs.to_numpy(), crowd.head(400)[target].to_numpy())
            found[target] = tmp_path_factory.mktemp(target)
            build_bundle(model, inputs=inputs, target=target, evaluation=crowd.tail(200), folder=found[target])
    return found


@pytest.fixture
def open_for(shop, register, serve, folders, tools):
    """Start the server of a target's model."""

    def start(target):
        bundle = put_folder(shop.store.objects, folders[target])
        register(target, 1, bundle)
        shop.deploy(tools.route(bundle, f"model:{target}@1"), name=target)
        return serve(target)

    return start


def tell(server, labels, **headers):
    """Send labels; return their statuses."""
    answer = server.client.post("/labels", json={"labels": labels}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["statuses"]


@pytest.mark.parametrize("target", ["spend", "mood"])
def test_truth_of_other_models_comes_once_survives_a_kill_and_is_measured(shop, serve, open_for, crowd, target):
    server, rows = open_for(target), crowd.tail(ROWS)
    params = {"subjects": [f"p{n}" for n in range(ROWS)], "occurred_at": "2026-01-15T12:00:00Z"}
    answer = server.invoke(*rows.select(INPUTS).to_dicts(), **params)
    given = answer.json()["predictions"]
    ids, said = [one["prediction_id"] for one in given], [one[target] for one in given]
    truths = rows[target].to_list()
    labels = [{"prediction_id": name, "label": truth} for name, truth in zip(ids, truths, strict=True)]

    wrong = server.client.post("/labels", json={"labels": [labels[0], {**labels[1], "label": "secret"}]})
    assert (wrong.status_code, "Row 1: label is no" in wrong.text, "secret" in wrong.text) == (400, True, False)
    assert ("'glad', 'sad' and 'so-so'" in wrong.text) == (target == "mood")

    early = {"prediction_id": new_id(), "label": truths[0]}
    assert tell(server, [*labels[:-1], early]) == ["accepted"] * (ROWS - 1) + ["unknown_prediction"]
    corrected = {**labels[0], "label": truths[1] if target == "spend" else "glad" if truths[0] != "glad" else "sad"}
    assert tell(server, [corrected], **{"Idempotency-Key": "fix"}) == ["correction"]
    by_subject = {"subject": f"p{ROWS - 1}", "label": truths[-1], "occurred_at": "2026-01-15"}
    assert tell(server, [by_subject]) == ["accepted"]
    server.process.kill()
    assert server.process.wait(20) == -signal.SIGKILL

    server = serve(target)  # the sender did not hear the answers, and sends all of it again
    assert tell(server, [*labels[:-1], early]) == ["duplicate"] * ROWS
    again = server.client.post("/labels", json={"labels": [corrected]}, headers={"Idempotency-Key": "fix"}).json()
    assert (again["statuses"], again["replayed"]) == (["correction"], True)
    assert tell(server, [by_subject]) == ["duplicate"]

    monitor = MonitorService(shop.store)
    assert [(x.label, x.counts) for x in monitor.labels(ids[0])] == [(truths[0], False), (corrected["label"], True)]
    assert monitor.prediction(ids[0]).truth == corrected["label"]
    assert monitor.prediction(ids[-1]).truth == truths[-1]
    monitor.set(target, MonitorPlan(target, "person", target))
    watched(shop, target)
    (report,) = monitor.look(target, "2026-02-01")
    wanted = [corrected["label"], *truths[1:]]
    assert (report.labels, report.positives, report.realised, report.left_out) == (ROWS, 0, None, "")
    if target == "spend":
        errors = np.array(wanted) - np.array(said)
        assert report.measured.mean_absolute_error == pytest.approx(np.abs(errors).mean())
        assert report.measured.rmse == pytest.approx(np.sqrt((errors**2).mean()))
    else:
        assert report.measured.accuracy == sum(a == b for a, b in zip(wanted, said, strict=True)) / ROWS


def watched(shop, target):
    """Let a monitor watch a version from the beginning, not from the window after the newest prediction."""
    MonitorService(shop.store).watch(target, f"model:{target}@1")
    shop.store.database.write(
        lambda tx: tx.run("UPDATE monitors SET episode = '{}' WHERE name = :name", {"name": target})
    )

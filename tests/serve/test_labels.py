"""`POST /labels` over the whole application: forms, statuses, refusals, and nothing lost or doubled."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import httpx
import pytest

from interlock.core.clock import FixedClock, SystemClock, to_micros
from interlock.core.ids import encode, new_id
from interlock.monitor.kinds import TWO
from interlock.monitor.labels import with_labels
from interlock.monitor.records import MonitorPlan
from interlock.monitor.service import MonitorService
from interlock.serve import labels as served
from interlock.serve.app import Application, Limits
from interlock.serve.engine import Engine
from interlock.serve.hands import Hands
from interlock.serve.labels import Labels
from interlock.serve.truths import DEFAULT, readings
from interlock.store import create_store
from interlock.store.label_truths import Class
from interlock.store.predictions import Prediction, PredictionWriter

PLAN = MonitorPlan("shop", "person", "buys")
MARCH = datetime(2026, 3, 1, tzinfo=UTC)


class Desk:
    """The application of deployment `shop` with its labels, and predictions on record."""

    def __init__(self, root) -> None:
        self.store = create_store(root)
        self.engine = engine = Engine("shop", None, SystemClock(), Hands(None))
        self.app = Application(engine, [], Labels(engine, self.store).routes(), Limits(hosts=("*",)))

    def post(self, body, kind="application/json", **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()

        async def ask():
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                sent = {"content-type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
                return await client.post("/labels", content=data, headers=sent)

        return asyncio.run(ask())

    def say(self, *labels, **headers):
        answer = self.post({"labels": list(labels)}, **headers)
        assert answer.status_code == 200, answer.text
        return answer.json()["statuses"]

    def predict(self, *cases, deployment="shop", subject="p1", at=None):
        """Let predictions about cases be on record; return their ids."""
        ids = [new_id() if at is None else encode(to_micros(at) // 1000, number) for number, _ in enumerate(cases)]
        writer = PredictionWriter(self.store.predictions.folder)
        rows = [
            Prediction(
                id=name,
                at=to_micros(at or datetime.now(UTC)),
                occurred_at=to_micros(case),
                deployment=deployment,
                model="model:buyer@1",
                bundle="b" * 64,
                revision=1,
                request_id="r",
                row=0,
                subject=subject,
                inputs={"age": 1},
                score=0.5,
                label=1,
                route="champion",
            )
            for name, case in zip(ids, cases, strict=True)
        ]
        writer.append(rows).result(10)
        writer.close()
        return ids

    def truths(self):
        frame = with_labels(self.store, "m", PLAN, self.store.predictions.frame("shop"))
        return dict(frame.select("id", TWO).iter_rows())

    def events(self):
        return [event.data for event in self.store.ledger.events(kinds=("labels.received",))]

    def kept(self):
        return self.store.database.one("SELECT COUNT(*) AS n FROM labels")["n"]


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path / ".interlock")
    yield desk
    desk.store.close()


def test_every_status_and_one_event_a_body(desk):
    mine, other = desk.predict(MARCH, MARCH + timedelta(days=1))
    (theirs,) = desk.predict(MARCH, deployment="bank")
    answer = desk.post(
        {
            "labels": [
                {"prediction_id": mine, "label": 1},
                {"prediction_id": mine, "label": 1},
                {"prediction_id": mine, "label": 0},
                {"prediction_id": theirs, "label": 1},
                {"prediction_id": new_id(), "label": 1},
                {"subject": "p1", "label": 1},
                {"prediction_id": mine, "label": 1, "observed_at": "2020-01-01T00:00:00Z"},
            ]
        }
    )
    assert answer.status_code == 200
    said = answer.json()
    assert said["statuses"] == [
        *("accepted", "duplicate", "correction", "refused", "unknown_prediction", "accepted", "superseded")
    ]
    assert said["counts"]["accepted"] == 2
    assert said["refused"] == [{"row": 3, "reason": "its prediction was made by another deployment, 'bank'"}]
    (event,) = desk.events()
    assert (event["rows"], event["kept"], event["corrections"]) == (7, 5, 1)
    assert desk.truths() == {mine: 0, other: 1}


def test_a_retry_changes_nothing_and_a_key_answers_again(desk):
    (mine,) = desk.predict(MARCH)
    body = [{"prediction_id": mine, "label": 1}, {"subject": "p2", "label": 0}]
    assert desk.say(*body) == ["accepted", "accepted"]
    assert desk.say(*body) == ["duplicate", "duplicate"]
    assert (desk.kept(), len(desk.events())) == (2, 1)
    assert desk.say({"prediction_id": mine, "label": 0}, Idempotency_Key="k") == ["correction"]
    answer = desk.post({"labels": [{"prediction_id": mine, "label": 0}]}, Idempotency_Key="k").json()
    assert (answer["statuses"], answer["replayed"]) == (["correction"], True)
    refused = desk.post({"labels": [{"prediction_id": mine, "label": 1}]}, Idempotency_Key="k")
    assert (refused.status_code, desk.truths()) == (409, {mine: 0})


def test_labels_a_year_late_and_labels_before_their_predictions(desk):
    """The prediction was made a year ago, its file is Parquet since; another is not in the log yet."""
    (old,) = desk.predict(MARCH - timedelta(days=365), at=MARCH - timedelta(days=365))
    desk.store.predictions.compact()
    desk.predict(MARCH)
    assert desk.say({"prediction_id": old, "label": 1, "observed_at": "2026-03-01"}) == ["accepted"]
    assert desk.truths()[old] == 1
    early = encode(to_micros(MARCH) // 1000, 0)
    assert desk.say({"prediction_id": early, "label": 1}) == ["unknown_prediction"]
    assert desk.predict(MARCH, at=MARCH) == [early]
    assert desk.truths()[early] == 1


def test_a_label_by_subject_is_about_the_cases_that_it_names(desk):
    january, february, march = desk.predict(*(MARCH.replace(month=month) for month in (1, 2, 3)))
    assert desk.say({"subject": "p1", "label": 0, "occurred_at": "2026-01-01/2026-02-01"}) == ["accepted"]
    assert desk.truths() == {january: 0, february: None, march: None}
    desk.say({"subject": "p1", "label": 1, "occurred_at": "2026-02-01"})
    assert desk.truths() == {january: 0, february: 1, march: None}
    desk.say({"subject": "p1", "label": 1, "observed_at": "2026-02-15"})  # no case: all up to then that have none
    assert desk.truths() == {january: 0, february: 1, march: None}
    desk.say({"subject": "p1", "label": 0, "observed_at": "2026-03-15"})
    assert desk.truths() == {january: 0, february: 1, march: 0}
    desk.say({"subject": "p1", "label": 1, "occurred_at": "2026-01-01T00:00:00Z"})  # the instant wins over the month
    assert desk.truths() == {january: 1, february: 1, march: 0}
    desk.say({"prediction_id": january, "label": 0})  # and the prediction over all
    assert desk.truths()[january] == 0


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"subject": "p1", "label": 1}'),
        ("application/json; charset=utf-8", b'{"labels": [{"subject": "p1", "label": true}]}'),
        ("application/x-ndjson", b'{"subject": "p1", "label": 1}\n\n{"subject": "p1", "label": 1.0}\n'),
        ("text/csv", b"subject,label,observed_at,label_id\r\np1,1,,\r\n"),
        ("text/csv", "\ufeffsubject,label\n\np1,true\n".encode()),
    ],
)
def test_all_forms_say_the_same(desk, kind, body):
    answer = desk.post(body, kind)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["statuses"][0], desk.kept()) == ("accepted", 1)
    assert desk.say({"subject": "p1", "label": 1}) == ["duplicate"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"label": 1}, "needs either"),
        ({"prediction_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "subject": "secret", "label": 1}, "needs either"),
        ({"prediction_id": "secret", "label": 1}, "no id of a prediction"),
        ({"subject": "secret"}, "neither 0 nor 1"),
        ({"subject": "secret", "label": "secret"}, "neither 0 nor 1"),
        ({"subject": "secret", "label": [1]}, "neither 0 nor 1"),
        ({"subject": "secret", "label": 2}, "neither 0 nor 1"),
        ({"subject": 7, "label": 1}, "subject is no text"),
        ({"subject": "s" * 501, "label": 1}, "longer than 500"),
        ({"subject": "secret", "label": 1, "secret": 1}, "a field beside"),
        ({"subject": "secret", "lable": 1}, "one is nearly label"),
        ({"subject": "secret", "label": 1, "observed_at": "secret"}, "observed_at is no instant"),
        ({"subject": "secret", "label": 1, "observed_at": "2999-01-01"}, "lies ahead"),
        ({"subject": "secret", "label": 1, "occurred_at": "2026-03-01/secret"}, "occurred_at is no instant"),
        ({"prediction_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "label": 1, "occurred_at": "2026-03-01"}, "by subject"),
        ("secret", "no object"),
        (None, "no object"),
    ],
)
def test_a_wrong_label_refuses_the_body_by_its_row_and_quotes_nothing(desk, row, words):
    answer = desk.post({"labels": [{"subject": "p1", "label": 1}, row]})
    assert answer.status_code == 400
    assert "1 of 2 labels are wrong" in answer.text
    assert "Row 1: " in answer.text
    assert words in answer.text
    assert "secret" not in answer.text
    assert (desk.kept(), desk.events()) == (0, [])


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{", 400),
        ("application/json", b"", 400),
        ("application/json", b"\xff", 400),
        ("application/json", b"[" * 100_000, 400),
        ("application/json", b'{"labels": []}', 400),
        ("application/json", b'{"labels": {}}', 400),
        ("application/json", b'{"labels": [], "more": 1}', 400),
        ("application/json", b"7", 400),
        ("text/csv", b"", 400),
        ("text/csv", b"subject,label\n", 400),
        ("text/csv", b"subject,label,label\np,1,1\n", 400),
        ("text/csv", b"subject,label,secret\np,1,1\n", 400),
        ("text/csv", b'subject,label\n"secret"x,1\n', 400),
        ("text/csv", b"subject,label\nsecret,1,2\n", 400),
        ("text/plain", b"x", 415),
    ],
)
def test_bodies_that_are_none(desk, kind, body, status):
    answer = desk.post(body, kind)
    assert (answer.status_code, desk.kept()) == (status, 0)
    assert "secret" not in answer.text


def test_many_labels_in_one_body_are_one_event_and_too_many_are_refused(desk, monkeypatch):
    ids = desk.predict(*(MARCH + timedelta(minutes=n) for n in range(3000)))
    lines = "prediction_id,label\n" + "".join(f"{name},{n % 2}\n" for n, name in enumerate(ids))
    answer = desk.post(lines.encode(), "text/csv")
    assert answer.json()["counts"]["accepted"] == 3000
    assert len(desk.events()) == 1
    assert list(desk.truths().values()) == [0, 1] * 1500
    assert desk.post(lines.encode(), "text/csv").json()["counts"]["duplicate"] == 3000
    monkeypatch.setattr(served, "MAX_LABELS", 2999)
    assert desk.post(lines.encode(), "text/csv").status_code == 400


def test_more_bodies_at_once_than_it_takes_come_back_later(desk, monkeypatch):
    monkeypatch.setattr(served, "MAX_UNDER_WAY", 0)
    answer = desk.post({"subject": "p", "label": 1})
    assert (answer.status_code, answer.headers["retry-after"], desk.kept()) == (503, "1", 0)


def test_what_is_observed_ahead_is_measured_by_the_workspaces_clock(desk):
    desk.store.clock = FixedClock(MARCH)
    assert desk.post({"subject": "p", "label": 1, "observed_at": "2026-03-03"}).status_code == 400
    assert desk.post({"subject": "p", "label": 1, "observed_at": "2026-03-01T23:00:00Z"}).status_code == 200


def engine_of(classes, task="classification", name="serve:m"):
    """Return what the labels' reader needs of an engine."""
    live = SimpleNamespace(model=SimpleNamespace(bundle=SimpleNamespace(task=task, classes=classes)))
    return SimpleNamespace(name=name, revision=SimpleNamespace(routes=[live], deployment=name))


@pytest.mark.parametrize(
    ("classes", "value", "truth"),
    [
        (("no", "yes"), "yes", 1),
        (("no", "yes"), " no ", 0),
        (("no", "yes"), 1, 1),
        (("no", "yes"), "maybe", None),
        ((1, 2), 1, 0),
        ((1, 2), "2.0", 1),
        ((1, 2), 2.0, 1),
        ((1, 2), 0, None),
        ((-1, 1), -1, 0),
        ((-1, 1), 0, None),
        ((-1, 1), True, None),
        (("False", "True"), False, 0),
        (("False", "True"), 1, 1),
        (("1", "2"), 1, 0),
        (("1", "2"), "0", None),
        ((0, 1), True, 1),
        ((0, 1), [1], None),
    ],
)
def test_a_models_own_classes_are_labels(classes, value, truth):
    (reading,) = readings([engine_of(classes)]).values()
    if truth is None:
        with pytest.raises(ValueError, match="label is n"):
            reading.truth(value)
    else:
        assert reading.truth(value) == truth


@pytest.mark.parametrize(
    ("classes", "value", "truth"),
    [
        (("a", "b", "c"), "c", "c"),
        (("a", "b", "c"), " b ", "b"),
        (("a", "b", "c"), 1, None),
        (("a", "b", "c"), True, None),
        ((1, 2, 3), 2, 2),
        ((1, 2, 3), 2.0, 2),
        ((1, 2, 3), "3", 3),
        ((1, 2, 3), " 3.0", 3),
        ((1, 2, 3), True, None),
        ((1, 2, 3), 0, None),
        ((1, 2, 3), 2.5, None),
        (("1", "2", "3"), 2, "2"),
        (("True", "False", "None"), True, "True"),
        (("a", "b", "c"), None, None),
        (("a", "b", "c"), ["a"], None),
    ],
)
def test_the_truth_of_more_classes_is_one_of_them(classes, value, truth):
    (reading,) = readings([engine_of(classes)]).values()
    if truth is None:
        with pytest.raises(ValueError, match="label is none of the model's classes, .* and "):
            reading.truth(value)
    else:
        found = reading.truth(value)
        assert (found, type(found.label)) == (Class(truth), type(truth))


def test_routes_of_other_classes_take_the_classes_of_both_and_a_number_beside_classes_is_refused():
    (both,) = readings([engine_of(("a", "b", "c")), engine_of(("b", "c", "d"))]).values()
    assert both.truth("d") == Class("d")
    with pytest.raises(ValueError, match="'a', 'b', 'c' and 'd'"):
        both.truth("e")
    (none,) = readings([engine_of(("a", "b")), engine_of((), "regression")]).values()
    for value in (1, "a", 2.5):
        with pytest.raises(ValueError, match="a regression beside classes"):
            none.truth(value)
    (many,) = readings([engine_of(tuple(range(1000)))]).values()
    with pytest.raises(ValueError, match="6, 7 and 992 more$"):
        many.truth("x")


def test_models_that_differ_under_one_name_and_models_that_are_missing_read_0_and_1():
    missing = SimpleNamespace(name="serve:x", revision=None)
    found = readings([engine_of(("no", "yes")), engine_of((1, 2)), missing])
    assert (found["serve:m"], found["serve:x"]) == (DEFAULT, DEFAULT)
    before = readings([engine_of((), "regression", "serve:x")])
    assert readings([missing], before) == before  # it was unloaded: its truths are what they were


def test_a_label_in_a_models_own_words_is_kept(desk):
    (mine,) = desk.predict(MARCH)
    desk.engine.revision = engine_of(("no", "yes"), name="shop").revision
    assert desk.say({"prediction_id": mine, "label": "yes"}, {"subject": "p9", "label": "no"}) == ["accepted"] * 2
    rows = desk.store.database.all("SELECT label FROM labels ORDER BY position")
    assert [row["label"] for row in rows] == [1, 0]


@pytest.mark.parametrize(
    ("revision", "first", "second", "wrong"),
    [
        (engine_of((), "regression", "shop"), 2.5, -1e300, [True, "secret", None, "nan", "1e999", "0x10", "1_0", []]),
        (engine_of(("a", "b", "c"), name="shop"), "c", "a", [True, "secret", None, 0, 2, "", {}, 1.5]),
        (engine_of((1, 2, 3), name="shop"), 2, 3, [True, "secret", None, 0, "", 1.5, 10**30]),
    ],
)
def test_other_truths_are_taken_once_with_their_corrections_and_wrong_ones_by_row(desk, revision, first, second, wrong):
    desk.engine.revision = revision.revision
    (mine,) = desk.predict(MARCH)
    early = new_id()
    body = [{"prediction_id": mine, "label": first}, {"subject": "p1", "label": second}]
    assert desk.say(*body, {"prediction_id": early, "label": first}) == ["accepted", "accepted", "unknown_prediction"]
    assert desk.say(*body) == ["duplicate", "duplicate"]
    assert desk.say({"prediction_id": mine, "label": str(second)}, Idempotency_Key="k") == ["correction"]
    replayed = desk.post({"labels": [{"prediction_id": mine, "label": str(second)}]}, Idempotency_Key="k").json()
    assert (replayed["statuses"], replayed["replayed"]) == (["correction"], True)
    assert desk.say({"prediction_id": mine, "label": first}) == ["duplicate"]  # a late retry undoes nothing
    old = {"prediction_id": mine, "label": first, "observed_at": "2020-01-01"}
    assert desk.say(old) == ["superseded"]
    said = MonitorService(desk.store).labels(mine)
    assert [(x.label, type(x.label), x.counts) for x in said] == [
        (first, type(first), False),
        (second, type(second), True),
        (first, type(first), False),
    ]
    assert MonitorService(desk.store).prediction(mine).truth == second
    kept = desk.kept()
    for value in wrong:
        answer = desk.post({"labels": [body[0], {"subject": "p7", "label": value}]})
        assert (answer.status_code, "Row 1: label is no" in answer.text) == (400, True), value
        assert "secret" not in answer.text
        if revision.revision.routes[0].model.bundle.classes:
            assert "model's classes, " in answer.text
    assert desk.kept() == kept
    assert desk.truths() == {mine: None}  # no statistic of two classes sees any of them


def test_a_regressions_truth_comes_as_csv_and_json_lines(desk):
    desk.engine.revision = engine_of((), "regression", "shop").revision
    first, second = desk.predict(MARCH, MARCH + timedelta(days=1))
    text = f"prediction_id,label\n{first},3\n{second}, -2.5e-3 \n"
    assert desk.post(text.encode(), "text/csv").json()["statuses"] == ["accepted"] * 2
    lines = "\n".join(json.dumps({"prediction_id": name, "label": x}) for name, x in ((first, 3.0), (second, -0.0025)))
    assert desk.post(lines.encode(), "application/x-ndjson").json()["statuses"] == ["duplicate"] * 2
    refused = desk.post(f"prediction_id,label\n{first},3\n{second},x\n".encode(), "text/csv")
    assert (refused.status_code, "Row 1: label is no number" in refused.text) == (400, True)


def test_half_a_document_is_called_that(desk):
    answer = desk.post(b'{"age":21,')
    assert (answer.status_code, "no complete JSON" in answer.text) == (400, True)

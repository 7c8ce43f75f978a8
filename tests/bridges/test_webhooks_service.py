"""Webhooks through the operations: in a folder, behind a server, on the command line."""

from __future__ import annotations

import base64
import hashlib
import hmac
import inspect
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webhook_receiver import Receiver

from interlock.bridges.webhooks import Reach, Sender, WebhookBook, serve
from interlock.bridges.webhooks.book import Wanted
from interlock.bridges.webhooks.faces import EventsFace, check_names
from interlock.bridges.webhooks.reach import reach_of
from interlock.bridges.webhooks.service import WebhookService
from interlock.cli.main import run
from interlock.core.clock import SystemClock
from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.core.events import KINDS
from interlock.sdk.workspace import Workspace
from interlock.server.app import create_app
from interlock.server.guard import Access
from interlock.server.run import serving
from interlock.store import Store

ALARM = {"window": "2026-01", "signal": "drift", "verdict": "retrain", "report": "", "reason": "age moved"}
GATE = {"gate": "roc_auc", "policy": "", "report": "", "reason": "0.5 is less than 0.75"}


@pytest.fixture
def clock() -> SystemClock:
    return SystemClock()


@pytest.fixture
def here(store: Store) -> Workspace:
    return Workspace.over(store)


@pytest.fixture(params=["folder", "server"])
def workspace(here: Workspace, request: pytest.FixtureRequest) -> Iterator[Workspace]:
    if request.param == "folder":
        yield here
        return
    with serving(here) as address, Workspace.open(address) as remote:
        yield remote


@pytest.fixture
def tell(store: Store):
    """Lets something happen: an event of a kind."""

    def write(kind: str, subject: str, data: dict[str, Any]) -> int:
        return store.database.write(lambda tx: store.ledger.append(tx, kind, subject, data))

    return write


@pytest.fixture
def sent(store: Store, receiver: Receiver):
    """Lets what is due be sent, whoever does it, until the receiver had so many requests; returns their bodies."""

    def wait(count: int) -> list[dict[str, Any]]:
        pause = threading.Event()
        sender = Sender(store, Reach(private=True))
        for _ in range(1000):
            with sender._locked() as ours:
                if ours:
                    sender.look()
            if len(receiver.requests) >= count:
                return receiver.bodies
            pause.wait(0.02)
        raise AssertionError(f"{len(receiver.requests)} requests came, not {count}")

    return wait


def test_events_of_the_ledger_reach_a_listener_signed_and_in_order(workspace, receiver, tell, sent) -> None:
    made = workspace.webhooks.create("ops", receiver.url, ["alarm.raised", "gate.*"], secret="correct horse")
    assert (made.signed, made.status, made.waiting, made.events) == (True, "ACTIVE", 0, ("alarm.raised", "gate.*"))
    first = tell("alarm.raised", "monitor:shop", ALARM)
    tell("run.finished", "run:1", {"status": "finished", "reason": ""})
    last = tell("gate.failed", "model:shop@1", GATE)
    alarm, gate = sent(2)
    assert (alarm["type"], alarm["subject"], alarm["data"], alarm["id"]) == (
        "alarm.raised",
        "monitor:shop",
        ALARM,
        str(first),
    )
    assert (gate["type"], gate["data"], gate["id"]) == ("gate.failed", GATE, str(last))
    for _, headers, body in receiver.requests:  # as Standard Webhooks describe it, with nothing of ours
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        digest = hmac.new(b"correct horse", signed, hashlib.sha256).digest()
        assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
        assert headers["content-type"] == "application/cloudevents+json"


def test_secrets_of_standard_webhooks_sign_with_the_bytes_they_spell(workspace, receiver, tell, sent) -> None:
    key = bytes(range(24))
    workspace.webhooks.create("std", receiver.url, ["*"], secret=f"whsec_{base64.b64encode(key).decode()}")
    tell("alarm.raised", "monitor:shop", ALARM)
    sent(1)
    _, headers, body = receiver.requests[-1]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    with pytest.raises(Invalid, match="Base64"):
        workspace.webhooks.create("bad", receiver.url, ["*"], secret="whsec_!!!")


def test_secrets_and_tokens_do_not_come_back(workspace, receiver, store) -> None:
    made = workspace.webhooks.create("ops", receiver.url, ["*"], secret="correct horse")
    told = [made, workspace.webhooks.show("ops"), *workspace.webhooks.list()]
    told.append(workspace.webhooks.change("ops", secret="battery staple"))
    assert not [word for word in ("correct", "battery") if word in repr(told)]
    assert "staple" not in repr(store.ledger.events())
    assert not workspace.webhooks.change("ops", secret="").signed


@pytest.mark.parametrize(
    ("word", "some", "not_these"),
    [
        ("gate.*", {"gate.passed", "gate.failed", "gate.waived"}, {"alarm.raised"}),
        ("*.failed", {"gate.failed", "environment.failed"}, {"gate.passed"}),
        ("*", set(KINDS), set()),
        ("*.*", set(KINDS), set()),
        ("alarm.raised", {"alarm.raised"}, {"alarm.closed"}),
    ],
)
def test_patterns_mean_kinds(word: str, some: set[str], not_these: set[str]) -> None:
    found = EventsFace("x").kinds([word])
    assert some <= found
    assert not not_these & found


@pytest.mark.parametrize("word", ["", "gate", "gate.", ".*", "gat.*", "gate.f*", "**", "a.b.c", "gate.*.*", "GATE.*"])
def test_what_means_no_kind_is_refused(word: str) -> None:
    with pytest.raises(Invalid, match="no event"):
        check_names(EventsFace("x"), [word])


@given(st.one_of(st.text(), st.from_regex(r"[a-z_*]{0,8}\.[a-z_*.]{0,8}", fullmatch=True)))
def test_any_word_means_some_kinds_or_none(word: str) -> None:
    found = EventsFace("x").wanted(word)
    assert found <= set(KINDS)
    assert found == ({word} if word in KINDS else found)


def test_a_misspelt_event_gets_the_nearest(workspace, receiver) -> None:
    with pytest.raises(Invalid, match=r"alarm\.raised"):
        workspace.webhooks.create("ops", receiver.url, ["alarm.risen"])
    assert workspace.webhooks.list() == []


def test_webhooks_are_found_by_name_and_by_id(workspace, receiver) -> None:
    words = ("twin", receiver.url, ["prompt.created"])  # MLflow lets two have one name
    first, second = (workspace.webhooks.create(*words, face="mlflow") for _ in range(2))
    alone = workspace.webhooks.create("alone", receiver.url, ["*"])
    assert workspace.webhooks.show("alone").id == workspace.webhooks.show(alone.id).id == alone.id
    with pytest.raises(Conflict, match=first.id) as caught:
        workspace.webhooks.show("twin")
    assert second.id in caught.value.hint
    workspace.webhooks.delete(second.id)
    assert workspace.webhooks.show("twin").id == first.id
    with pytest.raises(NotFound, match="alone"):
        workspace.webhooks.show("alnoe")


def test_a_name_is_given_once(workspace, receiver, store) -> None:
    first = workspace.webhooks.create("ops", receiver.url, ["*"])
    with pytest.raises(Conflict, match=first.id):
        workspace.webhooks.create("ops", receiver.url, ["*"])
    second = workspace.webhooks.create("other", receiver.url, ["*"])
    with pytest.raises(Conflict, match=first.id):
        workspace.webhooks.change(second.id, name="ops")
    assert workspace.webhooks.change("other", name="other", description="same").description == "same"
    assert [hook.name for hook in workspace.webhooks.list()] == ["other", "ops"]
    assert len(store.ledger.events(kinds=("webhook.created",))) == 2
    workspace.webhooks.delete("ops")
    assert workspace.webhooks.change("other", name="ops").id == second.id


def test_a_webhook_says_how_it_fares_and_a_delivery_can_be_skipped(here, receiver, tell, store) -> None:
    made = here.webhooks.create("ops", receiver.url, ["gate.*"])
    receiver.answers = [500]
    for _ in range(3):
        tell("gate.failed", "model:shop@1", GATE)
    sender = Sender(store, Reach(private=True))
    sender.look()
    shown = here.webhooks.show("ops")
    assert (shown.waiting, shown.failed, shown.delivered_at) == (3, 0, None)
    assert shown.error == "The answer has status 500."
    assert shown.next_at is not None
    head = here.webhooks.deliveries("ops", state="waiting")[-1]
    assert here.webhooks.skip("ops", head.id).state == "dropped"
    with pytest.raises(Conflict, match="waits no more"):
        here.webhooks.skip("ops", head.id)
    sender.look()
    shown = here.webhooks.show("ops")
    assert (shown.waiting, len(receiver.requests)) == (0, 3)
    assert shown.delivered_at is not None
    assert [delivery.state for delivery in here.webhooks.deliveries("ops")] == ["delivered", "delivered", "dropped"]
    assert here.webhooks.redeliver("ops", head.id).state == "waiting"
    sender.look()
    assert here.webhooks.delivery("ops", head.id).state == "delivered"
    here.webhooks.delete("ops")
    assert len(here.webhooks.deliveries(made.id)) == 3
    kinds = [event.kind for event in store.ledger.events(subject=f"webhook:{made.id}")]
    assert kinds == ["webhook.created", "webhook.skipped", "webhook.retried", "webhook.deleted"]


def test_a_made_up_event_says_what_it_is_and_what_came_of_it(workspace, receiver, store) -> None:
    workspace.webhooks.create("ops", receiver.url, ["gate.*", "job.finished"])
    trial = workspace.webhooks.test("ops")
    assert (trial.delivered, trial.event, trial.status, trial.answer) == (True, "gate.failed", 200, "thanks")
    [body] = receiver.bodies
    assert (body["type"], body["interlockexample"], set(body["data"])) == ("gate.failed", True, {*GATE})
    receiver.answers = [503]
    trial = workspace.webhooks.test("ops", "alarm.raised")
    assert (trial.delivered, trial.status, trial.error) == (False, 503, "The answer has status 503.")
    with pytest.raises(Invalid):
        workspace.webhooks.test("ops", "nothing")
    tested = store.ledger.events(kinds=("webhook.tested",))
    assert [event.data["status"] for event in tested] == [200, 503]
    assert workspace.webhooks.deliveries("ops") == []


def test_changes_that_two_make_at_once_are_both_kept(store, receiver) -> None:
    """The slower one looked at the webhook before the quicker one wrote."""
    looked, wrote = threading.Event(), threading.Event()

    class Slow(Reach, frozen=True):
        def target(self, url: str) -> Any:
            looked.set()
            wrote.wait(10)
            return super().target(url)

    quick, slow = WebhookBook(store, Reach(private=True)), WebhookBook(store, Slow(private=True))
    made = quick.create(Wanted("ops", receiver.url, ("alarm.raised",), "old"), "events")
    other = "http://127.0.0.1:9/other"
    thread = threading.Thread(target=lambda: slow.change(made.id, url=other))
    thread.start()
    looked.wait(10)
    quick.change(made.id, description="new", events=("gate.*",), secret="hush", status="DISABLED")
    wrote.set()
    thread.join()
    found = quick.get(made.id)
    assert (found.url, found.description, found.events) == (other, "new", ("gate.*",))
    assert (found.signed, found.status) == (True, "DISABLED")
    changes = [event.data["changes"] for event in store.ledger.events(kinds=("webhook.changed",))]
    assert [set(change) for change in changes] == [{"description", "events", "secret", "status"}, {"host"}]


def test_a_change_to_a_webhook_that_goes_meanwhile_is_refused(store, receiver) -> None:
    looked, gone = threading.Event(), threading.Event()

    class Slow(Reach, frozen=True):
        def target(self, url: str) -> Any:
            looked.set()
            gone.wait(10)
            return super().target(url)

    quick, slow = WebhookBook(store, Reach(private=True)), WebhookBook(store, Slow(private=True))
    made, errors = quick.create(Wanted("ops", receiver.url, ("alarm.raised",)), "events"), []

    def change() -> None:
        try:
            slow.change(made.id, url=receiver.url)
        except NotFound as error:
            errors.append(error)

    thread = threading.Thread(target=change)
    thread.start()
    looked.wait(10)
    quick.delete(made.id)
    gone.set()
    thread.join()
    assert len(errors) == 1
    row = store.database.one("SELECT url, secret FROM webhooks")
    assert (row["url"], row["secret"]) == ("", None)


def test_what_changes_nothing_writes_nothing(here, receiver, store) -> None:
    here.webhooks.create("ops", receiver.url, ["gate.*"])
    size = store.ledger.size()
    here.webhooks.change("ops", url=receiver.url, events=["gate.*"], secret="")
    here.webhooks.enable("ops")
    assert store.ledger.size() == size


def test_operations_of_a_server_that_others_reach_go_no_further_than_it(here, store, receiver, monkeypatch) -> None:
    monkeypatch.delenv("INTERLOCK_WEBHOOKS_PRIVATE", raising=False)
    made = here.webhooks.create("ops", receiver.url, ["*"])
    create_app(here, access=Access(loopback=False))
    assert not reach_of(store).private
    with pytest.raises(Invalid, match="webhooks_private"):
        here.webhooks.create("other", receiver.url, ["*"])
    with pytest.raises(Invalid, match="webhooks_private"):
        here.webhooks.change("ops", url=receiver.url + "/x")
    assert not here.webhooks.test(made.id).delivered
    assert receiver.requests == []
    serve(store, Reach(private=True))
    assert here.webhooks.test(made.id).delivered


def test_mlflows_door_shows_mlflows_webhooks_only(here, receiver) -> None:
    import httpx

    events = here.webhooks.create("ours", receiver.url, ["alarm.raised"])
    theirs = here.webhooks.create("theirs", receiver.url, ["prompt.created"], face="mlflow")
    assert {webhook.face for webhook in here.webhooks.list()} == {"events", "mlflow"}
    with serving(here) as address, httpx.Client(base_url=f"{address}/api/2.0/mlflow") as http:
        assert [found["webhook_id"] for found in http.get("/webhooks").json()["webhooks"]] == [theirs.id]
        assert http.get(f"/webhooks/{theirs.id}").status_code == 200
        ours = f"/webhooks/{events.id}"
        for answer in (
            http.get(ours),
            http.patch(ours, json={}),
            http.delete(ours),
            http.post(f"{ours}/test", json={}),
        ):
            assert answer.json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"


def test_the_command_line_shows_tables(store, receiver, tell, capsys, tmp_path: Path) -> None:
    def told(*words: str) -> str:
        assert run(["webhooks", *words, "--workspace", str(store.project)]) == 0
        return capsys.readouterr().out

    (store.project / "interlock.toml").write_text('[project]\nname = "p"\n')
    assert told("create", "ops", receiver.url, "gate.*", "alarm.raised", "--secret", "hush").count("hush") == 0
    tell("gate.failed", "model:shop@1", GATE)
    Sender(store, Reach(private=True)).look()
    head, _, row = told("list").splitlines()
    assert head.split()[:4] == ["name", "face", "events", "url"]
    assert row.split()[:2] == ["ops", "events"]
    head, _, row = told("deliveries", "ops").splitlines()
    assert "gate.failed" in row
    assert "delivered" in row
    ident = row.split()[0]
    assert "took_s" in told("delivery", "ops", ident, "--json")
    assert json.loads(told("test", "ops", "--json"))["delivered"] is True
    receiver.answers = [503]
    assert run(["webhooks", "test", "ops", "--workspace", str(store.project)]) == 8
    assert "The answer has status 503." in capsys.readouterr().out
    told("delete", "ops")
    assert told("list") == "none\n"


def test_every_operation_says_what_it_needs() -> None:
    from interlock.core.operations import Permission, operations

    found = operations(WebhookService)
    reads = {name for name, operation in found.items() if operation.permission is Permission.WEBHOOKS_READ}
    assert reads == {"list", "show", "deliveries", "delivery"}
    assert {operation.permission for operation in found.values()} == {
        Permission.WEBHOOKS_READ,
        Permission.WEBHOOKS_WRITE,
    }
    assert inspect.getdoc(WebhookService)

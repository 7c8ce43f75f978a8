from __future__ import annotations

import threading

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.bridges.webhooks import History, Reach, Sender
from interlock.bridges.webhooks.book import Wanted
from interlock.bridges.webhooks.outbox import GIVE_UP_S, KEEP_S, PAUSES_S, Outbox, read_place
from interlock.core.errors import Conflict, Invalid, NotFound

EVERY = ("registered_model.created", "model_version_tag.set", "model_version_alias.created")


def states(history: History, webhook: str) -> list[str]:
    return [delivery.state for delivery in history.deliveries(webhook)]


def test_what_happens_after_the_webhook_was_made_is_told_once(history, hook, sender, receiver, make_model) -> None:
    make_model("before")
    webhook = hook()
    make_model("after", description="d", tags={"a": "b"})
    assert sender.look() == 1
    assert sender.look() == 0
    assert [body["data"] for body in receiver.bodies] == [{"name": "after", "tags": {"a": "b"}, "description": "d"}]
    assert receiver.bodies[0]["timestamp"] == "2026-01-01T00:00:00+00:00"
    [delivery] = history.deliveries(webhook.id)
    assert (delivery.state, delivery.attempts, delivery.status, delivery.error) == ("delivered", 1, 200, "")
    assert receiver.requests[0][1]["x-mlflow-delivery-id"] == delivery.id
    assert [attempt.status for attempt in history.delivery(webhook.id, delivery.id).history] == [200]


def test_only_what_was_asked_for_is_told(hook, sender, receiver, make_model) -> None:
    hook("model_version.created")
    make_model("m")
    assert sender.look() == 0
    assert receiver.requests == []


def test_a_failure_is_tried_again_under_its_id_with_growing_pauses(
    history, hook, sender, receiver, make_model, later
) -> None:
    webhook = hook()
    make_model("m")
    receiver.answers = [500] * len(PAUSES_S)
    for number, pause in enumerate(PAUSES_S, 1):
        assert sender.look() == 1
        [delivery] = history.deliveries(webhook.id)
        assert (delivery.state, delivery.attempts, delivery.status) == ("waiting", number, 500)
        later(pause - 0.001)
        assert sender.look() == 0
        later(0.001)
    assert sender.look() == 1
    assert states(history, webhook.id) == ["delivered"]
    assert len({headers["x-mlflow-delivery-id"] for _, headers, _ in receiver.requests}) == 1
    assert len({body for _, _, body in receiver.requests}) == 1
    times = [int(headers["x-mlflow-timestamp"]) for _, headers, _ in receiver.requests]
    assert times == sorted(set(times))


def test_order_is_kept_behind_a_failure(hook, sender, receiver, make_model, later) -> None:
    hook()
    for name in ("a", "b", "c"):
        make_model(name)
    receiver.answers = [503]
    assert sender.look() == 1
    assert sender.look() == 0
    later(PAUSES_S[0])
    assert sender.look() == 3
    assert [body["data"]["name"] for body in receiver.bodies] == ["a", "a", "b", "c"]


def test_one_webhook_does_not_hold_up_another(history, hook, sender, receiver, make_model) -> None:
    dead = hook(url=receiver.url.replace("/hook", "/dead"))
    alive = hook()
    make_model("a")
    make_model("b")
    receiver.answers = [500]
    sender.look()
    assert states(history, dead.id) == ["waiting", "waiting"]
    assert states(history, alive.id) == ["delivered", "delivered"]


def test_after_a_day_a_delivery_is_given_up_and_seen(
    history, hook, sender, receiver, make_model, later, caplog
) -> None:
    webhook = hook()
    make_model("a")
    receiver.answers = [500, 500, 500]
    sender.look()
    later(GIVE_UP_S)
    make_model("b")
    assert sender.look() == 2
    [second, first] = history.deliveries(webhook.id)
    assert (first.state, first.attempts, first.error) == ("failed", 2, "The answer has status 500.")
    assert (second.state, second.attempts) == ("waiting", 1)
    assert history.deliveries(webhook.id, "failed") == [first]
    assert first.id in caplog.text


def test_an_old_delivery_is_tried_at_least_once(book, history, hook, sender, receiver, make_model, later) -> None:
    webhook = hook()
    make_model("a")
    Outbox(book._store).follow()
    later(GIVE_UP_S * 2)
    sender.look()
    assert states(history, webhook.id) == ["delivered"]


@pytest.mark.parametrize(("status", "attempts"), [(410, 1), (400, 5), (422, 5)])
def test_what_will_never_be_taken_does_not_hold_up_the_rest(
    history, hook, sender, receiver, make_model, later, status, attempts
) -> None:
    webhook = hook()
    make_model("a")
    receiver.answers = [status] * attempts
    for _ in range(attempts):
        sender.look()
        later(max(PAUSES_S))
    assert states(history, webhook.id) == ["failed"]
    assert len(receiver.requests) == attempts


def test_a_receiver_may_ask_for_a_pause_of_up_to_an_hour(hook, sender, receiver, make_model, later) -> None:
    hook()
    make_model("a")
    receiver.answers, receiver.headers = [429], {"Retry-After": "999999"}
    sender.look()
    later(3599)
    assert sender.look() == 0
    later(1)
    assert sender.look() == 1


def test_a_change_is_used_at_once_and_for_what_waits(book, hook, sender, receiver, make_model) -> None:
    webhook = hook(url=receiver.url.replace("/hook", "/old"), secret="one")
    make_model("a")
    receiver.answers = [404]
    sender.look()
    book.change(webhook.id, url=receiver.url, secret="")
    assert sender.look() == 1
    assert [path.partition("?")[0] for path, _, _ in receiver.requests] == ["/old", "/hook"]
    assert ["x-mlflow-signature" in headers for _, headers, _ in receiver.requests] == [True, False]


def test_a_disabled_webhook_keeps_what_waits_and_is_told_nothing_new(book, hook, sender, receiver, make_model) -> None:
    webhook = hook()
    make_model("waits")
    book.change(webhook.id, status="DISABLED")
    make_model("meanwhile")
    assert sender.look() == 0
    book.change(webhook.id, status="ACTIVE")
    make_model("then")
    sender.look()
    assert [body["data"]["name"] for body in receiver.bodies] == ["waits", "then"]


def test_deleting_drops_what_waits_and_keeps_the_history(
    book, history, hook, sender, receiver, make_model, store
) -> None:
    webhook = hook(secret="hush")
    make_model("a")
    sender.look()
    make_model("b")
    Outbox(store).follow()
    book.delete(webhook.id)
    assert sender.look() == 0
    assert states(history, webhook.id) == ["dropped", "delivered"]
    row = store.database.one("SELECT url, secret FROM webhooks")
    assert (row["url"], row["secret"]) == ("", None)
    for call in (book.get, book.delete, lambda ident: book.change(ident, name="n")):
        with pytest.raises(NotFound):
            call(webhook.id)
    assert book.page(10) == []


def test_a_delivery_can_be_sent_again(history, hook, sender, receiver, make_model) -> None:
    webhook = hook()
    make_model("a")
    sender.look()
    [first] = history.deliveries(webhook.id)
    assert history.again(webhook.id, first.id).state == "waiting"
    with pytest.raises(Conflict, match="waits already"):
        history.again(webhook.id, first.id)
    sender.look()
    assert [headers["x-mlflow-delivery-id"] for _, headers, _ in receiver.requests] == [first.id] * 2
    assert len(history.delivery(webhook.id, first.id).history) == 2
    with pytest.raises(NotFound):
        history.again(webhook.id, "nothing")


def test_the_data_of_an_erased_event_are_not_sent_nor_kept(history, hook, sender, receiver, make_model, store) -> None:
    webhook = hook()
    make_model("sent", description="a person's name")
    sender.look()
    make_model("waits", description="a person's name")
    Outbox(store).follow()
    for delivery in history.deliveries(webhook.id):
        store.database.write(lambda tx, index=delivery.event: store.ledger.erase(tx, index, "asked"))
    sender.look()
    assert len(receiver.requests) == 1
    assert states(history, webhook.id) == ["dropped", "delivered"]
    assert [row["body"] for row in store.database.all("SELECT body FROM webhook_deliveries")] == [b"", b""]
    with pytest.raises(Conflict, match="erased"):
        history.again(webhook.id, history.deliveries(webhook.id)[0].id)


def test_history_is_forgotten_after_a_month(history, hook, sender, make_model, later, store) -> None:
    webhook = hook()
    make_model("a")
    sender.look()
    later(KEEP_S - 1)
    Outbox(store).trim()
    assert len(history.deliveries(webhook.id)) == 1
    later(2)
    Outbox(store).trim()
    assert history.deliveries(webhook.id) == []
    assert store.database.one("SELECT count(*) AS n FROM webhook_attempts")["n"] == 0


def test_the_ledgers_own_events_as_cloudevents(hook, sender, receiver, make_model, store) -> None:
    hook("model.created", face="events", secret="s")
    make_model("m")
    sender.look()
    [(_, headers, body)] = receiver.requests
    event = store.ledger.events(kinds=("model.created",))[0]
    assert headers["content-type"] == "application/cloudevents+json"
    assert {"webhook-id", "webhook-timestamp", "webhook-signature"} <= set(headers)
    plain = msgspec.json.decode(body)
    assert (plain["specversion"], plain["type"], plain["subject"]) == ("1.0", "model.created", "model:m")
    assert (plain["id"], plain["data"], plain["interlockactor"]) == (str(event.index), event.data, event.actor)


def test_secrets_rest_sealed_and_bound_to_their_webhook(
    book, history, hook, store, sender, receiver, make_model
) -> None:
    webhook, other = hook(secret="correct horse"), hook(secret="other")
    raw = store.database.path.read_bytes() + store.database.path.with_name("interlock.db-wal").read_bytes()
    assert b"correct horse" not in raw
    assert (store.root / "keys" / "webhooks.key").stat().st_mode & 0o077 == 0
    assert "correct" not in repr(book.get(webhook.id))
    rows = {row["id"]: row["secret"] for row in store.database.all("SELECT id, secret FROM webhooks")}

    def swap(tx) -> None:
        tx.run("UPDATE webhooks SET secret = :s WHERE id = :id", {"s": rows[other.id], "id": webhook.id})

    store.database.write(swap)
    book.delete(other.id)
    make_model("m")
    sender.look()
    assert receiver.requests == []  # rather nothing than an unsigned or wrongly signed request
    assert "webhooks.key" in history.deliveries(webhook.id)[0].error


def test_the_ledger_knows_of_webhooks_but_not_their_secrets(book, hook, store) -> None:
    webhook = hook(secret="hush")
    book.change(webhook.id, name="other", url="http://127.0.0.1:9/path?token=t", secret="hush hush")
    book.delete(webhook.id)
    events = store.ledger.events(subject=f"webhook:{webhook.id}")
    assert [event.kind for event in events] == ["webhook.created", "webhook.changed", "webhook.deleted"]
    assert events[1].data == {"changes": {"name": "other", "host": "http://127.0.0.1:9", "secret": "set"}}
    assert all("hush" not in str(event.data) and "token" not in str(event.data) for event in events)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "-a"},
        {"name": "a" * 64},
        {"name": "a b"},
        {"events": ()},
        {"events": ("model.created",)},
        {"events": ("nothing",)},
        {"status": "MAYBE"},
        {"url": "ftp://example.com"},
        {"url": "http://169.254.169.254/"},
        {"secret": "s" * 1001},
        {"description": "d" * 5001},
    ],
)
def test_wrong_wishes_change_nothing(book, store, wrong) -> None:
    values = {"name": "n", "url": "http://127.0.0.1:9/", "events": ("registered_model.created",), **wrong}
    with pytest.raises(Invalid):
        book.create(Wanted(**values))
    assert book.page(10) == []
    assert store.ledger.size() == 0


def test_pages_come_newest_first(book, hook, later) -> None:
    made = []
    for number in range(5):
        made.insert(0, hook(name=f"n{number}").id)
        later(number % 2)  # some in the same instant
    first = book.page(2)
    at = int(first[-1].created_at.timestamp() * 1_000_000)
    rest = book.page(10, (at, first[-1].id))
    assert [webhook.id for webhook in [*first, *rest]] == made


def test_two_readers_of_the_ledger_write_each_delivery_once(history, hook, store, make_model) -> None:
    webhook = hook()
    for number in range(20):
        make_model(f"m{number}")
    boxes = [Outbox(store) for _ in range(4)]
    threads = [threading.Thread(target=box.follow) for box in boxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = history.deliveries(webhook.id)
    assert len(found) == 20
    assert sorted(delivery.number for delivery in found) == list(range(20))


@pytest.mark.parametrize("meanwhile", ["read", "deleted"])
def test_what_changed_while_the_ledger_was_read_counts(book, history, hook, store, make_model, meanwhile) -> None:
    webhook, box = hook(), Outbox(store)
    make_model("m")
    real, once = box._rows, []

    def slow(webhooks, event):
        rows = real(webhooks, event)
        if not once:
            once.append(True)
            Outbox(store).follow() if meanwhile == "read" else book.delete(webhook.id)
        return rows

    box._rows = slow
    box.follow()
    assert states(history, webhook.id) == (["waiting"] if meanwhile == "read" else [])


def test_the_cursor_is_not_written_where_nothing_is_to_be_sent(store, make_model) -> None:
    make_model("m")
    before = read_place(store.database)
    assert Outbox(store).follow() == 0
    assert read_place(store.database) == before
    Outbox(store).follow(settle=True)
    assert read_place(store.database).next_idx == store.ledger.size()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["model", "follow", "lost", "look", "fail", "wait", "new"]), max_size=14))
def test_whatever_breaks_off_when_all_is_told_in_order(steps, book, hook, receiver, make_model, later, store) -> None:
    """`lost`: a request was taken, but we died before we could write that down. `new`: another process takes over."""
    hook_id = hook().id
    sender, names = Sender(store, Reach(private=True)), []
    receiver.requests.clear()
    receiver.answers = []
    for step in steps:
        if step == "model":
            names.append(f"m{store.ledger.size()}")
            make_model(names[-1])
        elif step == "follow":
            Outbox(store).follow()
        elif step == "lost":
            Outbox(store).follow()
            for row in sender._due():
                from interlock.bridges.webhooks.book import send

                send(store, Reach(private=True), row)
        elif step == "look":
            sender.look()
        elif step == "fail":
            receiver.answers = [500]
        elif step == "wait":
            later(PAUSES_S[2])
        else:
            sender = Sender(store, Reach(private=True))
    receiver.answers = []
    for _ in range(3):
        later(max(PAUSES_S))
        sender.look()
    book.delete(hook_id)
    told = list(dict.fromkeys(body["data"]["name"] for body in receiver.bodies))
    assert told == names
    ids = {
        body["data"]["name"]: headers["x-mlflow-delivery-id"]
        for body, (_, headers, _) in zip(receiver.bodies, receiver.requests, strict=True)
    }
    assert len(set(ids.values())) == len(names)

"""Labels: each once, every correction kept, the newest counts, whatever order and how often they come."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.core.actor import acting_as
from interlock.core.clock import FixedClock
from interlock.core.errors import Conflict
from interlock.core.ids import new_id
from interlock.store import Store, create_store
from interlock.store.label_times import DAY, parse_case, parse_observed
from interlock.store.label_truths import Class, Number, Truth, shown, truth_of
from interlock.store.labels import Body, Label, Labels, Taken, digest_of
from interlock.store.predictions import Prediction, PredictionWriter

A, B = "prediction:01ARZ3NDEKTSV4RRFFQ69G5FAV", "subject:p1"
names = (f"d{number}" for number in itertools.count())


@pytest.fixture
def book(store: Store) -> Labels:
    return Labels(store)


def send(book: Labels, *labels: Label, key: str = "", deployment: str = "d", **changes: object) -> Taken:
    placed = [Label(x.about, x.label, x.observed_at, x.since, x.until, x.label_id, n) for n, x in enumerate(labels)]
    return book.take(Body(deployment, placed, key, **changes), lambda _tx, _taken: None)  # type: ignore[arg-type]


def truths(book: Labels, deployment: str) -> dict[tuple[str, int, int], Truth]:
    return {(r["about"], r["since"], r["until"]): truth_of(r) for r in book.current(deployment, "", "~")}


def test_the_same_label_is_one_and_another_value_corrects_it(store: Store, book: Labels) -> None:
    with acting_as("user:ann"):
        assert send(book, Label(A, 1)).answer == "a"
    with acting_as("user:bob"):
        assert send(book, Label(A, 0)).answer == "c"
    assert send(book, Label(A, 1)).answer == "d"  # a retry that comes late does not undo the correction
    said = book.said(A)
    assert [(x.label, x.counts, x.actor) for x in said] == [(1, False, "user:ann"), (0, True, "user:bob")]
    assert said[0].received_at <= said[1].received_at
    assert truths(book, "d") == {(A, *_always()): 0}


def _always() -> tuple[int, int]:
    label = Label(A, 1)
    return label.since, label.until


def test_what_was_observed_last_counts_whenever_it_comes(book: Labels) -> None:
    assert send(book, Label(A, 1, 2000)).answer == "a"
    assert send(book, Label(A, 0, 1000)).answer == "s"
    assert send(book, Label(A, 0, 2000)).answer == "c"  # at the same instant the one received last
    assert send(book, Label(A, 1, 2000)).answer == "d"
    assert [x.counts for x in book.said(A)] == [False, False, True]


def test_an_id_says_again_what_is_meant_anew(book: Labels) -> None:
    assert send(book, Label(A, 1), Label(A, 0)).answer == "ac"
    assert send(book, Label(A, 1, label_id="x")).answer == "c"
    assert send(book, Label(A, 1, label_id="x"), Label(A, 0, label_id="x")).answer == "di"
    assert send(book, Label(B, 0, label_id="x"), deployment="other").answer == "a"
    assert truths(book, "d") == {(A, *_always()): 1}


def test_a_body_with_a_key_is_taken_once_and_answered_again(book: Labels) -> None:
    first = send(book, Label(A, 1), Label(A, 1), Label(B, 0), key="k1")
    assert (first.answer, first.kept, first.replayed) == ("ada", 2, False)
    send(book, Label(A, 0), key="k2")
    again = send(book, Label(A, 1), Label(A, 1), Label(B, 0), key="k1")
    assert (again.answer, again.replayed) == ("ada", True)
    assert truths(book, "d")[A, *_always()] == 0
    assert send(book, Label(A, 1), key="k3").answer == "c"  # a new key means it
    with pytest.raises(Conflict, match="used for other labels"):
        send(book, Label(A, 0), key="k1")


def test_predictions_of_others_are_refused_and_unknown_ones_kept(book: Labels) -> None:
    mine, theirs, nobody = (new_id() for _ in range(3))
    owners = {mine: "d", theirs: "e"}
    labels = [Label(f"prediction:{x}", 1) for x in (mine, theirs, nobody)]
    taken = send(book, *labels, owners=owners)
    assert (taken.answer, taken.counts["refused"], taken.counts["unknown_prediction"]) == ("aou", 1, 1)
    assert send(book, *labels, owners=owners).answer == "dod"
    assert len(truths(book, "d")) == 2


def test_each_case_of_a_subject_has_a_truth_of_its_own(book: Labels) -> None:
    march, april = parse_case("2026-03-01"), parse_case("2026-04-01T00:00:00Z/2026-05-01")
    assert send(book, Label(B, 1, None, *march), Label(B, 0, None, *april)).answer == "aa"
    assert send(book, Label(B, 0, None, *march)).answer == "c"
    assert truths(book, "d") == {(B, *march): 0, (B, *april): 0}


def test_a_clock_that_is_set_back_does_not_turn_the_order_round(tmp_path: Path) -> None:
    clock = FixedClock(datetime(2026, 3, 1, tzinfo=UTC))
    store = create_store(tmp_path / ".interlock", clock)
    book = Labels(store)
    send(book, Label(A, 1))
    clock.at -= timedelta(days=1)
    assert send(book, Label(A, 0)).answer == "c"
    store.close()


def test_what_is_refused_in_the_middle_changes_nothing(store: Store, book: Labels) -> None:
    def fails(_tx: object, _taken: Taken) -> None:
        raise RuntimeError("no")

    send(book, Label(A, 1))
    with pytest.raises(RuntimeError):
        book.take(Body("d", [Label(A, 0)], "k"), fails)
    assert [(x.label, x.counts) for x in book.said(A)] == [(1, True)]
    assert store.database.one("SELECT COUNT(*) AS n FROM label_bodies") == {"n": 1}


truth = st.one_of(  # few of each, so that the same comes again
    st.integers(0, 1),
    st.sampled_from([0.0, 1.0, 0.1, -1e308, 5e-324]).map(Number),
    st.sampled_from([0, 1, 2, "1", "2", "", "\u00e9\x00"]).map(Class),
)
THINGS = [(A, *_always()), (B, *_always()), (B, 5, 9)]
dated = st.lists(st.tuples(st.sampled_from(THINGS), st.integers(1, 12)), min_size=1, max_size=10, unique=True).flatmap(
    lambda keys: st.tuples(
        *(
            st.builds(
                lambda label, named, key=key: Label(
                    key[0][0], label, key[1], *key[0][1:], f"{THINGS.index(key[0])}-{key[1]}" if named else ""
                ),
                truth,
                st.booleans(),
            )
            for key in keys
        )
    )
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=dated, data=st.data())
def test_any_order_and_any_repetition_ends_in_the_same_labels(
    book: Labels, messages: tuple[Label, ...], data: st.DataObject
) -> None:
    name = next(names)
    again = data.draw(st.lists(st.sampled_from(messages), max_size=12))
    sent = data.draw(st.permutations([*messages, *again]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=4)))
    kept = 0
    for start, end in itertools.pairwise([0, *cuts, len(sent)]):
        key = data.draw(st.sampled_from(["", f"key {start} {end}"]))
        bodies = data.draw(st.integers(1, 3))  # an answer was lost: the same body again
        taken = [send(book, *sent[start:end], deployment=name, key=key) for _ in range(bodies)]
        kept += taken[0].kept
        assert all(more.replayed or more.kept == 0 for more in taken[1:])
    wanted: dict[tuple[str, int, int], Label] = {}
    for label in sorted(messages, key=lambda label: label.observed_at or 0):
        wanted[label.about, label.since, label.until] = label
    assert truths(book, name) == {key: label.label for key, label in wanted.items()}
    assert kept == len(messages)
    assert sum(x.deployment == name for about in (A, B) for x in book.said(about)) == len(messages)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pair=st.lists(truth, min_size=2, max_size=2, unique=True), late=st.lists(st.integers(0, 3), max_size=12))
def test_retries_of_labels_without_an_instant_undo_nothing(book: Labels, pair: list[Truth], late: list[int]) -> None:
    """Four labels in their order, each retried at any later moment, are four labels, and the fourth counts."""
    name = next(names)
    first, second = pair
    labels = [Label(A, first), Label(A, second), Label(A, first, label_id="2"), Label(A, second, label_id="3")]
    for number, label in enumerate(labels):
        send(book, label, deployment=name)
        for earlier in late:
            if earlier <= number:
                assert send(book, labels[earlier], deployment=name).answer == "d"
    found = [x for x in book.said(A) if x.deployment == name]
    assert [x.label for x in found] == [shown(label.label) for label in labels]
    assert [x.counts for x in found] == [False, False, False, True]


def test_owners_are_found_in_logs_and_parquet_by_the_time_in_their_ids(store: Store) -> None:
    made = [_prediction(deployment) for deployment in ("a", "b") * 20]
    for part in (made[:20], made[20:]):
        writer = PredictionWriter(store.predictions.folder)
        writer.append(part).result(10)
        writer.close()
        store.predictions.compact() if part[0] is made[0] else None
    known = {row.id: row.deployment for row in made}
    log = store.predictions
    assert log.owners([*known, new_id()]) == known
    assert log.owners({made[0].id, made[-1].id, new_id()}) == {made[0].id: "a", made[-1].id: "b"}
    assert log.owners([new_id()]) == log.owners([]) == {}


def _prediction(deployment: str) -> Prediction:
    return Prediction(
        id=new_id(),
        at=1,
        occurred_at=1,
        deployment=deployment,
        model="model:m@1",
        bundle="b",
        revision=1,
        request_id="r",
        row=0,
        subject="p1",
        inputs={"x": 1},
        score=0.5,
        label=1,
        route="champion",
    )


@pytest.mark.parametrize(
    "text", ["", "soon", "2026-13-01", "2026-03-02/2026-03-01", "/", "2026-03-01/", "0001-01-01T00:00+09:00"]
)
def test_what_is_no_case_time(text: str) -> None:
    with pytest.raises(ValueError, match=".*"):
        parse_case(text)


def test_case_times() -> None:
    day = parse_observed("2026-03-01")
    assert parse_case("2026-03-01") == (day, day + DAY - 1)
    assert parse_case("2026-03-01T00:00:00Z") == (day, day)
    assert parse_case("2026-03-01/2026-03-02") == (day, day + DAY - 1)


def test_a_digest_is_of_all_that_was_said() -> None:
    assert digest_of([Label(A, 1)]) != digest_of([Label(A, 0)]) != digest_of([Label(A, 0), Label(A, 0)])
    truths = (1, Number(1.0), Class(1), Class("1"))
    assert len({digest_of([Label(A, one)]) for one in truths}) == len(truths)


def test_a_digest_of_two_classes_is_the_one_of_earlier_versions() -> None:
    """Else a body that was sent before an update, and again after it, would be refused."""
    body = [Label(A, 1, 5, label_id="x"), Label(B, 0, position=1)]
    assert digest_of(body) == "b0e60cececfacff05ab67503613f197e2fde403bb773d2ad5816ec2bc22ebce6"

"""What answers say about themselves: the columns that are unlike training, strange values, one score for all."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from interlock.core.bundles import Column, Range, Serving
from interlock.core.errors import Invalid, Unavailable
from interlock.serve.guard import CONSTANT_ROWS, Guard, Warned, header_of, stale_header
from interlock.serve.model import LoadedModel, Scores

PEOPLE_SEEN = {"age": Range(18, 90), "hours": Range(10.0, 60.5), "income": Range(0.1, 60.0)}
SHOP_SEEN = {"city": Range(categories=("Lima", "Oslo")), "age": Range(18, 90)}
INSIDE = {"age": 40, "hours": 38.0, "income": 30.0}


@pytest.fixture
def people(shop):
    return LoadedModel.load(shop.store.objects, shop.bundle("people", ranges=PEOPLE_SEEN))


@pytest.fixture
def customers(shop):
    return LoadedModel.load(shop.store.objects, shop.bundle("customers", ranges=SHOP_SEEN))


def look(model, *rows, serving=None, guard=None):
    prepared = model.prepare({name: [row[name] for row in rows] for name in rows[0]})
    return (guard or Guard(model, serving or Serving())).look(prepared, model.run(prepared))


def scores(*values):
    return Scores([*values], [0] * len(values), [0] * len(values))


@pytest.mark.parametrize("count", [1, 3, 20])
def test_rows_outside_of_what_training_saw_are_counted_by_column(people, count):
    assert look(people, *[INSIDE] * count) is None
    assert look(people, *[{"age": 90, "hours": 60.5, "income": 0.1}] * count) is None  # the ends are inside
    strange = {"age": 91, "hours": 38.0, "income": 0.0}
    assert look(people, *[INSIDE] * (count - 1), strange).outside == {"age": 1, "income": 1}
    assert look(people, *[strange] * count).outside == {"age": count, "income": count}
    assert look(people, *[strange] * count, serving=Serving(out_of_range="ignore")) is None


@pytest.mark.parametrize("count", [1, 20])
def test_texts_outside_are_those_that_training_did_not_have(customers, count):
    known, strange = {"city": "Oslo", "age": 30, "spend": 1e9}, {"city": "Cairo", "age": 17, "spend": 1.0}
    assert look(customers, *[known] * count) is None
    assert look(customers, *[strange] * count).outside == {"age": count, "city": count}


@pytest.mark.parametrize("count", [1, 20])
def test_what_is_missing_is_not_outside(shop, count):
    inputs = (Column("city", "string", nulls=True), Column("age", "integer"), Column("spend", "float"))
    model = LoadedModel.load(shop.store.objects, shop.bundle("customers", inputs=inputs, ranges=SHOP_SEEN))
    prepared = model.prepare({"city": [None] * count, "age": [30] * count, "spend": [2.0] * count})
    assert Guard(model, Serving()).look(prepared, scores(*[0.5] * count)) is None
    people = LoadedModel.load(shop.store.objects, shop.bundle("people", ranges=PEOPLE_SEEN))
    for hours, outside in ((None, {}), (math.nan, {})):
        prepared = people.prepare({"age": [9] * count, "hours": [hours] * count, "income": [30.0] * count})
        found = Guard(people, Serving()).look(prepared, scores(*[0.5] * count))
        assert found.outside == {"age": count, **outside}


@given(st.lists(st.floats(-50, 150, width=64), min_size=1, max_size=30), st.floats(0, 50), st.floats(50, 100))
def test_one_by_one_and_many_at_once_agree(kinds_model, values, low, high):
    model, ranges = kinds_model
    model.bundle.ranges["income"] = ranges["income"] = Range(low, high)
    guard = Guard(model, Serving())
    rows = [{"age": 40, "hours": 38.0, "income": value} for value in values]
    single = [look(model, row, guard=guard) is not None for row in rows]
    assert single == [not low <= value <= high for value in values]
    together = look(model, *rows * 9, guard=guard)  # those at an end within what 32 bits tell apart count as inside
    near = sum(not (low - 1e-5 <= value <= high + 1e-5) for value in values) * 9
    assert near <= (together.outside.get("income", 0) if together else 0) <= sum(single) * 9


@pytest.fixture(scope="module")
def kinds_model(tmp_path_factory, kinds, tools):
    shop = tools.Shop(tmp_path_factory.mktemp("g") / ".interlock", kinds)
    ranges = dict(PEOPLE_SEEN)
    yield LoadedModel.load(shop.store.objects, shop.bundle("people", ranges=ranges)), ranges
    shop.close()


def test_who_answers_only_what_training_saw_refuses_and_names_columns_not_values(people):
    with pytest.raises(Invalid, match="'age'") as caught:
        look(people, {"age": 1234, "hours": 1.0, "income": 3.0}, serving=Serving(out_of_range="block"))
    assert [(found.column, found.count) for found in caught.value.findings] == [("age", 1), ("hours", 1)]
    assert "1234" not in str(caught.value)
    assert look(people, INSIDE, serving=Serving(out_of_range="block")) is None


@pytest.mark.parametrize("many", [False, True])
def test_one_score_for_rows_that_differ_is_told_until_another_comes(people, many):
    guard, numbers = Guard(people, Serving()), random.Random(1)

    def send(count, value, differ=True):
        rows = [{**INSIDE, "income": numbers.uniform(1, 59)} if differ else INSIDE for _ in range(count)]
        found = None
        for part in [rows] if many else [[row] for row in rows]:
            prepared = people.prepare({name: [row[name] for row in part] for name in INSIDE})
            found = guard.look(prepared, scores(*[value] * len(part)))
        return found

    assert send(CONSTANT_ROWS + 100, 0.25, differ=False) is None  # the same question has the same answer
    assert send(CONSTANT_ROWS + 100, 0.25).constant
    assert send(1, 0.25).kinds == ["constant-output"]
    assert send(2, 0.5) is None
    assert not guard.constant
    assert send(CONSTANT_ROWS - 5, 0.5) is None


def test_texts_count_as_different_rows_too(customers):
    guard = Guard(customers, Serving(out_of_range="ignore"))
    for number in range(CONSTANT_ROWS + 8):
        prepared = customers.prepare({"city": [f"place {number}"], "age": [30], "spend": [1.0]})
        found = guard.look(prepared, scores(0.5))
    assert found.constant


def test_values_far_from_all_that_were_seen_are_told_or_held_back(people):
    model = people
    model.bundle = replace(model.bundle, task="regression", classes=(), answers=Range(10.0, 20.0))
    prepared = model.prepare({name: [value] * 3 for name, value in INSIDE.items()})
    assert Guard(model, Serving()).look(prepared, scores(5.0, 25.0, 12.0)) is None  # half the span is room
    assert Guard(model, Serving()).look(prepared, scores(4.9, 25.1, 12.0)).unusual == 2
    with pytest.raises(Unavailable, match="far from every value"):
        Guard(model, Serving(out_of_range="block")).look(prepared, scores(4.9, 25.1, 12.0))


@pytest.mark.parametrize(("age", "given"), [(121, 1.1), (49, None)])
def test_scores_that_are_no_probabilities_are_given_only_where_that_is_said(shop, age, given):
    model = LoadedModel.load(shop.store.objects, shop.bundle("roots"))
    row = {"age": age, "hours": 1.0, "income": 1.0}
    prepared = model.prepare({name: [value] for name, value in row.items()})
    assert Guard(model, Serving(garbage="block")).as_is(prepared) is None
    guard = Guard(model, Serving(garbage="flag"))
    found = guard.as_is(prepared)
    assert found.labels == [1]
    assert found.scores[0] == pytest.approx(given or 0.7)
    assert found.codes == [1]
    warned = guard.look(prepared, found)
    assert (warned.kinds if warned else None) == (["garbage-output"] if given else None)


def test_what_is_no_number_is_never_given(shop):
    model = LoadedModel.load(shop.store.objects, shop.bundle("roots"))
    prepared = model.prepare({"age": [-4], "hours": [1.0], "income": [1.0]})
    assert Guard(model, Serving(garbage="flag")).as_is(prepared) is None


def test_warnings_are_one_list_whose_columns_are_quoted():
    one, other = Warned({"age": 2, 'a"b,ü': 1}, 0, 0, True), Warned({"age": 1}, 1, 1, False)
    name, value = header_of([one, other])
    assert name == b"interlock-warning"
    assert value == b'out-of-range; columns="age,a%22b%2C%C3%BC", constant-output, unusual-output, garbage-output'
    many = Warned({f"c{i}": 1 for i in range(12)}, 0, 0, False)
    assert header_of([many])[1].endswith(b'c9"; more=2')
    assert stale_header(123.5 * 86_400) == (b"interlock-warning", b"stale-model; age-days=123")

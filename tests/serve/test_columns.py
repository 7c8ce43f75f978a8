from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.bundles import Agreement, Bundle, Column
from interlock.core.errors import Corrupt, Invalid
from interlock.serve.columns import InputColumns

TYPES = {"whole": "integer", "real": "float", "text": "string", "flag": "boolean"}
GRAPH = (
    ("whole", "tensor(int64)"),
    ("real", "tensor(float)"),
    ("text", "tensor(string)"),
    ("flag", "tensor(bool)"),
)
GOOD = {"whole": [1, 2], "real": [0.5, 3], "text": ["a", "b"], "flag": [True, False]}


def bundle(layout="columns", types=TYPES, nulls=None):
    inputs = tuple(Column(name, kind, nulls) for name, kind in types.items())
    return Bundle("f", "classification", inputs, "y", (0, 1), {}, Agreement(0, 0.0, 0.0, 0), layout)


@pytest.fixture(scope="module")
def inputs():
    return InputColumns(bundle(), GRAPH)


@pytest.fixture(scope="module")
def matrix():
    return InputColumns(bundle("matrix", {"whole": "integer", "real": "float"}), [("X", "tensor(float)")])


def test_columns_become_one_array_each_of_the_graphs_type(inputs):
    found = inputs.prepare(GOOD)
    assert found.rows == 2
    assert not found.missing
    assert {name: (a.shape, a.dtype.kind) for name, a in found.feeds.items()} == {
        "whole": ((2, 1), "i"),
        "real": ((2, 1), "f"),
        "text": ((2, 1), "O"),
        "flag": ((2, 1), "b"),
    }
    assert found.feeds["whole"].ravel().tolist() == [1, 2]
    assert found.values == [GOOD["whole"], GOOD["real"], GOOD["text"], GOOD["flag"]]


def test_a_matrix_has_the_columns_in_the_models_order(matrix):
    found = matrix.prepare({"real": [0.25, 0.5], "other": ["x", "y"], "whole": [7, 8]})
    assert found.feeds["X"].tolist() == [[7, 0.25], [8, 0.5]]
    assert found.feeds["X"].dtype == np.float32
    assert found.feeds["X"].flags.c_contiguous


@pytest.mark.parametrize(
    ("column", "values", "row", "says"),
    [
        ("whole", [1, "21"], 1, "text"),
        ("whole", [1.5, 1], 0, "fraction"),
        ("whole", [1, None], 1, "missing"),
        ("whole", [1, math.nan], 1, "missing"),
        ("whole", [True, 1], 0, "true or false"),
        ("whole", [1, [1]], 1, "list"),
        ("whole", [1, 2**63], 1, "too large"),
        ("real", ["0.5", 1.0], 0, "text"),
        ("real", [1.0, True], 1, "true or false"),
        ("real", [1.0, 1e39], 1, "too large"),
        ("real", [1.0, math.inf], 1, "too large"),
        ("real", [1.0, 10**400], 1, "too large"),
        ("text", ["a", 1], 1, "number"),
        ("text", [None, "a"], 0, "missing"),
        ("flag", [True, 1], 1, "number"),
    ],
)
def test_a_wrong_value_is_named_by_column_and_row(inputs, column, values, row, says):
    with pytest.raises(Invalid) as caught:
        inputs.prepare({**GOOD, column: values})
    found = caught.value.findings[0]
    assert (found.column, found.rows) == (column, (row,))
    assert says in found.message
    assert column in str(caught.value)


def test_a_refusal_never_repeats_the_value(inputs):
    with pytest.raises(Invalid) as caught:
        inputs.prepare({**GOOD, "whole": [1, "secret-21"]})
    assert "secret" not in str(caught.value.to_problem())


def test_a_whole_float_is_a_whole_number(inputs):
    assert inputs.prepare({**GOOD, "whole": [21.0, 2]}).values[0] == [21, 2]


@pytest.mark.parametrize("value", [None, math.nan])
@pytest.mark.parametrize("layout", ["columns", "matrix"])
def test_a_number_may_only_be_missing_where_one_was_in_training(value, layout):
    types, graph = (TYPES, GRAPH) if layout == "columns" else ({"real": "float"}, [("X", "tensor(float)")])
    rows = {**GOOD, "real": [1.0, value]}
    assert InputColumns(bundle(layout, types, True), graph).prepare(rows).missing
    with pytest.raises(
        Invalid, match=r"'real', row 1: the value is missing, and none was missing in training"
    ) as caught:
        InputColumns(bundle(layout, types, False), graph).prepare(rows)
    assert [(found.rule, found.column, found.rows) for found in caught.value.findings] == [("missing", "real", (1,))]
    with pytest.raises(Invalid, match=r"and 1 more row\)"):
        InputColumns(bundle(layout, types, False), graph).prepare({**GOOD, "real": [value, value]})


def test_a_text_may_only_be_missing_where_one_was_in_training():
    rows = {**GOOD, "text": ["a", None]}
    found = InputColumns(bundle(nulls=True), GRAPH).prepare(rows)
    assert found.feeds["text"].ravel().tolist() == ["a", ""]
    for nulls in (None, False):
        with pytest.raises(Invalid, match=r"'text', row 1: the value is missing"):
            InputColumns(bundle(nulls=nulls), GRAPH).prepare(rows)


def test_a_missing_float_is_passed_on_as_missing(inputs):
    found = inputs.prepare({**GOOD, "real": [None, 1.0]})
    assert found.missing
    assert math.isnan(found.feeds["real"][0, 0])
    assert found.values[1] == [None, 1.0]


def test_a_huge_whole_number_in_a_float_column_is_kept_as_a_float(inputs):
    found = inputs.prepare({**GOOD, "real": [2**70, 1]})
    assert found.values[1] == [float(2**70), 1.0]
    assert not found.missing


def test_a_matrix_refuses_whole_numbers_that_no_log_holds(matrix):
    with pytest.raises(Invalid, match="'whole', row 0"):
        matrix.prepare({"whole": [2**70], "real": [1.0]})


def test_a_small_graph_type_refuses_what_it_does_not_hold():
    small = InputColumns(bundle("columns", {"whole": "integer"}), [("whole", "tensor(int32)")])
    assert small.prepare({"whole": [2**31 - 1]}).feeds["whole"].tolist() == [[2**31 - 1]]
    with pytest.raises(Invalid, match="'whole', row 1"):
        small.prepare({"whole": [1, 2**31]})


def test_two_huge_numbers_do_not_hide_each_other(inputs):
    found = inputs.prepare({**GOOD, "real": [2**70, -(2**70)]})
    assert found.values[1] == [float(2**70), -float(2**70)]


def test_all_wrong_columns_are_found_at_once(inputs):
    with pytest.raises(Invalid) as caught:
        inputs.prepare({**GOOD, "whole": ["x", "y"], "flag": [0, 1]})
    assert [(f.column, f.count) for f in caught.value.findings] == [("whole", 2), ("flag", 2)]


def test_a_missing_column_is_named_with_the_nearest_that_came(inputs):
    with pytest.raises(Invalid, match=r"'whole' is missing.*'whole_'"):
        inputs.prepare({"whole_": [1], "real": [1.0], "text": ["a"], "flag": [True]})


def test_all_missing_columns_are_named_with_what_the_model_takes_not_with_what_came(inputs):
    with pytest.raises(Invalid) as caught:
        inputs.prepare({"real": [1.0], "colour": ["red"]})
    said = str(caught.value)
    assert "3 columns are missing: 'whole', 'text', 'flag'." in said
    assert "takes whole (whole numbers), real (numbers), text (text), flag (true or false)." in said
    assert "colour" not in said
    assert [found.column for found in caught.value.findings] == ["whole", "text", "flag"]


def test_columns_of_different_lengths_are_refused(inputs):
    with pytest.raises(Invalid, match="different numbers of rows"):
        inputs.prepare({**GOOD, "real": [1.0]})


def test_no_rows_are_refused(inputs):
    with pytest.raises(Invalid, match="no rows"):
        inputs.prepare({name: [] for name in TYPES})


def test_some_rows_can_be_taken(inputs):
    taken = inputs.prepare(GOOD).take([1])
    assert taken.values == [[2], [3], ["b"], [False]]
    assert taken.feeds["text"].tolist() == [["b"]]


@pytest.mark.parametrize(
    ("layout", "types", "graph"),
    [
        ("columns", TYPES, GRAPH[:3]),
        ("columns", {"text": "string"}, [("text", "tensor(float)")]),
        ("columns", {"real": "float"}, [("real", "tensor(string)")]),
        ("columns", {"real": "float"}, [("real", "tensor(complex64)")]),
        ("columns", {"real": "float"}, [("real", "tensor(int64)")]),
        ("columns", {"whole": "integer"}, [("whole", "tensor(bool)")]),
        ("matrix", {"real": "float"}, [("X", "tensor(int64)")]),
        ("matrix", {"text": "string"}, [("X", "tensor(string)")]),
        ("matrix", {"real": "float"}, [("X", "tensor(float)"), ("Y", "tensor(float)")]),
        ("matrix", {}, [("X", "tensor(float)")]),
    ],
)
def test_a_graph_that_does_not_take_the_columns_is_corrupt(layout, types, graph):
    with pytest.raises(Corrupt):
        InputColumns(bundle(layout, types), graph)


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.none(), max_size=1),
)


@given(st.fixed_dictionaries({name: st.lists(anything, min_size=2, max_size=2) for name in TYPES}))
def test_whatever_comes_is_accepted_soundly_or_refused(columns):
    inputs = InputColumns(bundle(), GRAPH)
    refusal = found = None
    try:
        found = inputs.prepare(columns)
    except Invalid as error:
        refusal = error
    if found is None:
        assert refusal.findings
    else:
        kinds = {"integer": int, "float": (int, float, type(None)), "string": str, "boolean": bool}
        for values, kind in zip(found.values, TYPES.values(), strict=True):
            assert all(isinstance(value, kinds[kind]) for value in values)
        numbers = found.feeds["real"]
        assert found.missing == bool(np.isnan(numbers).any())
        assert not np.isinf(numbers).any()


def test_typed_rows_are_prepared_as_looked_at_ones(matrix, inputs):
    rows = [(7, 0.25), (8, None), (9, -1e300)]
    for some in (rows[:1], rows[:2]):
        typed, looked = (
            matrix.typed(some),
            matrix.prepare(dict(zip(("whole", "real"), zip(*some, strict=True), strict=True))),
        )
        assert np.array_equal(typed.feeds["X"], looked.feeds["X"], equal_nan=True)
        assert [list(column) for column in typed.values] == [list(column) for column in looked.values]
    for wrong in (rows, [(10**400, 1.0)], [(2**70, 1.0)]):
        with pytest.raises(Invalid, match="too large"):
            matrix.typed(wrong)
    found = inputs.typed([(1, 0.5, "a", True), (2, 3.0, "b", False)])
    assert [list(column) for column in found.values] == [[1, 2], [0.5, 3.0], ["a", "b"], [True, False]]


def test_many_floats_are_kept_as_bytes_and_come_back():
    floats = InputColumns(bundle("matrix", {"a": "float", "b": "float"}), [("X", "tensor(float)")])
    rows = [(number / 7, -number / 3) for number in range(100)]
    kept = floats.typed(rows).kept()
    assert [np.frombuffer(column, "<f8").tolist() for column in kept] == [
        list(column) for column in zip(*rows, strict=True)
    ]
    assert [list(column) for column in floats.typed(rows[:3]).kept()] == [
        list(column) for column in zip(*rows[:3], strict=True)
    ]

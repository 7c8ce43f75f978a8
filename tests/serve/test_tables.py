"""A model over tables against the same model over lists: the same numbers to the bit, the same refusals."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.bundles import Column
from interlock.core.errors import Invalid, Unavailable
from interlock.serve.model import LoadedModel
from interlock.serve.table_columns import cast_text, fit
from interlock.serve.tables import TableModel

ROWS = 100_000
NULLS = (Column("city", "string", nulls=True), Column("age", "integer"), Column("spend", "float", nulls=True))


@pytest.fixture
def opener(shop):
    def open_(kind, **changes):
        return TableModel(LoadedModel.load(shop.store.objects, shop.bundle(kind, **changes)))

    return open_


def people(rows=ROWS):
    random = np.random.default_rng(3)
    return pl.DataFrame(
        {
            "age": random.integers(18, 90, rows),
            "hours": random.normal(38, 8, rows),
            "income": random.normal(30, 9, rows).astype(np.float32),
        }
    )


def customers(rows=ROWS, *, nulls=False):
    random = np.random.default_rng(4)
    frame = pl.DataFrame(
        {
            "city": random.choice(["Oslo", "Lima", "Cairo", "Łódź", ""], rows),
            "age": random.integers(18, 90, rows),
            "spend": random.normal(100, 30, rows).round(2),
        }
    )
    if nulls:
        lack = pl.Series(random.random(rows) < 0.1)
        frame = frame.with_columns(city=pl.when(lack).then(None).otherwise("city"))
    return frame


def same(table, frame):
    """Hold the table's answers against those of the lists."""
    found = table.score(frame)
    wanted = table.model.run(table.model.prepare(frame.to_dict(as_series=False)))
    assert found.scores.tobytes() == np.array(wanted.scores, dtype=np.float64).tobytes()
    if found.picked is not None:
        assert [table.model.bundle.classes[i] for i in found.picked.tolist()] == wanted.labels
    return found


def test_a_hundred_thousand_rows_have_the_endpoints_numbers_to_the_bit(opener):
    same(opener("people"), people())
    same(opener("customers"), customers())


def test_missing_texts_are_what_training_made_of_them(opener):
    same(opener("customers", inputs=NULLS), customers(nulls=True))


def test_numbers_do_not_depend_on_where_a_table_is_cut(opener):
    for kind, frame in (("people", people(1003)), ("customers", customers(1003))):
        table = opener(kind)
        whole = table.score(frame).scores
        for size in (1, 2, 7, 64, 1000):
            cut = np.concatenate([table.score(frame[low : low + size]).scores for low in range(0, 1003, size)])
            assert cut.tobytes() == whole.tobytes(), (kind, size)


@pytest.mark.parametrize("dtype", [pl.Int8, pl.Int32, pl.UInt64, pl.Int128, pl.Float32, pl.Float64])
def test_whole_numbers_may_come_in_any_type(opener, dtype):
    table = opener("people")
    same(table, people(500).with_columns(age=pl.col("age").cast(dtype)))


def test_categories_are_text(opener):
    table = opener("customers")
    frame = customers(500)
    wanted = table.score(frame).scores.tobytes()
    assert table.score(frame.with_columns(pl.col("city").cast(pl.Categorical))).scores.tobytes() == wanted


REFUSED = {
    "fraction": ("age", [30.0, 30.5, 31.0]),
    "no age": ("age", [30, None, 31]),
    "nan age": ("age", [30.0, float("nan"), 31.0]),
    "endless age": ("age", [30.0, float("inf"), 31.0]),
    "large": ("income", [1.0, 1e300, 2.0]),
    "endless": ("income", [1.0, float("-inf"), 2.0]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_lists_refuse_tables_refuse_in_the_same_words(opener, name):
    table = opener("people")
    column, values = REFUSED[name]
    frame = people(3).with_columns(pl.Series(column, values))
    with pytest.raises(Invalid) as by_list:
        table.model.run(table.model.prepare(frame.to_dict(as_series=False)))
    with pytest.raises(Invalid) as by_table:
        table.score(frame)
    assert by_table.value.findings == by_list.value.findings
    with pytest.raises(Invalid) as moved:
        table.score(frame, first=1000)
    assert moved.value.findings[0].rows == (1001,)
    sound = table.score_sound(frame)
    assert sound.bad.tolist() == [False, True, False]
    assert np.isnan(sound.scores).tolist() == [False, True, False]
    kept = table.score(frame[[0, 2]].with_columns(pl.col(column).fill_nan(None)))
    assert sound.scores[[0, 2]].tobytes() == kept.scores.tobytes()


def test_numbers_that_training_never_lacked_are_refused_by_row(opener):
    inputs = (Column("age", "integer"), Column("hours", "float", nulls=False), Column("income", "float"))
    table = opener("people", inputs=inputs)
    frame = people(5).with_columns(hours=pl.Series([1.0, None, 2.0, float("nan"), 3.0]))
    with pytest.raises(Invalid) as error:
        table.score(frame)
    (found,) = error.value.findings
    assert (found.rule, found.column, found.rows) == ("missing", "hours", (1, 3))
    assert table.score_sound(frame).bad.tolist() == [False, True, False, True, False]


def test_rows_that_only_the_model_refuses_are_found_and_named(opener):
    table = opener("people")  # a logistic regression cannot do without numbers
    frame = people(700).with_columns(hours=pl.when(pl.int_range(700).is_in([3, 699])).then(None).otherwise("hours"))
    with pytest.raises(Invalid) as error:
        table.score(frame, first=100)
    assert error.value.findings[0].rows == (103, 799)
    sound = table.score_sound(frame)
    assert sound.bad.nonzero()[0].tolist() == [3, 699]
    assert [(f.rule, f.column, f.rows.tolist()) for f in sound.faults] == [("missing", "hours", [3, 699])]


def test_a_model_that_answers_nonsense_is_no_fault_of_the_rows(opener):
    table = opener("roots")
    frame = people(3).with_columns(age=pl.Series([25, -4, 36]))
    with pytest.raises(Unavailable):
        table.score(frame)
    with pytest.raises(Unavailable):
        table.score_sound(frame)


def test_columns_are_checked_before_rows(opener):
    table = opener("customers")
    table.check(customers(1).schema)
    with pytest.raises(Invalid) as error:
        table.check({"city": pl.Int64(), "spend": pl.Date()})
    assert [(f.rule, f.column) for f in error.value.findings] == [
        ("missing_column", "age"),
        ("type", "city"),
        ("type", "spend"),
    ]
    table.check(dict.fromkeys(table.names, pl.String()), text=True)


def test_no_rows_have_no_answers(opener):
    for kind, frame in (("people", people(1)), ("customers", customers(1))):
        assert len(opener(kind).score(frame[:0]).scores) == 0


def test_what_types_hold_is_said():
    assert fit("float", pl.Int8()) == fit("integer", pl.Float64()) == fit("string", pl.Enum(["a"])) == ""
    assert fit("string", pl.Float32()) == "numbers"
    assert fit("float", pl.Boolean()) == "true or false"
    assert fit("boolean", pl.Int64()) == "whole numbers"
    assert fit("float", pl.Decimal(10, 2)).startswith("decimals")
    assert fit("float", pl.Datetime()) == "dates or times"
    assert fit("float", pl.List(pl.Int8)) == "something else"


TEXTS = {
    "integer": (["21", " 21 ", "+7", "21.0", "1e3", "", "9007199254740993"], [21, 21, 7, 21, 1000, None, 2**53 + 1]),
    "float": (["1.5", "", "-2", "1e-3", " 4 "], [1.5, None, -2.0, 0.001, 4.0]),
    "boolean": (["true", "FALSE", "1", "0", ""], [True, False, True, False, None]),
    "string": (["a", "", "007"], ["a", None, "007"]),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_text_spells_values(kind):
    texts, wanted = TEXTS[kind]
    cast, faults = cast_text(Column("x", kind), pl.Series(texts))
    assert cast.to_list() == wanted
    assert faults == ()


@pytest.mark.parametrize(
    ("kind", "text"),
    [("integer", "2.5"), ("integer", "x"), ("float", "1_0"), ("float", "inf"), ("boolean", "yes"), ("float", "1,5")],
)
def test_text_that_spells_nothing_is_named_by_row(kind, text):
    _, (fault,) = cast_text(Column("x", kind), pl.Series(["1", text, ""]))
    assert (fault.rule, fault.column, fault.rows.tolist()) == ("type", "x", [1])
    assert text not in fault.trouble


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_floats_are_read_as_python_reads_them(values):
    cast, faults = cast_text(Column("x", "float"), pl.Series([repr(value) for value in values]))
    assert (cast.to_list(), faults) == (values, ())


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_whole_numbers_are_read_in_full(values):
    cast, faults = cast_text(Column("x", "integer"), pl.Series([str(value) for value in values]))
    assert (cast.to_list(), faults) == (values, ())


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    """A model of 30 columns that answers from its coefficients, in 64 bits, and rows for it."""
    from sklearn.linear_model import LogisticRegression

    from interlock.registry.flavors.build import build_bundle
    from interlock.store import create_store
    from interlock.store.manifests import put_folder

    random = np.random.default_rng(9)
    frame = pl.DataFrame({f"x{number}": random.normal(size=3000) for number in range(30)})
    truth = (frame["x0"] + random.normal(size=3000) > 0).to_numpy().astype(int)
    model = LogisticRegression().fit(frame[:2000].to_numpy(), truth[:2000])
    folder = tmp_path_factory.mktemp("linear")
    evaluation = frame[2000:].with_columns(y=pl.Series(truth[2000:]))
    build_bundle(model, inputs=frame[:2000], target="y", evaluation=evaluation, folder=folder / "bundle")
    store = create_store(folder / ".interlock")
    yield TableModel(LoadedModel.load(store.objects, put_folder(store.objects, folder / "bundle"))), frame
    store.close()


def test_coefficients_do_not_care_where_a_table_is_cut(linear):
    table, frame = linear
    assert table.model.engine.name == "linear"
    whole = same(table, frame).scores
    for size in (1, 7, 1000, 1001):
        cut = np.concatenate([table.score(frame[low : low + size]).scores for low in range(0, 3000, size)])
        assert cut.tobytes() == whole.tobytes(), size


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_floats_that_are_looked_at_together_are_refused_one_by_one(linear, value):
    table, frame = linear
    frame = frame.with_columns(x7=pl.Series([value if row == 2500 else 0.5 for row in range(3000)]))
    with pytest.raises(Invalid) as error:
        table.score(frame)
    assert [(f.column, f.rows) for f in error.value.findings] == [("x7", (2500,))]

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.errors import Finding, Invalid
from interlock.data.contract import ColumnEdit, edited, infer
from interlock.data.profile import profile
from interlock.data.validate import conform, validate

FRAME = pl.DataFrame(
    {
        "person": [1, 2, 3, 4],
        "age": [18, 30, 54, 40],
        "code": ["1", "2", "1", "2"],
        "income": [1.5, None, 3.5, 2.0],
    }
)
CONTRACT = infer(profile(FRAME), free=("person",), unique="person")


@given(
    st.lists(
        st.tuples(st.integers(-50, 50) | st.none(), st.sampled_from("abc") | st.none(), st.floats(0, 1) | st.none()),
        min_size=1,
        max_size=30,
    )
)
def test_a_table_always_fulfils_the_contract_inferred_from_it(rows: list[tuple[object, ...]]) -> None:
    schema = {"a": pl.Int64, "b": pl.String, "c": pl.Float64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    assert validate(frame, infer(profile(frame))) == []


def test_each_kind_of_fault_is_named_with_column_and_rows() -> None:
    faulty = pl.DataFrame(
        {
            "person": [1, 2, 2, 4],
            "age": [18, 400, 54, 399],
            "code": ["1", "9", "1", "2"],
            "income": [None, None, None, 2.0],
        }
    )
    found = {finding.rule: finding for finding in validate(faulty, CONTRACT)}
    assert found["unique"] == Finding("unique", "person names several rows alike", "person", (1, 2), 2)
    assert found["range"] == Finding("range", "age is 399..400 where 18..54 is allowed", "age", (1, 3), 2)
    assert found["category"].column == "code"
    assert found["category"].rows == (1,)
    assert "'9'" in found["category"].message
    assert found["nulls"].rows == (0, 1, 2)
    assert set(found) == {"unique", "range", "category", "nulls"}


def test_a_renamed_column_is_missing_and_the_strange_one_is_pointed_at() -> None:
    found = validate(FRAME.rename({"age": "aged"}), CONTRACT)
    assert [(f.rule, f.column) for f in found] == [("missing_column", "age"), ("unknown_column", "aged")]
    assert "'aged'" in found[0].message


def test_a_wrong_type_names_the_rows_that_are_no_numbers() -> None:
    frame = conform(FRAME.with_columns(age=pl.Series(["18", "x", "54", "y"])), CONTRACT)
    assert [(f.rule, f.rows) for f in validate(frame, CONTRACT)] == [("type", (1, 3))]


def test_text_that_means_numbers_becomes_numbers() -> None:
    text = FRAME.with_columns(pl.all().cast(pl.String))
    assert validate(conform(text, CONTRACT), CONTRACT) == []
    assert conform(FRAME.with_columns(pl.col("code").cast(pl.Int8)), CONTRACT)["code"].dtype == pl.String


def test_only_the_first_rows_are_listed_but_all_are_counted() -> None:
    frame = pl.DataFrame({"a": [0] * 50})
    finding = validate(pl.DataFrame({"a": [7] * 50}), infer(profile(frame)))[0]
    assert (len(finding.rows), finding.count) == (10, 50)


def test_the_owner_knows_better_than_the_first_file() -> None:
    edits = {"age": ColumnEdit(range=(0, 120)), "code": ColumnEdit(codes="1..3"), "income": ColumnEdit(null_share=1.0)}
    wider = edited(CONTRACT, edits)
    frame = FRAME.with_columns(age=pl.lit(94), code=pl.lit("3"), income=pl.lit(None, pl.Float64))
    assert validate(frame, wider) == []
    assert validate(frame, CONTRACT) != []


def test_edits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(Invalid, match="'age'"):
        edited(CONTRACT, {"aeg": ColumnEdit(range=(0, 1))})
    with pytest.raises(Invalid, match="range of codes"):
        edited(CONTRACT, {"code": ColumnEdit(codes="9..1")})


@pytest.mark.parametrize(
    ("column", "edit", "words"),
    [
        ("age", ColumnEdit(codes=("a",)), "'age' holds integer, so 'a'"),
        ("age", ColumnEdit(codes=("01",)), "'01'"),
        ("code", ColumnEdit(range=(0, 120)), "'code' holds category, so it has no `range`"),
        ("income", ColumnEdit(codes="1..3"), "'income' holds float, so it has no `codes`"),
        ("age", ColumnEdit(range=(2, 1)), "smallest number comes first"),
        ("age", ColumnEdit(null_share=1.5), "from 0 to 1"),
        ("right", ColumnEdit(codes=("yes",)), "'right' holds boolean, so 'yes'"),
        ("day", ColumnEdit(codes=("2020-01-01",)), "'day' holds instant"),
    ],
)
def test_an_edit_of_the_wrong_kind_is_refused(column: str, edit: ColumnEdit, words: str) -> None:
    frame = FRAME.with_columns(right=pl.lit(True), day=pl.lit("2020-01-01").str.to_date())
    contract = infer(profile(frame))
    with pytest.raises(Invalid, match=words) as caught:
        edited(contract, {column: edit})
    assert [found.column for found in caught.value.findings] == [column]


def test_codes_of_numbers_and_booleans_are_taken() -> None:
    frame = FRAME.with_columns(right=pl.lit(True), age=pl.lit(-2))
    made = edited(infer(profile(frame)), {"age": ColumnEdit(codes=("-2", "3")), "right": ColumnEdit(codes=("true",))})
    assert validate(frame, made) == []
    assert [f.rule for f in validate(frame.with_columns(age=pl.lit(3), right=pl.lit(False)), made)] == [
        "range",
        "category",
    ]

"""Rows that come as a Parquet file: read as JSON's rows are, and refused before they fill the memory."""

from __future__ import annotations

import io
import random
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from interlock.core.errors import Invalid, MissingExtra
from interlock.serve import parquet_body
from interlock.serve.parquet_body import read_parquet

ROW = {"city": "Oslo", "age": 21, "spend": 150.5}
NAMES = frozenset(ROW)
KIND = {"content-type": "application/vnd.apache.parquet"}


def parquet(table, **options) -> bytes:
    body = io.BytesIO()
    pq.write_table(pa.table(table) if isinstance(table, dict) else table, body, **options)
    return body.getvalue()


def test_an_endpoint_answers_it_as_it_answers_json(live):
    body = parquet({name: [value, value] for name, value in ROW.items()} | {"shoe": [43, 44]})
    headers = {**KIND, "Interlock-Subject": "ann"}
    found = live.client.post("/invocations", content=body, headers=headers).json()["predictions"]
    expected = live.invoke(ROW).json()["predictions"][0]["probability"]
    assert [one["probability"] for one in found] == [expected, expected]
    stored = live.shop.store.predictions.get(found[1]["prediction_id"])
    assert (stored.inputs, stored.subject, stored.row) == (ROW, "ann", 1)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"city": ["Oslo"], "age": [21]}, "'spend'"),
        ({"city": ["Oslo"], "age": [21.5], "spend": [1.0]}, "'age'"),
        ({"city": ["Oslo"], "age": ["21"], "spend": [1.0]}, "'age'"),
        ({"city": [b"\xff"], "age": [21], "spend": [1.0]}, "'city'"),
        ({"city": [["Oslo"]], "age": [21], "spend": [1.0]}, "'city'"),
        ({"city": [None], "age": [21], "spend": [1.0]}, "'city'"),
        ({"city": [], "age": [], "spend": []}, "no rows"),
        ({"shoe": [1]}, "missing"),
    ],
)
def test_what_the_model_does_not_take_is_400(live, table, says):
    response = live.client.post("/invocations", content=parquet(table), headers=KIND)
    assert (response.status_code, says in response.json()["message"]) == (400, True), response.text


def test_changed_bytes_are_refused_or_read_and_nothing_else(live):
    numbers = random.Random(7)
    table = {"city": ["Oslo", "Lima"] * 20, "age": [21] * 40, "spend": [150.5] * 40}
    files = [parquet(table, compression=codec) for codec in ("none", "snappy", "zstd")]
    statuses = set()
    for _ in range(400):
        body = bytearray(numbers.choice(files))
        for _ in range(numbers.randint(1, 4)):
            body[numbers.randrange(len(body))] = numbers.choice([0, 127, 128, 255, numbers.randrange(256)])
        if not numbers.randrange(5):
            del body[numbers.randrange(len(body)) :]
        statuses.add(live.client.post("/invocations", content=bytes(body), headers=KIND).status_code)
    assert statuses == {200, 400}


def test_types_of_other_writers_are_read():
    half = pa.array([1.5, None]).cast(pa.float16())
    coded = pa.array(["Oslo", None]).dictionary_encode()
    large = pa.array(["a", "b"], pa.large_string())
    names = {"half", "coded", "large", "none", "bool", "small"}
    table = {"half": half, "coded": coded, "large": large, "none": pa.nulls(2), "bool": [True, None]}
    ask = read_parquet(parquet({**table, "small": pa.array([1, 2], pa.uint8())}), names)
    assert ask.rows == 2
    assert ask.columns == {
        "half": [1.5, None],
        "coded": ["Oslo", None],
        "large": ["a", "b"],
        "none": [None, None],
        "bool": [True, None],
        "small": [1, 2],
    }


def test_columns_that_no_model_knows_are_named_and_not_read():
    table = pa.table({"age": [1], "text": ["x" * 100], "nested": [{"a": 1}]})
    assert read_parquet(parquet(table), {"age"}).columns == {"age": [1], "text": [None], "nested": [None]}


@pytest.mark.parametrize("dictionary", [True, False])
def test_a_small_file_of_much_text_is_refused(monkeypatch, dictionary):
    monkeypatch.setattr(parquet_body, "_LARGEST", 1_000_000)
    body = parquet({"city": ["x" * 100_000] * 200}, compression="zstd", use_dictionary=dictionary)
    assert len(body) < 100_000
    with pytest.raises(Invalid, match="more than 1000000 bytes"):
        read_parquet(body, NAMES)


def test_too_many_rows_are_refused_unread():
    with pytest.raises(Invalid, match="100001 rows"):
        read_parquet(parquet({"age": [1] * 100_001}), NAMES)


def test_a_column_that_is_named_twice_is_refused():
    with pytest.raises(Invalid, match="twice"):
        read_parquet(parquet(pa.table([pa.array([1]), pa.array([2])], names=["age", "age"])), NAMES)


def test_without_polars_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(MissingExtra, match=r"interlock\[data\]"):
        read_parquet(b"", NAMES)


def test_a_file_that_ends_its_reader_does_not_end_the_server(live):
    """Its size statistics have a histogram of another length: pyarrow's reader of footers ends the process."""
    body = Path(__file__).with_name("histogram.parquet").read_bytes()
    for _ in range(2):
        assert live.client.post("/invocations", content=body, headers=KIND).status_code == 400
    assert live.client.post("/invocations", content=parquet({n: [v] for n, v in ROW.items()}), headers=KIND).is_success

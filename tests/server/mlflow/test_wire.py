from __future__ import annotations

import contextlib
import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core import errors
from interlock.server.bodies import too_large
from interlock.server.mlflow.metrics import LogBatch, LogMetric
from interlock.server.mlflow.runs import CreateRun
from interlock.server.mlflow.wire import (
    Refused,
    calendar_millis,
    error_answer,
    from_millis,
    number,
    read_body,
    read_pairs,
    read_query,
)


class Ask(msgspec.Struct):
    name: str
    count: int = 0
    on: bool = False
    many: list[str] = []
    inner: list[LogMetric] = []


def test_numbers_may_be_texts_and_null_is_nothing() -> None:
    found = read_body(b'{"name": "a", "count": "5", "on": "true", "many": null, "unknown": {}}', Ask)
    assert found == Ask("a", 5, True)
    assert read_body(b'{"metrics": [{"key": "a", "value": "NaN", "step": null}]}', LogBatch).metrics[0].step == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"Infinity"', math.inf),
        ('"-Infinity"', -math.inf),
        ("1", 1.0),
        ('"1.5"', 1.5),
        ("-0.0", -0.0),
        ("1e308", 1e308),
    ],
)
def test_values_are_any_float(text: str, value: float) -> None:
    found = read_body(f'{{"value": {text}}}'.encode(), LogMetric).value
    assert repr(found) == repr(value)
    assert math.isnan(read_body(b'{"value": "NaN"}', LogMetric).value or 0.0)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nope",
        b"[]",
        b"3",
        b'"x"',
        b"null",
        b"\xff",
        b'{"name": NaN}',
        b'{"name": "\\ud800"}',
        b'{"name": null, "x"',
        b'{"name": null, "x":' + b"[" * 100_000,
        b"[" * 100_000,
        b'{"name": "a", "count": 1e999, "on": null}',
        b'{"name": "a"} {}',
    ],
)
def test_bodies_that_are_no_json_objects(body: bytes) -> None:
    with pytest.raises(Refused) as caught:
        read_body(body, Ask)
    assert caught.value.code == "BAD_REQUEST"
    assert error_answer(caught.value, "")[0] == 400


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"name": 5}, "name"),
        ({"name": "a", "count": "x"}, "count"),
        ({"name": "a", "count": 1.5}, "count"),
        ({"name": "a", "many": "x"}, "many"),
        ({"name": "a", "many": [1]}, "many[0]"),
        ({"name": "a", "inner": [{"value": []}]}, "inner[0].value"),
    ],
)
def test_wrong_types_are_named_by_their_place(body: dict[str, object], place: str) -> None:
    with pytest.raises(Refused, match=f"Invalid value for parameter '{place}'".replace("[", r"\[").replace(".", r"\.")):
        read_body(json.dumps(body).encode(), Ask)


def test_what_is_missing_is_named() -> None:
    for body in (b"", b"{}", b'{"name": null}'):
        with pytest.raises(Refused, match="Missing value for required parameter 'name'"):
            read_body(body, Ask)
    with pytest.raises(Refused, match=r"'metrics\[0\]\.key'"):
        read_body(b'{"metrics": [{"value": 1}]}', LogBatch)


@pytest.mark.parametrize("number_", [1 << 63, -(1 << 63) - 1, 10**30, "9223372036854775808"])
def test_integers_beyond_64_bits(number_: object) -> None:
    with pytest.raises(Refused) as caught:
        read_body(json.dumps({"start_time": number_}).encode(), CreateRun)
    assert caught.value.code == "INVALID_PARAMETER_VALUE"


def test_queries_spell_lists_by_repetition() -> None:
    assert read_query(b"name=a&many=x&many=y%20z&count=7&on=true", Ask) == Ask("a", 7, True, ["x", "y z"])
    assert read_query(b"name=&count=1&count=2", Ask) == Ask("", 2)
    assert read_query(b"name=%00%ff%ed%a0%80", Ask).name.startswith("\x00")
    assert read_pairs([("name", "a"), ("other", "b")], Ask) == Ask("a")


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader(body: bytes) -> None:
    for read in (read_body, read_query):
        with contextlib.suppress(Refused):
            read(body, LogBatch)


@given(st.floats())
def test_numbers_come_back_as_clients_read_them(value: float) -> None:
    text = json.dumps(number(value), allow_nan=False)
    assert repr(float(json.loads(text))) == repr(value)


def test_instants() -> None:
    assert from_millis((1 << 63) // 1000 - 1) > 0
    for far in (1 << 62, -(1 << 62)):
        with pytest.raises(Refused, match="is no instant"):
            from_millis(far)
    assert calendar_millis(253_402_300_799_999) == 253_402_300_799_999_000
    for far in (253_402_300_800_000, -62_135_596_800_001):
        with pytest.raises(Refused, match="is no instant"):
            calendar_millis(far)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.NotFound("x"), 404, "RESOURCE_DOES_NOT_EXIST"),
        (errors.Conflict("x"), 400, "INVALID_PARAMETER_VALUE"),
        (errors.Conflict("x", about="model"), 400, "RESOURCE_ALREADY_EXISTS"),
        (errors.Conflict("x", about="experiment_name"), 400, "RESOURCE_ALREADY_EXISTS"),
        (errors.Invalid("x"), 400, "INVALID_PARAMETER_VALUE"),
        (errors.Denied("x"), 403, "PERMISSION_DENIED"),
        (errors.MissingExtra("x"), 501, "NOT_IMPLEMENTED"),
        (errors.Unavailable("x"), 503, "TEMPORARILY_UNAVAILABLE"),
        (errors.StorageFull("x"), 507, "INSUFFICIENT_STORAGE"),
        (errors.Corrupt("x"), 500, "INTERNAL_ERROR"),
        (OSError(28, "No space left on device"), 507, "INSUFFICIENT_STORAGE"),
        (too_large(5), 400, "INVALID_PARAMETER_VALUE"),
        (ZeroDivisionError("secret"), 500, "INTERNAL_ERROR"),
    ],
)
def test_errors_have_codes_of_the_protocol(error: Exception, status: int, code: str) -> None:
    found, body = error_answer(error, "REQUEST")
    assert (found, json.loads(body)["error_code"]) == (status, code)
    assert b"secret" not in body

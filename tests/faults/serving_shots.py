"""Requests to a server of predictions: real ones for every route, and what is done to them."""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from fuzz_bodies import RAW, TEXTS, damaged, damaged_bytes
from fuzz_wire import Shot, reframed

JSON: Final = "application/json"
ROW: Final = {"city": "Qwertyville", "age": 78123, "spend": 918273.25}  # values that stand nowhere else
SECRETS: Final = (b"Qwertyville", b"78123", b"918273")
NAMES: Final = tuple(ROW)
TYPES: Final = ("BYTES", "INT64", "FP64")
BOMB: Final = gzip.compress(bytes(64 << 20), 9)
_LENGTH: Final = "Inference-Header-Content-Length"
_PARTS: Final = ["shop", "buyer", "3", "99", "", "..", "%2e%2e", "%00", "%FF", "é", "%C3%A9", "a%2Fb", "x" * 3000, "@"]
_LITERALS: Final = [b"NaN", b"-Infinity", b"1e400", b"-1e400", b"9" * 4400, b"0" * 400, b"1e-999", b"1.", b"01", b"+1"]
_HEADERS: Final = [
    ("Interlock-Subject", "x" * 3000),
    ("Interlock-Subject", "\u00e9"),
    ("Interlock-Occurred-At", "9999-99-99"),
    ("Interlock-Occurred-At", "0001-01-01T00:00:00+23:59"),
    ("Interlock-Timeout-Ms", "-1"),
    ("Interlock-Timeout-Ms", "30000"),
    ("Interlock-Timeout-Ms", "9" * 5000),
    (_LENGTH, "\u00b2"),
    ("Interlock-Timeout-Ms", "nan"),
    ("X-Request-Id", "r" * 5000),
    ("X-Request-Id", "a\tb"),
    ("Idempotency-Key", "k" * 5000),
    ("Content-Encoding", "gzip, gzip"),
    ("Content-Encoding", "deflate"),
    ("Expect", "the best"),
    ("X-Amzn-SageMaker-Target-Model", "../../x"),
    ("X-Amzn-SageMaker-Custom-Attributes", "\u00ff" * 900),
    (_LENGTH, "0"),
    (_LENGTH, "-1"),
    (_LENGTH, "5"),
    (_LENGTH, "9" * 5000),
    (_LENGTH, "\u0663"),
    (_LENGTH, "1e3"),
]


class Real(NamedTuple):
    """A request that is answered: where it goes, its content type, its body, further headers."""

    path: str
    media: str
    body: Any
    headers: tuple[tuple[str, str], ...] = ()


def tensors(*, nested: bool = False) -> dict[str, Any]:
    """Return a body of the Open Inference Protocol."""
    shape = [1, 1] if nested else [1]
    return {
        "id": "r",
        "inputs": [
            {"name": name, "shape": shape, "datatype": kind, "data": [[ROW[name]]] if nested else [ROW[name]]}
            for name, kind in zip(NAMES, TYPES, strict=True)
        ],
    }


def binary() -> tuple[bytes, int]:
    """Return the same with tensors behind the JSON, and how long that is."""
    city = ROW["city"].encode()
    parts = [struct.pack("<I", len(city)) + city, struct.pack("<q", ROW["age"]), struct.pack("<d", ROW["spend"])]
    inputs = [
        {"name": name, "shape": [1], "datatype": kind, "parameters": {"binary_data_size": len(part)}}
        for name, kind, part in zip(NAMES, TYPES, parts, strict=True)
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    return head + b"".join(parts), len(head)


def parquet() -> bytes:
    """Return the row as Parquet."""
    import polars as pl

    file = io.BytesIO()
    pl.DataFrame([ROW]).write_parquet(file)
    return file.getvalue()


def reals(predict: str, label: dict[str, Any]) -> list[Real]:
    """Return requests that are answered.

    Args:
        predict: the path that Vertex AI's variables name.
        label: a truth about a prediction.
    """
    values = list(ROW.values())
    body, head = binary()
    csv = f"{','.join(NAMES)}\n{','.join(map(str, values))}\n".encode()
    forms = [
        {"dataframe_records": [ROW, ROW], "params": {"subjects": ["a", "b"], "request_id": "q"}},
        {"dataframe_split": {"columns": list(NAMES), "data": [values]}},
        {"instances": [ROW]},
        {"inputs": {name: [value] for name, value in ROW.items()}},
    ]
    found = [Real("/invocations", JSON, form) for form in forms]
    found += [Real("/explain", JSON, forms[0]), Real(predict, JSON, {"instances": [ROW, ROW], "parameters": {}})]
    found += [Real(predict, JSON, {"instances": [values]}), Real("/models/buyer/invoke", JSON, forms[1])]
    for path in ("/v2/models/shop/infer", "/v2/models/buyer/versions/3/infer"):
        found += [Real(path, JSON, tensors()), Real(path, JSON, tensors(nested=True))]
        found.append(Real(path, "application/octet-stream", body, ((_LENGTH, str(head)),)))
    for path in ("/invocations", "/models/buyer/invoke"):
        found += [Real(path, "text/csv", csv), Real(path, "application/vnd.apache.parquet", parquet())]
    found += [Real("/labels", JSON, {"labels": [label]}), Real("/labels", "text/csv", b"subject,label\np,1\n")]
    found.append(Real("/labels", "application/x-ndjson", json.dumps(label).encode() + b"\n"))
    found += [
        Real("/v2/repository/index", JSON, {"ready": True}),
        Real("/models", JSON, {"model_name": "m", "url": "/x"}),
    ]
    found += [Real(f"/v2/repository/models/shop/{verb}", JSON, {"parameters": {}}) for verb in ("load", "unload")]
    return found


def large() -> Iterator[Shot]:
    """Yield requests that are meant to cost much more than they are worth."""
    media = (("Content-Type", JSON),)
    columns = list(NAMES)
    many = {
        "instances": [{f"n{number}": 1} for number in range(30_000)],
        "dataframe_records": [{f"n{number}": 1} for number in range(30_000)],
        "inputs": {f"n{number}": [1] for number in range(30_000)},
        "dataframe_split": {"columns": columns * 9000, "data": [[1] * 27_000] * 9},
    }
    for path in ("/invocations", "/explain", "/models/buyer/invoke", "/predict"):
        for form, value in many.items():
            yield Shot("POST", path, media, json.dumps({form: value}).encode())
    wide = [{"name": f"t{number}", "shape": [1], "datatype": "FP64", "data": [1]} for number in range(30_000)]
    twice = [tensor for _ in range(5000) for tensor in tensors()["inputs"]]
    huge = [{**tensor, "shape": [2**62, 4]} for tensor in tensors()["inputs"]]
    thin = [{**tensor, "shape": [1] * 20_000} for tensor in tensors()["inputs"]]
    none = [{**tensor, "shape": [0, 10**9], "data": []} for tensor in tensors()["inputs"]]
    for inputs in (wide, twice, huge, thin, none):
        yield Shot("POST", "/v2/models/shop/infer", media, json.dumps({"inputs": inputs}).encode())
    deep = b"[" * 200_000
    csv = b"city,age,spend\n" + b"a,1,2\n" * 100_001
    for path in ("/invocations", "/v2/models/shop/infer", "/labels", "/predict", "/models", "/v2/repository/index"):
        yield Shot("POST", path, (*media, ("Content-Encoding", "gzip")), BOMB)
        for body in (
            deep,
            b'{"instances":' + deep,
            b'{"inputs":[{"name":' + b'{"a":' * 100_000,
            b'"' + b"\\u0041" * 9999,
        ):
            yield Shot("POST", path, media, body)
    for path in ("/invocations", "/labels"):
        yield Shot("POST", path, (("Content-Type", "text/csv"),), csv)
        yield Shot("POST", path, (("Content-Type", "text/csv"),), b"," * 500_000 + b"\n" + b"," * 500_000)
        yield Shot("POST", path, (("Content-Type", "text/csv"),), b'"' + b"a,\n" * 300_000)
    yield Shot("POST", "/invocations", media, b" " * 17_000_000)
    yield Shot("POST", "/invocations", media, b" " * 17_000_000, "chunked")


class Aim:
    """Makes requests.

    Args:
        chance: where all choices come from.
        real: requests that are answered.
        routes: verbs and patterns of all routes.
    """

    def __init__(self, chance: random.Random, real: list[Real], routes: list[tuple[str, str]]) -> None:
        self._chance = chance
        self._real = real
        self._routes = routes

    def shot(self) -> Shot:
        """Return the next."""
        chance = self._chance
        method, path, real = self._aimed()
        headers = [("Content-Type", real.media), *real.headers]
        body = self._body(real)
        if chance.random() < 0.1:
            body = chance.choice([gzip.compress(body), gzip.compress(body)[:-5], body])
            headers.append(("Content-Encoding", "gzip"))
        if chance.random() < 0.15:
            headers.append(chance.choice(_HEADERS))
        shot = Shot(method, path, tuple(headers), body)
        return reframed(shot, chance) if chance.random() < 0.25 else shot

    def _aimed(self) -> tuple[str, str, Real]:
        """Return the verb, the path, and the request that it is made of."""
        chance = self._chance
        real = chance.choice(self._real)
        if chance.random() < 0.75:
            return "POST", real.path, real
        method, pattern = chance.choice(self._routes)
        parts = [chance.choice(_PARTS) if part.startswith("{") else part for part in pattern.split("/")]
        path = "/".join(parts)
        if chance.random() < 0.3:
            path += chance.choice(["?limit=-1", "?limit=" + "9" * 5000, "?next_page_token=%FF", "?&&=%zz", "/", "//"])
        if chance.random() < 0.05:
            path = chance.choice(["http://elsewhere.invalid" + path, "*", "//" + path, path.upper()])
        if chance.random() < 0.1:
            method = chance.choice(["PATCH", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get"])
        return method, path, real

    def _body(self, real: Real) -> bytes:
        chance, what = self._chance, self._chance.random()
        if isinstance(real.body, bytes):
            return real.body if what < 0.1 else damaged_bytes(real.body, chance)
        if what < 0.06:
            return chance.choice(RAW)
        value = real.body
        for _ in range(chance.choice([0, 1, 1, 1, 2, 3])):
            value = damaged(value, chance)
        text = json.dumps(value, ensure_ascii=chance.random() < 0.5, default=repr).encode("utf-8", "surrogatepass")
        if what < 0.2:
            text = damaged_bytes(text, chance)
        elif what < 0.3:
            for number in (b"78123", b"918273.25"):
                text = text.replace(number, chance.choice(_LITERALS), chance.choice([1, 9]))
        elif what < 0.35:
            text = text.replace(b'"Qwertyville"', json.dumps(chance.choice(TEXTS)).encode(), 1)
        elif what < 0.4:
            text = text.replace(b'"city"', b'"age"')  # twice the same name
        return text

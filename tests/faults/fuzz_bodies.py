"""Values for the fuzzing of routes: made from a JSON Schema, or real ones damaged in one or two places."""

from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

JSON: Final = "application/json"
MSGPACK: Final = "application/msgpack"
LEAKS: Final = re.compile(  # what an answer may not tell: our language, our libraries, our database
    r"Traceback|File \"|\bline \d+, in\b|\b[A-Za-z.]*(?:Error|Exception)\b|NoneType|object at 0x|<class|msgspec|apsw"
    r"|sqlite|\b(?:SELECT|INSERT|UPDATE|WHERE|FROM)\b|datetime\.\w|\bSQL\b",
)
Known = Mapping[str, list[Any]]
_NESTED: Any = []
for _ in range(150):
    _NESTED = [_NESTED]
TEXTS: Final = [
    "",
    " ",
    "\x00",
    "a\x00b",
    "\ud800",
    "a\udfff",
    "\ufeffa",
    "\u202eabc\u2066",
    "'; DROP TABLE runs; --",
    '"\\',
    "%s%n%d{0}{x!r}",
    "../../../../etc/passwd",
    "..\\..\\x",
    "/",
    "a//b",
    ".",
    "..",
    "a/../b",
    "\r\nX-Y: z",
    "é" * 300,
    "x" * 10_000,
    "[" * 3_000,
    "(" * 3_000 + "a",
    "NaN",
    "-0",
    "1e400",
    "9" * 400,
    "0x10",
    "true",
    "null",
    "2026-13-45T99:99:99Z",
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999+23:59",
    "-1 month",
    "99999999999 years",
    "model:x@99999999999999999999",
    "data:people@0",
    "models:/a/b/c",
    "runs:/",
    "run:",
    "prediction:",
    "mlflow-artifacts:/../x",
    "file:///etc/passwd",
    "http://[",
    "metrics.a > 'x",
    "params.`a = 'y'",
    "tags.a = 'b' and (not params.c > 1 or",
    "metrics.loss DESC, ,",
    "0" * 64,
    "f" * 64,
    "00000000000000000000000000",
    "7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
    "AAAA",
    "=",
    "bnVsbA==",
    "*",
    "age > 1 -- ",
    "__import__('os')",
    "os:system",
    "pipeline:__class__",
]
VALUES: Final = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**53 + 1,
    2**63 - 1,
    2**63,
    -(2**63),
    2**64,
    10**40,
    1.5,
    -0.0,
    1e308,
    5e-324,
    float("nan"),
    float("inf"),
    float("-inf"),
    [],
    {},
    [None],
    [[], {}],
    {"": ""},
    {"a": {"a": {"a": 1}}},
    {"__proto__": 1},
    {"key": "a", "value": None},
    ["x"] * 1000,
    {str(number): number for number in range(500)},
    _NESTED,
    b"\xff\x00",
]
RAW: Final = [
    b"",
    b" ",
    b"{",
    b"}",
    b"[]",
    b"null",
    b"true",
    b"1",
    b"-",
    b'"x"',
    b"\xff\xfe",
    b"\xef\xbb\xbf{}",
    b"{}{}",
    b'{"a":NaN}',
    b'{"a":1e999}',
    b'{"a":' + b"9" * 5000 + b"}",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"name":"\\ud800"}',
    b'{"name":"\xed\xa0\x80"}',
    b'{"name":"a","name":"b"}',
    b'{"name":"\x01"}',
    b"\x00" * 50,
    '{"name":"a"}'.encode("utf-16"),
    '{"name":"é"}'.encode("latin-1"),
    b"\x81\xa4name\xc1",  # what MessagePack never uses
    b"\x81\xc0\xc0",  # a name that is none
    b"\xdf\xff\xff\xff\xff",  # four thousand million names
    b"\xdd\xff\xff\xff\xff\x01",
    b"\x81\xa4name\xdb\xff\xff\xff\xffx",
    b"\x81\xa1a" * 2_000,
    b"\x91" * 100_000,
    b"\xd6\xff\x00\x00\x00\x00",  # an instant
    b"\x81\xa1a\xc9\xff\xff\xff\xff\x05",
    b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n{}\r\n--x--\r\n',
    b"--x\r\nContent-Disposition: form-data",
    b"a=1&b=2",
    b"<?xml version='1.0'?><a/>",
    b"\x1f\x8b\x08\x00" + b"\x00" * 20,
]


class Maker:
    """Makes values that a schema allows, and some at or beyond its edge.

    Args:
        chance: where all choices come from.
        components: the schemas that references name.
        known: values that are there, by the name of the field that holds such.
    """

    def __init__(self, chance: random.Random, components: Mapping[str, Any], known: Known) -> None:
        self._chance = chance
        self._components = components
        self._known = known

    def value(self, schema: Mapping[str, Any], name: str = "", depth: int = 0) -> Any:
        """Return a value for a field of this name."""
        chance = self._chance
        if "$ref" in schema:
            return self.value(self._components[schema["$ref"].rpartition("/")[2]], name, depth)
        if options := schema.get("anyOf") or schema.get("oneOf"):
            return self.value(chance.choice(options), name, depth)
        if "enum" in schema or "const" in schema:
            return chance.choice(schema.get("enum") or [schema["const"]])
        kind = schema.get("type")
        if kind == "object":
            return self._object(schema, name, depth)
        if kind == "array":
            return self._array(schema, name, depth)
        if name in self._known and chance.random() < 0.7:
            return chance.choice(self._known[name])
        return self._scalar(schema, kind)

    def _object(self, schema: Mapping[str, Any], name: str, depth: int) -> dict[str, Any]:
        chance, required = self._chance, set(schema.get("required", ()))
        made = {
            key: self.value(inner, key, depth + 1)
            for key, inner in schema.get("properties", {}).items()
            if key in required or (chance.random() < 0.6 and depth < 6)
        }
        more = schema.get("additionalProperties")
        if isinstance(more, dict) and depth < 6:
            for _ in range(chance.randint(0, 2)):
                made[chance.choice(["a", "depth", "loss", "é", "", "x.y"])] = self.value(more, name, depth + 1)
        return made

    def _array(self, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        if "prefixItems" in schema:
            return [self.value(inner, name, depth + 1) for inner in schema["prefixItems"]]
        inner = schema.get("items")
        if not isinstance(inner, dict) or depth > 6:
            return []
        return [
            self.value(inner, name.removesuffix("s"), depth + 1) for _ in range(self._chance.choice([0, 1, 1, 2, 3]))
        ]

    def _scalar(self, schema: Mapping[str, Any], kind: Any) -> Any:
        chance = self._chance
        if kind == "integer":
            edges = [schema.get("minimum", 0), schema.get("maximum", 100)]
            near = [edge + step for edge in edges for step in (-1, 0, 1)]
            return chance.choice([0, 1, 2, 7, -1, *near, 2**31, 2**63 - 1, -(2**63)])
        if kind == "number":
            return chance.choice([0, 1, 0.5, -1.5, 1e-9, 1e300, 0.1 + 0.2, schema.get("minimum", 2)])
        if kind == "boolean":
            return chance.random() < 0.5
        if kind == "null":
            return None
        if kind == "string" and schema.get("format") == "date-time":
            return chance.choice(["2026-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
        if kind == "string" and schema.get("contentEncoding") == "base64":
            return base64.b64encode(chance.randbytes(chance.choice([0, 1, 40]))).decode()
        if kind == "string":
            return chance.choice(["x", "people", "m", "loss", "a b", "é", "1 month", "2026-01-01", *TEXTS[:12]])
        return chance.choice([1, "x", None, [1], {"a": 1}])  # anything is allowed


def damaged(value: Any, chance: random.Random) -> Any:
    """Return a value with one thing in it replaced, renamed, taken away, doubled, added or wrapped."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(list(value))
        rest = {name: item for name, item in value.items() if name != key}
        what = chance.random()
        if what < 0.12:
            return rest
        if what < 0.18:
            return {**value, chance.choice(["no_such", "", "self", "x" * 500, "\x00"]): chance.choice(VALUES)}
        if what < 0.24:
            return {**rest, key.swapcase() if isinstance(key, str) else "k": value[key]}
        return {**rest, key: damaged(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.7:
        place = chance.randrange(len(value))
        if chance.random() < 0.2:
            return value * chance.choice([0, 2, 50])
        return [*value[:place], damaged(value[place], chance), *value[place + (chance.random() < 0.7) :]]
    if isinstance(value, str) and value and chance.random() < 0.4:
        place = chance.randrange(len(value) + 1)
        return chance.choice(
            [
                value[:place],
                value[place:],
                value[:place] + chance.choice(TEXTS)[:200] + value[place:],
                value * chance.choice([2, 100]),
                value.upper(),
                f" {value}\n",
            ]
        )
    if isinstance(value, int) and not isinstance(value, bool) and chance.random() < 0.3:
        return chance.choice([-value, value + 1, value * 10**6, str(value), float(value), [value]])
    return chance.choice([chance.choice(TEXTS), chance.choice(VALUES), [value], {"x": value}])


def damaged_bytes(body: bytes, chance: random.Random) -> bytes:
    """Return bytes of which a few were changed, taken away, doubled or put in."""
    changed = bytearray(body or b"{}")
    for _ in range(chance.choice([1, 1, 2, 5])):
        place = chance.randrange(len(changed) + 1)
        what = chance.randrange(6)
        if what == 0 and changed:
            changed[place % len(changed)] ^= 1 << chance.randrange(8)
        elif what == 1:
            del changed[place:]
        elif what == 2:
            del changed[place : place + chance.choice([1, 3, 30])]
        elif what == 3:
            changed[place:place] = changed[place : place + 40] * chance.choice([1, 30])
        elif what == 4:
            changed[place:place] = chance.choice(
                [b"\x00", b"\xff", b'"', b"\\", b"{", b"]", b",", b"\xed\xa0\x80", b"9" * 40]
            )
        else:
            changed[place:place] = chance.randbytes(chance.choice([1, 4, 20]))
    return bytes(changed)


def encoded(value: Any, form: str, chance: random.Random) -> tuple[bytes, str]:
    """Return a value's bytes, and the form that they have: JSON where MessagePack cannot hold it."""
    if form == MSGPACK:
        try:
            return msgspec.msgpack.encode(value), MSGPACK
        except (ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
            pass
    text = json.dumps(value, ensure_ascii=chance.random() < 0.5, default=_in_base64)
    return text.encode("utf-8", "surrogatepass"), JSON


def _in_base64(value: Any) -> str:
    return base64.b64encode(value).decode()


def harvest(value: Any, known: dict[str, list[Any]], name: str = "") -> None:
    """Add the scalars of a value to what is known, by the names of their fields."""
    if isinstance(value, dict):
        for key, item in value.items():
            harvest(item, known, str(key))
    elif isinstance(value, list):
        for item in value[:20]:
            harvest(item, known, name.removesuffix("s"))
    elif name and isinstance(value, str | int | float) and len(str(value)) < 200 and not LEAKS.search(str(value)):
        held = known.setdefault(name, [])
        if value not in held and len(held) < 40:
            held.append(value)

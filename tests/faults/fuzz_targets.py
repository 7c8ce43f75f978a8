"""What is fuzzed: every route of the server's own OpenAPI document and of the MLflow protocol, with real requests."""

from __future__ import annotations

import base64
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

import msgspec
from fuzz_bodies import JSON, MSGPACK, RAW, TEXTS, Maker, damaged, damaged_bytes, encoded, harvest
from fuzz_wire import Shot, reframed

import interlock.server.mlflow.app  # noqa: F401 - whose imports make the table whole
from interlock.server.mlflow.routing import Table

TRAFFIC: Final = Path(__file__).parent / "mlflow_traffic.jsonl"
# Operations that work for long where they are not refused, and how often they are asked compared with others.
HEAVY: Final = {
    "/api/v1/audit/prepare": 0.1,
    "/api/v1/audit/check": 0.1,
    "/api/v1/deploy/deploy": 0.2,
    "/api/v1/deploy/start": 0.2,
    "/api/v1/ledger/verify": 0.2,
    "/api/v1/loop/candidate": 0.2,
    "/api/v1/loop/turn": 0.1,
    "/api/v1/monitor/replay": 0.3,
    "/api/v1/train/run": 0.3,
    "/api/3.0/mlflow/traces/get": 0.05,  # waits for the rest of a trace
    "/ajax-api/3.0/mlflow/traces/get": 0.05,
}


_QUERIES: Final = ["&&&", "=", "%zz=%", "a=" + "b" * 20_000, "%00", "a[]=1;b", "\ufeff"]


class Real(NamedTuple):
    """What was sent once and was answered well: the path's parts, the query, the content type, the body.

    `here` says that it was sent to this server; otherwise its ids are those of another one.
    """

    parts: Mapping[str, str] = {}
    query: tuple[tuple[str, str], ...] = ()
    media: str = ""
    body: Any = None
    here: bool = False


class Target(NamedTuple):
    """A route.

    Attributes:
        method: its verb.
        path: its path, with `{name}` for parts.
        schema: of its body or, of a GET, of its query; None where it takes bytes or nothing.
        components: what the schema's references name.
        query: names in the query beside the schema's.
        real: what was really sent to it.
    """

    method: str
    path: str
    schema: Mapping[str, Any] | None
    components: Mapping[str, Any]
    query: tuple[str, ...] = ()
    real: tuple[Real, ...] = ()

    @property
    def name(self) -> str:
        """Its verb and path."""
        return f"{self.method} {self.path}"

    @property
    def takes_body(self) -> bool:
        """Whether it waits for a body, and does nothing where that does not come whole."""
        return self.method != "GET"


def of_document(document: Mapping[str, Any], real: Mapping[str, list[Real]]) -> Iterator[Target]:
    """Yield the routes of an OpenAPI document."""
    components = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            media = described.get("requestBody", {}).get("content", {})
            query = tuple(item["name"] for item in described.get("parameters", ()) if item["in"] == "query")
            target = Target(method.upper(), path, media.get(JSON, {}).get("schema"), components, query)
            yield target._replace(real=tuple(real.get(target.name, ())))


def of_mlflow(real: Mapping[str, list[Real]]) -> Iterator[Target]:
    """Yield the routes of the MLflow protocol, whose requests are structs."""
    for route in Table():
        schema, components = None, {}
        if route.request is not None:
            (schema,), components = msgspec.json.schema_components([route.request])
        name = f"{route.method} {route.path.replace('/ajax-api/', '/api/')}"
        yield Target(route.method, route.path, schema, components, ("path", "run_uuid"), tuple(real.get(name, ())))


def recorded() -> dict[str, list[Real]]:
    """Return requests of real MLflow clients, by route: recorded while the contract tests ran, ids and all."""
    found: dict[str, list[Real]] = defaultdict(list)
    for line in TRAFFIC.read_text("utf-8").splitlines():
        one = json.loads(line)
        body = base64.b64decode(one["bytes"]) if "bytes" in one else one.get("body")
        query = tuple((name, value) for name, value in one.get("query", ()))
        found[one["route"]].append(Real(one.get("parts", {}), query, one.get("type", ""), body))
    return found


class Aim:
    """Makes requests for routes.

    Args:
        chance: where all choices come from.
        known: values that are there, by the name of the field that holds such.
        mlflow: the same, as the MLflow protocol calls them.
    """

    def __init__(self, chance: random.Random, known: Mapping[str, list[Any]], mlflow: Mapping[str, list[Any]]) -> None:
        self._chance = chance
        self._operations, self._mlflow = known, mlflow
        self._known = known
        self._own: dict[str, Mapping[str, list[Any]]] = {}

    def shot(self, target: Target) -> Shot:
        """Return the next request for a route."""
        chance = self._chance
        self._known = self._operations if target.path.startswith("/api/v1/") else self._mlflow
        real = self._localized(chance.choice(target.real)) if target.real and chance.random() < 0.6 else None
        damage = chance.choice([0, 0, 1, 1, 1, 1, 2, 3])
        plain = self._plain(target, real, damage)
        query = self._query_of(target, real, plain, damage)
        path = self._path(target, real) + (f"?{_quoted(query)}" if query else "")
        body, media = (b"", "") if target.method == "GET" else self._encoded(target, real, plain)
        what = chance.random()
        if what < 0.08 and target.method != "GET":
            body = chance.choice(RAW)
        elif what < 0.16 and body:
            body = damaged_bytes(body, chance)
        elif what > 0.98:
            path += "?" + chance.choice(_QUERIES)
        headers = (("Content-Type", media),) if media else ()
        if target.path == "/v1/traces" and chance.random() < 0.9:
            headers += (("X-Mlflow-Experiment-Id", str(self._known["experiment_id"][0])),)
        shot = Shot(target.method, quote(path, safe="/?%&=+:;[]{}@!$'()*,~-._"), headers, body)
        return reframed(shot, chance) if 0.9 < what < 0.98 else shot

    def _plain(self, target: Target, real: Real | None, damage: int) -> Any:
        """Return a body before it is encoded: bytes, a value, or None."""
        chance = self._chance
        if real is not None:
            body = real.body
        elif target.schema is not None:
            body = Maker(chance, target.components, self._known_of(target)).value(target.schema)
        else:
            body = chance.choice([b"", b"a,b\n1,2\n", chance.randbytes(300)])
        if not isinstance(body, bytes) and body is not None:
            for _ in range(damage):
                body = damaged(body, chance)
        return body

    def _encoded(self, target: Target, real: Real | None, plain: Any) -> tuple[bytes, str]:
        """Return a body and its content type, "" for none."""
        if plain is None:
            return b"", JSON
        if isinstance(plain, bytes):
            return plain, real.media if real else ""
        form = MSGPACK if target.path.startswith("/api/v1/") and self._chance.random() < 0.3 else JSON
        return encoded(plain, form, self._chance)

    def _query_of(self, target: Target, real: Real | None, plain: Any, damage: int) -> list[tuple[str, Any]]:
        """Return the query, which is where a GET has its request."""
        query: list[tuple[str, Any]] = list(real.query) if real else []
        if target.method == "GET":
            return self._query(query or (_pairs(plain) if isinstance(plain, dict) else []), damage)
        if self._chance.random() < 0.5:
            query += [(name, self._text(name)) for name in target.query]
        return query

    def _known_of(self, target: Target) -> Mapping[str, list[Any]]:
        """Return what is known; what was sent to a route itself goes before what others call by the same name."""
        if target.name not in self._own:
            own: dict[str, list[Any]] = {}
            harvest([real.body for real in target.real if real.here], own)
            self._own[target.name] = {**self._known, **own}
        return self._own[target.name]

    def _text(self, name: str) -> str:
        chance = self._chance
        if name in self._known and chance.random() < 0.7:
            return str(chance.choice(self._known[name]))
        return chance.choice(TEXTS)

    def _query(self, query: list[tuple[str, Any]], damage: int) -> list[tuple[str, Any]]:
        chance = self._chance
        for _ in range(damage):
            what, place = chance.random(), chance.randrange(len(query) + 1)
            if what < 0.2:
                del query[place:]
            elif what < 0.4:
                query = query * 2
            elif what < 0.5 or place == len(query):
                query.insert(place, (chance.choice(["x", "", "max_results", "page_token"]), chance.choice(TEXTS)))
            else:
                query[place] = (query[place][0], damaged(query[place][1], chance))
        return query[:60]

    def _path(self, target: Target, real: Real | None) -> str:
        """Return a route's path with its parts filled, mostly by what is there."""

        def part(found: re.Match[str]) -> str:
            name, chance = found[1], self._chance
            value = real.parts.get(name, "") if real else ""
            if chance.random() < 0.2:
                value = damaged(value or "x", chance)
            elif not value or chance.random() < 0.3:
                value = self._text(name)
            raw = (value if isinstance(value, str) else repr(value)).encode("utf-8", "surrogatepass")[:2000]
            return quote(raw, safe="/" if name == "path" else "")

        return re.sub(r"\{(\w+)\}", part, target.path)

    def _localized(self, real: Real) -> Real:
        """Return what was sent elsewhere with ids that are there."""

        share = 0.05 if real.here else 0.85

        def swapped(value: Any, name: str) -> Any:
            if isinstance(value, dict):
                return {key: swapped(item, key) for key, item in value.items()}
            if isinstance(value, list):
                return [swapped(item, name.removesuffix("s")) for item in value]
            there = [item for item in self._known.get(name, ()) if type(item) is type(value)]
            return self._chance.choice(there) if there and self._chance.random() < share else value

        query = tuple((name, str(swapped(value, name))) for name, value in real.query)
        parts = {name: str(swapped(value, name)) for name, value in real.parts.items()}
        return real._replace(body=swapped(real.body, ""), query=query, parts=parts)


def _pairs(body: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, item) for name, value in body.items() for item in (value if isinstance(value, list) else [value])]


def _quoted(query: list[tuple[str, Any]]) -> str:
    pairs = [(name, value if isinstance(value, str) else repr(value)) for name, value in query]
    return urlencode(
        [(n.encode("utf-8", "surrogatepass"), v.encode("utf-8", "surrogatepass")[:3000]) for n, v in pairs]
    )

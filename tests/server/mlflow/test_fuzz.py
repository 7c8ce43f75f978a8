"""Every route of the protocol under fire: real requests with one or two things wrong, random bytes, odd paths.

Whatever comes, the answer is one of the protocol: never a 5xx other than 501 and 507, an error always as JSON, its
words never Python's or the database's.
"""

from __future__ import annotations

import os
import random
import re
import types
import typing
from typing import Any
from urllib.parse import quote, unquote, urlencode

import anyio
import msgspec
import pytest
from starlette.testclient import TestClient

from interlock.core.ids import new_id
from interlock.server.mlflow.routing import Route, Table

API = "/api/2.0/mlflow/"
ROUTES = sorted(
    {(route.method, route.path): route for route in Table() if not route.path.startswith("/ajax-api")}.items(),
    key=lambda item: item[0],
)
ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "14"))  # a thousand finds what fourteen do not
SEED = os.environ.get("FUZZ_SEED", "")
LEAKS = re.compile(
    r"Traceback|File \"|\bline \d+, in\b|\b[A-Za-z.]*(?:Error|Exception)\b|NoneType|object at 0x|<class|msgspec|apsw"
    r"|sqlite|\b(?:SELECT|INSERT|UPDATE|WHERE|FROM)\b|datetime\.|\bSQL\b",
)
_DEEP: Any = []
for _ in range(400):
    _DEEP = [_DEEP]
ODD_TEXTS = [
    "",
    " ",
    "\x00",
    "a\x00b",
    "\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace"),
    "'; DROP TABLE runs; --",
    '"',
    "%s%n%d",
    "../../../../etc/passwd",
    "..\\..\\x",
    "/",
    "//",
    ".",
    "..",
    "a/../b",
    "\r\nX: y",
    "\u202e\u0000\uffff",
    "é" * 300,
    "x" * 10_000,
    "{{}}",
    "NaN",
    "-0",
    "1e400",
    "9" * 40,
    "true",
    "runs:/",
    "models:/",
    "models:/a/b/c",
    "mlflow-artifacts:/",
    "mlflow-artifacts://host/../x",
    "file:///etc/passwd",
    "http://[",
    "m-",
    "tag.`x` = 'y",
    "metrics.a > 'x'",
    "((((((((((a",
    "AAAA",
    "=",
    "bnVsbA==",
]
ODD_VALUES = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63 - 1,
    -(2**63),
    2**64,
    10**40,
    1.5,
    -0.0,
    1e308,
    [],
    {},
    [None],
    [[]],
    {"": ""},
    {"key": "a"},
    [{"key": None, "value": None}],
    _DEEP,
]
RAW = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"1",
    b'"x"',
    b"\xff\xfe",
    b"{}" * 3,
    b'{"a":NaN}',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"name":"\\ud800"}',
    b'{"name":"a","name":"b"}',
    b"\x00" * 50,
    b'{"experiment_id": 0' + b"0" * 5000 + b"}",
]


class World:
    """Things that are there, so that mutated requests get past the first look-up."""

    def __init__(self, client: TestClient) -> None:
        def post(path: str, body: Any) -> Any:
            answer = client.post(API + path, json=body)
            assert answer.status_code == 200, answer.text
            return answer.json()

        experiment = post("experiments/create", {"name": new_id()})["experiment_id"]
        self.known: dict[str, str] = {
            "experiment_id": experiment,
            "version": "1",
            "alias": "best",
            "key": "k",
            "value": "v",
        }
        run = post("runs/create", {"experiment_id": experiment, "run_name": "r"})["run"]["info"]["run_id"]
        path = f"{experiment}/{run}/artifacts/d/x.json"
        client.put(f"/api/2.0/mlflow-artifacts/artifacts/{path}", content=b"{}")
        post("runs/log-metric", {"run_id": run, "key": "k", "value": 1.0, "timestamp": 1, "step": 1})
        logged = post("logged-models", {"experiment_id": experiment, "name": "l", "source_run_id": run})
        name = f"model-{run}"
        post("registered-models/create", {"name": name})
        post("model-versions/create", {"name": name, "source": f"runs:/{run}/d"})
        post("registered-models/alias", {"name": name, "alias": "best", "version": "1"})
        event = {"entity": "BUDGET_POLICY", "action": "EXCEEDED"}
        hook = post("webhooks", {"name": "h", "url": "http://127.0.0.1:9/", "events": [event]})
        self.known |= {
            "run_id": run,
            "run_uuid": run,
            "name": name,
            "model_id": logged["model"]["info"]["model_id"],
            "webhook_id": hook["webhook"]["webhook_id"],
            "path": path,
            "metric_key": "k",
            "source": f"runs:/{run}/d",
            "filter": "attributes.name = 'x'",
            "request_id": "tr-" + "0" * 32,
            "trace_id": "tr-" + "0" * 32,
            "url": "http://127.0.0.1:9/",
            "stage": "Staging",
        }

    def value(self, name: str, kind: Any, chance: random.Random) -> Any:
        """Return a value that a field may well have."""
        origin, inner = typing.get_origin(kind), typing.get_args(kind)
        if origin is typing.Annotated:
            return self.value(name, inner[0], chance)
        if origin in {typing.Union, types.UnionType}:
            return self.value(name, inner[0], chance)
        if origin is typing.Literal:
            return chance.choice(inner)
        if origin in {list, tuple}:
            return [self.value(name.removesuffix("s"), inner[0], chance) for _ in range(chance.randint(0, 2))]
        if origin is dict:
            return {"k": self.value(name, inner[1], chance)}
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self.request(kind, chance)
        if kind is bool:
            return chance.random() < 0.5
        if kind in {int, float}:
            return chance.randint(1, 5)
        return self.known.get(name, "x")

    def request(self, kind: type[Any], chance: random.Random) -> dict[str, Any]:
        """Return a whole request."""
        hints = typing.get_type_hints(kind, include_extras=True)
        return {
            field.encode_name: self.value(field.encode_name, hints[field.name], chance)
            for field in msgspec.structs.fields(kind)
        }


def mutated(value: Any, chance: random.Random) -> Any:
    """Return a value with one thing in it replaced, taken away or doubled."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(list(value))
        rest = {name: item for name, item in value.items() if name != key}
        return rest if chance.random() < 0.15 else {**rest, key: mutated(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.6:
        place = chance.randrange(len(value))
        return [*value[:place], mutated(value[place], chance), *value[place:]]
    return chance.choice(ODD_TEXTS if chance.random() < 0.5 else ODD_VALUES)


def fill(path: str, world: World, chance: random.Random) -> str:
    """Return a route's path with its parts filled, mostly by what is there."""

    def part(found: re.Match[str]) -> str:
        odd = chance.random() < 0.4
        value = chance.choice(ODD_TEXTS) if odd else world.known.get(found[1], "x")
        return quote(value[:2000], safe="/" if found[1] == "path" else "")

    return re.sub(r"\{(\w+)\}", part, path)


class Answer(msgspec.Struct):
    """What came back: status, body, and the headers in small letters."""

    status: int
    body: bytes
    headers: dict[str, str]


def ask(client: TestClient, method: str, path: str, content: bytes = b"", **headers: str) -> Answer:
    """Return the answer to a request whose path is sent as it is, which HTTP clients would tidy first."""
    raw, _, query = path.partition("?")
    sent = {"host": "127.0.0.1:8230", "content-length": str(len(content)), **headers}
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw),
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "headers": [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in sent.items()],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8230),
        "extensions": {},
        "state": {},
    }
    messages: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Any) -> None:
        messages.append(message)

    async def run() -> None:
        with anyio.fail_after(60):
            await client.app(scope, receive, send)

    client.portal.call(run)
    bodies = [message.get("body", b"") for message in messages[1:]]
    found = {name.decode().lower(): value.decode("latin-1") for name, value in messages[0]["headers"]}
    return Answer(messages[0]["status"], b"".join(bodies), found)


def shoot(client: TestClient, route: Route, world: World, chance: random.Random) -> tuple[str, Answer]:
    """Return what was sent, and the answer."""
    path, raw = fill(route.path, world, chance), chance.random() < 0.15
    body = world.request(route.request, chance) if route.request else {"path": "x"}
    for _ in range(chance.randint(0, 2)):
        body = mutated(body, chance)
    headers = {"content_type": "application/json"}
    if chance.random() < 0.2:
        headers["range"] = chance.choice(["bytes=0-", "bytes=-0", "bytes=9-1", "bytes=x", "bytes=" + "9" * 5000])
        headers |= {"if_none_match": chance.choice(['"x"', "*", ""]), "if_range": '"x"'}
    content = chance.choice(RAW) if raw else msgspec.json.encode(body)
    if route.method == "GET":
        query = body if isinstance(body, dict) else {"x": body}
        pairs = [
            (name, item) for name, value in query.items() for item in (value if isinstance(value, list) else [value])
        ]
        path += "?" + (quote(content[:3000]) if raw else urlencode([(name, _text(item)) for name, item in pairs]))
        content = b""
    return f"{route.method} {path[:300]} {content[:500]!r}", ask(client, route.method, path, content, **headers)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def check(sent: str, answer: Answer) -> None:
    """Accept an answer of the protocol."""
    shown = f"{sent}\n{answer.status} {answer.body[:600]!r}"
    assert answer.status < 500 or answer.status in {501, 507}, shown
    if answer.status >= 400 and not (answer.status == 416 and not answer.body):
        found = msgspec.json.decode(answer.body)
        assert set(found) - {"code"} == {"error_code", "message"}, shown  # OTLP wants a code too
        assert not (leak := LEAKS.search(without_echo(found["message"]))), f"{leak}\n{shown}"
        assert len(found["message"]) <= 2100, shown


def without_echo(message: str) -> str:
    """Return a message without what it quotes of the request."""
    for text in sorted(ODD_TEXTS, key=len, reverse=True):
        if len(text) > 3:
            message = message.replace(text, "")
    return message


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory):
    from interlock.sdk.workspace import Workspace
    from interlock.server.app import create_app
    from interlock.store import create_store

    folder = tmp_path_factory.mktemp("fuzz")
    with (
        Workspace.over(create_store(folder / ".interlock")) as workspace,
        TestClient(create_app(workspace), base_url="http://127.0.0.1:8230", raise_server_exceptions=False) as opened,
    ):
        yield opened


@pytest.mark.parametrize("named", [f"{method} {path}" for (method, path), _ in ROUTES])
def test_a_route_answers_whatever_comes(client: TestClient, named: str) -> None:
    route = {f"{method} {path}": found for (method, path), found in ROUTES}[named]
    chance = random.Random(SEED + named)
    world = World(client)
    for _ in range(ROUNDS):
        check(*shoot(client, route, world, chance))


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW"])
def test_paths_that_are_none(client: TestClient, method: str) -> None:
    chance = random.Random(method)
    paths = ["/api/2.0", "/api/2.0/", "/api/2.0/mlflow", "/api/2.0/mlflow/", "/ajax-api/", "/get-artifact/x"]
    for (_, path), _ in ROUTES:
        pieces = path.split("/")
        pieces[chance.randrange(1, len(pieces))] = quote(chance.choice(ODD_TEXTS)[:500], safe="")
        paths.append("/".join(pieces))
    for path in paths:
        answer = ask(client, method, path, b"{}" if method not in {"GET", "HEAD"} else b"")
        assert answer.status < 500 or answer.status == 501, f"{method} {path}: {answer.body!r}"
        if method != "HEAD" and path.startswith(("/api/2.0", "/ajax-api")):
            check(f"{method} {path}", answer)

"""`GET /`: what a server answers, and how to ask it: a body and a curl line for each protocol, ready to be sent."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import msgspec

from interlock.core.bundles import Column
from interlock.serve.columns import TAKES
from interlock.serve.engine import deployment_of
from interlock.serve.http import Endpoint, Request, Response, to_json
from interlock.serve.metadata import KEYS
from interlock.serve.openapi_pages import welcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from interlock.serve.engine import Engine
    from interlock.serve.revision import LiveRoute, View

_PLAIN_HOST: Final = re.compile(r"[A-Za-z0-9.\-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?")
_SEE: Final = {
    "/openapi.json": "all routes and their schemas, in OpenAPI 3.1",
    "/v2": "the Open Inference Protocol",
    "/-/status": "what runs",
    "/metrics": "Prometheus",
}


class Sample(msgspec.Struct, frozen=True):
    """One row that a deployment answers, from which protocols make their examples.

    Attributes:
        deployment: the deployment's name.
        columns: the input columns of all its models.
        row: a value a column, from golden rows. It is about nobody, so that an example that is sent makes nobody up.
        occurred_at: when it may have happened, ISO 8601.
        model: the name by which it is asked for, where the server has several models; else "".
    """

    deployment: str
    columns: tuple[Column, ...]
    row: dict[str, object]
    occurred_at: str
    model: str = ""


class Example(msgspec.Struct, frozen=True):
    """A request by one protocol: where it goes, and its JSON body."""

    path: str
    body: dict[str, object]


@runtime_checkable
class Explains(Protocol):
    """A serving protocol that shows how it is asked."""

    name: str

    def example(self, sample: Sample) -> Example:
        """Return a request for a row."""
        ...


class Welcome:
    """The page.

    Args:
        engine: what answers.
        protocols: the ways to ask; those that explain themselves are shown.
    """

    def __init__(self, engine: Engine, protocols: Sequence[object]) -> None:
        self.engine = engine
        self.protocols = tuple(protocol for protocol in protocols if isinstance(protocol, Explains))

    def routes(self) -> list[Endpoint]:
        """Return the endpoint."""
        return [Endpoint("GET", "/", self._page, describe=welcome)]

    async def _page(self, request: Request) -> Response:
        revision = self.engine.find("").current()
        now, address = self.engine.clock.now(), own_address(request)
        engines = self.engine.all()
        served = [_served(engine) for engine in engines]
        for told, engine in zip(served, engines, strict=True):
            if len(engines) > 1 and engine.revision is not None:
                name = engine.alias or engine.revision.deployment
                sample = sample_of(name, engine.revision.whole, now)
                told["ask"] = self._ask(msgspec.structs.replace(sample, model=name), address)
        page = {
            "deployment": revision.deployment,
            "revision": revision.number,
            "models": [_model(live) for live in revision.routes],
            "served": served,
            "ask": self._ask(sample_of(revision.deployment, revision.whole, now), address),
            "metadata": KEYS,
            "see": _SEE,
        }
        return Response(to_json(page))

    def _ask(self, sample: Sample, address: str) -> dict[str, dict[str, object]]:
        """Return a request for a row by each protocol."""
        examples = {protocol.name: protocol.example(sample) for protocol in self.protocols}
        return {
            name: {"path": one.path, "body": one.body, "curl": curl_line(address + one.path, one.body)}
            for name, one in examples.items()
        }


def sample_of(deployment: str, view: View, now: datetime) -> Sample:
    """Return a row made of golden rows, each column's value from another one: sound, and about nobody.

    Args:
        deployment: the deployment's name.
        view: its routes; of columns that several take, the first route's value counts.
        now: when the row shall have happened.
    """
    row: dict[str, object] = {}
    for live in reversed(view.routes):
        rows = live.model.golden.rows
        for number, column in enumerate(live.model.bundle.inputs):
            known = [one[column.name] for one in rows if one.get(column.name) is not None]
            if known:
                row[column.name] = known[number % len(known)]
    values = {column.name: _plain(column, row.get(column.name)) for column in view.columns}
    instant = now.replace(microsecond=0, tzinfo=None).isoformat() + "Z"
    return Sample(deployment, view.columns, values, instant)


def own_address(request: Request) -> str:
    """Return the address under which a caller reached the server; a strange Host header is not repeated."""
    host = request.headers.get(b"host", b"").decode("latin-1")
    return f"http://{host if _PLAIN_HOST.fullmatch(host) else 'localhost'}"


def curl_line(url: str, body: object) -> str:
    """Return a command that posts a body as JSON, quoted for a shell."""
    return f"curl {shlex.quote(url)} -H 'Content-Type: application/json' -d {shlex.quote(to_json(body).decode())}"


def _served(engine: Engine) -> dict[str, object]:
    """Return one of the server's models: by which name it is asked, and what it is."""
    revision = engine.revision
    return {
        "name": engine.alias or engine.name,
        "deployment": deployment_of(engine),
        "revision": None if revision is None else revision.number,
        "models": [] if revision is None else [_model(live) for live in revision.routes],
    }


def _model(live: LiveRoute) -> dict[str, object]:
    bundle = live.model.bundle
    return {
        "model": live.route.model,
        "role": live.route.role,
        "weight": live.route.weight,
        "target": bundle.target,
        "task": bundle.task,
        "classes": bundle.classes,
        "engine": live.model.engine.name,
        "inputs": [{"name": c.name, "type": c.type, "takes": TAKES[c.type]} for c in bundle.inputs],
    }


def _plain(column: Column, value: object) -> object:
    """Return a golden value as the column's type spells it: 21.0 is the whole number 21."""
    return int(value) if column.type == "integer" and isinstance(value, float) and value.is_integer() else value

"""`GET /openapi.json`: the OpenAPI 3.1 document of a model server, made of its endpoints and its models' signatures.

Nothing is listed twice: the paths are those of the table that answers, each Endpoint's `describe` says what it takes
and gives, the schemas of rows and answers are made of what is served now, and the refusals are shaped like one that the
path's own protocol really gives. It is made when somebody asks, and kept until another revision is served.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.errors import Error
from interlock.serve.http import Endpoint, Request, Response, to_json
from interlock.serve.openapi_model import scene_of, served
from interlock.serve.openapi_pages import itself
from interlock.serve.openapi_parts import Operation, Schema, document, like, reference
from interlock.serve.release import version

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interlock.serve.engine import Engine
    from interlock.serve.http import Refuse
    from interlock.serve.openapi_scene import Scene

PATH: Final = "/openapi.json"
_COLUMN_BYTES: Final = 2000  # how much work a column is, as that of a body
_ANY: Final = (405, 421, 500)
_BODY: Final = (400, 408, 413, 415)
_NAMED: Final = (404, 503)
_PREDICTS: Final = (404, 429, 503, 504)
_WHY: Final = {
    400: "The request cannot be read, or the model does not take these rows. No value is quoted.",
    403: "This caller may not.",
    404: "There is no model of this name.",
    405: "The path is asked with another method, which `Allow` names.",
    408: "The body did not come in time.",
    409: "What is there does not allow it.",
    413: "The body is larger than this server takes.",
    415: "The Content-Type or Content-Encoding is not read here.",
    421: "The server does not answer to the Host that was named.",
    429: "The server has as many requests under way as it takes.",
    500: "A fault of the server; its log has the request's id.",
    501: "What this needs is not installed.",
    503: "No model is loaded, it gives no sound answer, or the answer could not be recorded.",
    504: "There was no answer within the time that the caller gave.",
    507: "There is no room for another model.",
}
_TEXT: Final = {"type": "string"}
_HEADERS: Final[Schema] = {
    "interlock-model": {"description": "The versions that answered.", "required": True, "schema": _TEXT},
    "interlock-revision": {"description": "The revision that answered.", "required": True, "schema": _TEXT},
    "interlock-configuration": {"description": "A digest of what is deployed.", "required": True, "schema": _TEXT},
    "interlock-warning": {"description": "What is strange about the rows or the answers.", "schema": _TEXT},
    "interlock-request-id": {"description": "The request's id.", "required": True, "schema": _TEXT},
    "retry-after": {"description": "When to come back, in seconds.", "required": True, "schema": _TEXT},
    "allow": {"description": "The methods of this path.", "required": True, "schema": _TEXT},
}
_FURTHER_HEADERS: Final = {405: "allow", 429: "retry-after", 503: "retry-after"}
_BRACES: Final = re.compile(r"\{(\w+)\}")


def described(
    endpoints: Sequence[Endpoint], engine: Engine, words: Callable[[str], tuple[str, Refuse]]
) -> list[Endpoint]:
    """Return endpoints, and the one that describes them all.

    Args:
        endpoints: the endpoints.
        engine: the server's first engine.
        words: says of a path which protocol's it is, and what makes its refusals.
    """
    found = [*endpoints]
    found.append(Endpoint("GET", PATH, _Page(found, engine, words).answer, describe=itself))
    return found


class _Page:
    """The page; `endpoints` are those of its table, itself too."""

    def __init__(
        self, endpoints: Sequence[Endpoint], engine: Engine, words: Callable[[str], tuple[str, Refuse]]
    ) -> None:
        self._endpoints = endpoints
        self._engine = engine
        self._words = words
        self._kept: tuple[object, bytes] = (None, b"")

    async def answer(self, _: Request) -> Response:
        revisions = served(self._engine)
        key = [
            (
                alias,
                one.deployment,
                one.number,
                one.spec,
                *((live.route.model, live.route.bundle) for live in one.routes),
            )
            for alias, one in revisions
        ]
        if self._kept[0] != key:
            columns = sum(len(view.columns) for _, one in revisions for view in one.views.values())
            body = await self._engine.hands.work(columns * _COLUMN_BYTES, self._made)
            self._kept = key, body
        return Response(self._kept[1])

    def _made(self) -> bytes:
        return to_json(describe(self._endpoints, self._engine, self._words))


def describe(endpoints: Sequence[Endpoint], engine: Engine, words: Callable[[str], tuple[str, Refuse]]) -> Schema:
    """Return the document of some endpoints over an engine; the arguments are those of `described`.

    Cost: 2 ms for a model of 20 columns.
    """
    scene = scene_of(engine)
    responses: Schema = {}
    paths: Schema = {}
    for endpoint in sorted(endpoints, key=lambda one: one.path):
        who, refuse = words(endpoint.path)
        said = endpoint.describe(scene) if endpoint.describe is not None else Operation("", {})
        refusals = {}
        for status in _statuses(endpoint, said):
            responses[f"{who}_{status}"] = _refusal(status, refuse)
            refusals[str(status)] = reference(f"{who}_{status}", "responses")
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, said, scene, who, refusals)
    revisions = [one for _, one in served(engine)]
    return document(
        {
            "title": f"Interlock: {scene.title}",
            "version": version(),
            "x-interlock-revision": revisions[0].number if revisions else None,
            "x-interlock-models": [live.route.model for one in revisions for live in one.routes],
        },
        paths,
        {"schemas": scene.schemas, "examples": scene.examples, "responses": responses, "headers": _HEADERS},
    )


def _operation(endpoint: Endpoint, said: Operation, scene: Scene, who: str, refusals: Schema) -> Schema:
    headers = {name: reference(name, "headers") for name in ("interlock-request-id",)} | said.says
    answers = {200: said.answers, **said.further}
    responses = {
        str(status): {"description": "Done." if status == 200 else "Not so.", "headers": headers, "content": content}
        for status, content in answers.items()
    }
    found: Schema = {
        "operationId": f"{endpoint.method.lower()}{re.sub(r'[^a-z0-9]+', '_', endpoint.path.lower())}",
        "tags": [who],
        "summary": said.summary,
        "parameters": [*_path_parameters(endpoint.path, said, scene), *said.asks],
        "responses": dict(sorted({**refusals, **responses}.items())),
    }
    if said.takes:
        found["requestBody"] = {"required": not said.optional, "content": said.takes}
    return found


def _path_parameters(path: str, said: Operation, scene: Scene) -> list[Schema]:
    """Return what stands in the braces: one of the names, or of the versions, that answer."""
    found = []
    for name in _BRACES.findall(path):
        known = [] if said.free else {"name": scene.names, "version": scene.versions}.get(name, [])
        schema = {**_TEXT, **({"enum": known} if known else {"pattern": r"^[A-Za-z0-9_.@:+-]{1,200}$"})}
        found.append({"name": name, "in": "path", "required": True, "schema": schema})
    return found


def _statuses(endpoint: Endpoint, said: Operation) -> list[int]:
    """Return with which statuses an endpoint may refuse a request; what it answers in form is none."""
    found = {*_ANY, *said.refuses}
    if endpoint.predicts:
        found |= {*_PREDICTS}
    if endpoint.method == "POST":
        found |= {*_BODY}
    if "{" in endpoint.path:
        found |= {*_NAMED}
    return sorted(found - {*said.further})


def _refusal(status: int, refuse: Refuse) -> Schema:
    """Return the response that a protocol refuses with, which is shown one and describes what it gives."""
    given = refuse(status, Error(_WHY[status]))
    schema = like(msgspec.json.decode(given.body)) if given.body else {}
    names = ["interlock-request-id", *([_FURTHER_HEADERS[status]] if status in _FURTHER_HEADERS else [])]
    return {
        "description": f"{HTTPStatus(status).phrase}. {_WHY[status]}",
        "headers": {name: reference(name, "headers") for name in names},
        "content": {given.media.decode().partition(";")[0]: {"schema": schema}},
    }

"""SageMaker's contract for containers that serve several models, and for batch transform.

One model needs `/ping` and `/invocations` only, which MLflow's protocol has (interlock.serve.invocations). Here are

    POST   /models                  {"model_name": ..., "url": "/opt/ml/..."}; 409: loaded already, 507: no room
    GET    /models                  {"models": [{"modelName": ..., "modelUrl": ...}], "nextPageToken": ...}
    GET    /models/{name}           one of them
    DELETE /models/{name}           unload
    POST   /models/{name}/invoke    a body as /invocations takes it
    GET    /execution-parameters    how batch transform shall ask

`X-Amzn-SageMaker-Target-Model`, under which the caller knew the model, comes back with the answer.

Source: docs.aws.amazon.com/sagemaker, "Custom containers contract for multi-model endpoints" and "Use your own
inference code".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

import msgspec

from interlock.core.errors import Error, Invalid, NotFound
from interlock.serve import openapi_pages as pages
from interlock.serve.http import UNREADABLE, Endpoint, Request, Response, header_text, to_json, unreadable
from interlock.serve.invocations import Invocations, Params, answer_rows
from interlock.serve.oip import check_origin, fleet_of
from interlock.serve.openapi_rows import invocation

if TYPE_CHECKING:
    from interlock.serve.engine import Engine

_TARGET: Final = b"x-amzn-sagemaker-target-model"
_PAGE: Final = 100
_LONGEST: Final = 1024
_TRANSFORM_MB: Final = 100  # of all requests that batch transform has under way
_MB: Final = 2**20
_DEFAULT_MB: Final = 6


class LoadRequest(msgspec.Struct):
    """The body that asks for a model; `url` is a folder in the container, or a reference of the registry."""

    model_name: str
    url: str


class _Model(msgspec.Struct, rename="camel"):
    model_name: str
    model_url: str


class _Page(msgspec.Struct, rename="camel", omit_defaults=True):
    models: list[_Model]
    next_page_token: str = ""


_decoder: Final = msgspec.json.Decoder(LoadRequest)
_PARAMETERS: Final = pages.page(
    "How batch transform shall ask.", {"MaxConcurrentTransforms": 1, "BatchStrategy": "", "MaxPayloadInMB": 1}
)


class SageMaker:
    """The protocol: `routes` are its endpoints over a server's engines."""

    name = "sagemaker"
    prefix = "/models"

    def routes(self, server: Engine) -> list[Endpoint]:
        """Return the endpoints.

        Args:
            server: what answers.
        """
        bound = _Bound(server)
        return [
            Endpoint("POST", "/models", bound.load, describe=pages.load(LoadRequest, _Model)),
            Endpoint("GET", "/models", bound.models, describe=pages.models(_Page)),
            Endpoint("GET", "/models/{name}", bound.model, describe=pages.struct("A model that answers.", _Model)),
            Endpoint("DELETE", "/models/{name}", bound.unload, describe=pages.unload),
            Endpoint(
                "POST", "/models/{name}/invoke", bound.invoke, predicts=True, describe=invocation(Params, named=True)
            ),
            Endpoint("GET", "/execution-parameters", bound.parameters, describe=_PARAMETERS),
        ]

    def refuse(self, status: int, error: Error) -> Response:
        """Return an error in the words of `/invocations`."""
        return Invocations().refuse(status, error)


class _Bound:
    """The handlers over a server's engines."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def load(self, request: Request) -> Response:
        check_origin(request)
        try:
            asked = _decoder.decode(request.body)
        except UNREADABLE as error:
            raise unreadable(error, request.body, hint='Send {"model_name": ..., "url": ...}.') from None
        if not 0 < len(asked.url) <= _LONGEST or "\0" in asked.url:
            raise Invalid("`url` is no folder of this container.", hint="Send the folder with the model's files.")
        await fleet_of(self.engine).load(asked.model_name, asked.url, anew=False)
        return Response(to_json(_Model(asked.model_name, asked.url)))

    async def models(self, request: Request) -> Response:
        return Response(to_json(_page(self._all(), request.query)))

    async def model(self, request: Request) -> Response:
        name = request.params[0]
        for found in self._all():
            if found.model_name == name:
                return Response(to_json(found))
        raise NotFound.named("model", name, [one.model_name for one in self._all()], hint="GET /models has all.")

    async def unload(self, request: Request) -> Response:
        check_origin(request)
        await fleet_of(self.engine).unload(request.params[0])
        return Response()

    async def invoke(self, request: Request) -> Response:
        engine, _, view = self.engine.named(request.params[0])
        response = await answer_rows(engine, request, view)
        if target := request.header(_TARGET):
            response.headers = (*response.headers, (_TARGET, header_text(target)))
        return response

    async def parameters(self, _: Request) -> Response:
        fleet = self.engine.fleet
        most = fleet.limits.body_bytes // _MB if fleet is not None else _DEFAULT_MB
        payload = max(1, min(most, _DEFAULT_MB))
        said = revision.serving.concurrent if (revision := self.engine.revision) is not None else None
        places = said or (fleet.limits.concurrent if fleet is not None else 1)
        at_once = max(1, min(places, _TRANSFORM_MB // payload))
        found = {"MaxConcurrentTransforms": at_once, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": payload}
        return Response(to_json(found))

    def _all(self) -> list[_Model]:
        """Return the models that answer, by name."""
        engine = self.engine
        if engine.fleet is None:
            served = [] if engine.revision is None else engine.revision.routes
            return sorted((_Model(live.name, live.route.model) for live in served), key=_by_name)
        rows = [row for row in engine.fleet.index() if row["state"] == "READY"]
        return sorted((_Model(row["name"], row["place"]) for row in rows), key=_by_name)


def _page(models: list[_Model], query: bytes) -> _Page:
    """Return a page of models; the token of the next is the last name of this one.

    Raises:
        Invalid: the query is none.
    """
    try:
        asked = parse_qs(query.decode("ascii"), strict_parsing=True) if query else {}
        limit = int(asked.get("limit", [str(_PAGE)])[0])
    except ValueError:
        raise Invalid("The query cannot be read.", hint="Send next_page_token and limit.") from None
    after = asked.get("next_page_token", [""])[0]
    left = [one for one in models if one.model_name > after]
    page = left[: max(1, min(limit, _PAGE))]
    return _Page(page, page[-1].model_name if len(left) > len(page) else "")


def _by_name(model: _Model) -> str:
    return model.model_name

"""Vertex AI's contract for containers: a health route and a predict route, which its variables name.

`AIP_HEALTH_ROUTE` and `AIP_PREDICT_ROUTE` are read when the server starts; without them there are no such routes. A
body is

    {"instances": [{"age": 40, ...}, ...], "parameters": {"subjects": ["p1", ...], "occurred_at": "2026-03-01"}}

where an instance is an object, a list in the order of the model's columns, or, for one column, a plain value. Each is
answered by `{"<target>": label, "probability": p, "prediction_id": id}` in `predictions`. `parameters` are those that
MLflow's `params` are (interlock.serve.invocations).

Source: cloud.google.com/vertex-ai, "Custom container requirements for prediction".
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.errors import Error, Invalid
from interlock.serve import openapi_pages as pages
from interlock.serve.engine import Ask
from interlock.serve.http import UNREADABLE, Endpoint, Request, Response, to_json, unreadable
from interlock.serve.invocations import Params, add_params, predictions
from interlock.serve.metadata import add_headers
from interlock.serve.openapi_rows import vertex as instances
from interlock.serve.records import by_column

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interlock.serve.columns import Value
    from interlock.serve.engine import Engine
    from interlock.serve.revision import View

HEALTH_ROUTE: Final = "AIP_HEALTH_ROUTE"
PREDICT_ROUTE: Final = "AIP_PREDICT_ROUTE"
DEPLOYED: Final = "AIP_DEPLOYED_MODEL_ID"
_ROUTE: Final = re.compile(r"/[\w./:~@%+-]{0,500}", re.ASCII)
_FORM: Final = 'Send {"instances": [...], "parameters": {...}}.'


class PredictRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body."""

    instances: list[Any]
    parameters: dict[str, object] | None = None


_decoder: Final = msgspec.json.Decoder(PredictRequest)


class Vertex:
    """The protocol: `routes` are its endpoints over one engine.

    Args:
        variables: the environment; None takes the process's own.
    """

    name = "vertex"

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = variables = os.environ if variables is None else variables
        self.prefix = route_of(variables, PREDICT_ROUTE) or "/-/vertex"

    def routes(self, server: Engine) -> list[Endpoint]:
        """Return the endpoints that the variables name.

        Args:
            server: what answers.

        Raises:
            Invalid: a variable names no path.
        """
        deployed = self._variables.get(DEPLOYED, "")

        async def health(_: Request) -> Response:
            return Response(b"{}", 503 if await server.verdict_all() else 200)

        async def predict(request: Request) -> Response:
            return await _predict(server.find(""), request, deployed)

        found = []
        if path := route_of(self._variables, HEALTH_ROUTE):
            found.append(Endpoint("GET", path, health, describe=pages.health({"type": "object"}, "application/json")))
        if path := route_of(self._variables, PREDICT_ROUTE):
            found.append(Endpoint("POST", path, predict, predicts=True, describe=instances(Params)))
        return found

    def refuse(self, status: int, error: Error) -> Response:
        """Return an error as Google's interfaces have it."""
        return Response(to_json({"error": {"code": status, "message": str(error)}}), status)


def route_of(variables: Mapping[str, str], name: str) -> str:
    """Return the path in a variable, or "".

    Raises:
        Invalid: it is none.
    """
    path = variables.get(name, "")
    if path and not _ROUTE.fullmatch(path):
        raise Invalid(f"{name} is no path.", about="server", hint="Set it to a path such as /predict, or unset it.")
    return path


async def _predict(server: Engine, request: Request, deployed: str) -> Response:
    revision = server.current()
    view = revision.whole

    def read() -> tuple[Ask, str]:
        ask, request_id = _read(request.body, view)
        ask.caller = request.peer
        add_headers(ask, request)
        return ask, request_id or request.id

    answer = await server.answer(len(request.body), read, revision, view)
    body: dict[str, object] = {"predictions": predictions(answer)}
    if deployed:
        body["deployedModelId"] = deployed
    return Response(
        await server.hands.work(len(answer.ids) * 256, to_json, body), headers=answer.headers, model=answer.model
    )


def _read(data: bytes, view: View) -> tuple[Ask, str]:
    """Return the rows of a body, and the request's id if it names one."""
    try:
        body = _decoder.decode(data)
    except UNREADABLE as error:
        raise unreadable(error, data, hint=_FORM) from None
    if not body.instances:
        raise Invalid("There are no instances.", hint=_FORM)
    return add_params(
        Ask(_columns(body.instances, [column.name for column in view.columns]), len(body.instances)),
        body.parameters or {},
    )


def _columns(instances: Sequence[Any], names: Sequence[str]) -> Mapping[str, Sequence[Value]]:
    """Return instances by column; all are of one kind, as the first is."""
    kind = type(instances[0])
    for row, one in enumerate(instances):
        if type(one) is not kind and (kind in {dict, list} or type(one) in {dict, list}):
            raise Invalid(
                f"Instance {row} is of another kind than the first.", hint="Send all as objects, or all as lists."
            )
    if kind is dict:
        return by_column(instances)
    rows = instances if kind is list else [[one] for one in instances]
    for row, one in enumerate(rows):
        if len(one) != len(names):
            raise Invalid(
                f"Instance {row} has {len(one)} values for {len(names)} columns.",
                hint=f"A list has them in this order: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}.",
            )
    return {name: [one[place] for one in rows] for place, name in enumerate(names)}

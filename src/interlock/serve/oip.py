"""The Open Inference Protocol v2 over REST, as KServe, Triton and MLServer clients speak it.

Each input column is one tensor of shape `[rows]` or `[rows, 1]`. Beside the model's inputs a request may carry two
tensors of texts (BYTES), which are metadata where the model has no input of that name: `subject`, whom each row is
about, and `occurred_at`, the ISO 8601 instant of each row's case. For all rows alike they may come as headers,
`Interlock-Subject` and `Interlock-Occurred-At`.

An answer has three tensors: the label under the target's name (INT64), `probability` of the positive class (FP64)
and `prediction_id` (BYTES), the row's key in the prediction log. A fourth comes where `outputs` asks for it:
`probabilities` of all classes (FP64, `[rows, classes]`), whose parameter `classes` names them, a list of JSON. Errors
are `{"error": sentence}`.

Source: github.com/kserve/open-inference-protocol, and the binary tensor and repository extensions of Triton.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec

from interlock.core.errors import Denied, Error, Invalid
from interlock.serve import openapi_oip as openapi
from interlock.serve.engine import Ask
from interlock.serve.every_class import PROBABILITIES, classes_of, named, table_of
from interlock.serve.http import UNREADABLE, Endpoint, Request, Response, count_of, to_json, unreadable
from interlock.serve.metadata import SUBJECTS, add_headers, meant
from interlock.serve.oip_common import (
    PLACES,
    PLATFORM,
    check_outputs,
    check_parameters,
    collect,
    index,
    names,
    offered,
    one_version,
    outputs,
    statistics,
)
from interlock.serve.release import version
from interlock.serve.tensors import Parameters, TensorIn, TensorOut, of_column, to_binary, values_of, values_of_binary
from interlock.serve.welcome import Example

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from interlock.serve.columns import Value
    from interlock.serve.engine import Answer, Engine, Fleet
    from interlock.serve.revision import Revision, View
    from interlock.serve.welcome import Sample

_LENGTH: Final = b"inference-header-content-length"
_ELSEWHERE: Final = ("subject", "subjects", "occurred_at", "timestamp", "request_id", "params")
_WHERE: Final = f"{PLACES[SUBJECTS]} GET / shows an example."


class Wanted(msgspec.Struct):
    """An output that the caller asks for."""

    name: str
    parameters: Parameters = {}


class InferRequest(msgspec.Struct):
    """The body of an infer request."""

    inputs: list[TensorIn]
    id: str | None = None
    parameters: Parameters = {}
    outputs: list[Wanted] | None = None
    # No fields of the protocol: looked for because who writes metadata here would lose them.
    subject: object = msgspec.UNSET
    subjects: object = msgspec.UNSET
    occurred_at: object = msgspec.UNSET
    timestamp: object = msgspec.UNSET
    request_id: object = msgspec.UNSET
    params: object = msgspec.UNSET


class InferResponse(msgspec.Struct, omit_defaults=True):
    """The body of its answer."""

    model_name: str
    id: str
    outputs: list[TensorOut]
    model_version: str = ""


class Change(msgspec.Struct):
    """The body of a request to the repository: which models are listed, and how one is loaded."""

    ready: bool = False
    parameters: dict[str, object] = {}


_decoder: Final = msgspec.json.Decoder(InferRequest)
_changes: Final = msgspec.json.Decoder(Change)


class OpenInference:
    """The protocol: `routes` are its endpoints over one engine."""

    name = "oip"
    prefix = "/v2"

    def routes(self, server: Engine) -> list[Endpoint]:
        """Return the endpoints.

        Args:
            server: what answers.
        """
        bound = _Bound(server)
        get: list[Endpoint] = []
        for path, handler, describe in (
            ("/v2", bound.server_metadata, openapi.SERVER),
            ("/v2/", bound.server_metadata, openapi.SERVER),  # so the protocol's OpenAPI file has it
            ("/v2/health/live", bound.live, openapi.LIVE),
            ("/v2/health/ready", bound.ready, openapi.READY),
            ("/v2/models", bound.models, openapi.MODELS),
            ("/v2/models/stats", bound.all_statistics, openapi.statistics),
            ("/v2/models/{name}", bound.model_metadata, openapi.metadata),
            ("/v2/models/{name}/ready", bound.model_ready, openapi.MODEL_READY),
            ("/v2/models/{name}/stats", bound.statistics, openapi.statistics),
            ("/v2/models/{name}/versions/{version}", bound.model_metadata, openapi.metadata),
            ("/v2/models/{name}/versions/{version}/ready", bound.model_ready, openapi.MODEL_READY),
            ("/v2/models/{name}/versions/{version}/stats", bound.statistics, openapi.statistics),
        ):
            get.append(Endpoint("GET", path, handler, describe=describe))
        infer, ask = openapi.infer, openapi.repository
        return [
            *get,
            Endpoint("POST", "/v2/models/{name}/infer", bound.infer, predicts=True, describe=infer),
            Endpoint("POST", "/v2/models/{name}/versions/{version}/infer", bound.infer, predicts=True, describe=infer),
            Endpoint("POST", "/v2/repository/index", bound.index, describe=openapi.index(Change)),
            Endpoint("POST", "/v2/repository/models/{name}/load", bound.load, describe=ask(Change, "Load a model.")),
            Endpoint("POST", "/v2/repository/models/{name}/unload", bound.unload, describe=ask(Change, "Unload it.")),
        ]

    def example(self, sample: Sample) -> Example:
        """Return a request for a row, as `GET /` shows it."""
        inputs = []
        for column in sample.columns:
            datatype = of_column(column).datatype
            inputs.append({"name": column.name, "shape": [1], "datatype": datatype, "data": [sample.row[column.name]]})
        if "occurred_at" not in {column.name for column in sample.columns}:
            inputs.append({"name": "occurred_at", "shape": [1], "datatype": "BYTES", "data": [sample.occurred_at]})
        return Example(f"/v2/models/{quote(sample.deployment)}/infer", {"id": "request-1", "inputs": inputs})

    def refuse(self, status: int, error: Error) -> Response:
        """Return an error in the protocol's words."""
        return Response(to_json({"error": str(error)}), status)


class _Bound:
    """The handlers over one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def live(self, _: Request) -> Response:
        return Response(b'{"live":true}')

    async def ready(self, _: Request) -> Response:
        ready = not await self.engine.verdict_all()
        return Response(to_json({"ready": ready}), 200 if ready else 503)

    async def server_metadata(self, _: Request) -> Response:
        extensions = ["binary_tensor_data", "model_repository", "statistics"]
        return Response(to_json({"name": "interlock", "version": version(), "extensions": extensions}))

    async def models(self, _: Request) -> Response:
        return Response(to_json({"models": names(self.engine)}))

    async def model_metadata(self, request: Request) -> Response:
        name, _, _, view = self._named(request)
        body = {
            "name": name,
            "versions": [live.version for live in view.routes],
            "platform": PLATFORM,
            "inputs": [of_column(column) for column in view.columns],
            "outputs": offered(view),
        }
        return Response(to_json(body))

    async def model_ready(self, request: Request) -> Response:
        name, engine, _, _ = self._named(request)
        ready = not await engine.verdict()
        return Response(to_json({"name": name, "ready": ready}), 200 if ready else 503)

    async def statistics(self, request: Request) -> Response:
        _, engine, _, view = self._named(request)
        return Response(to_json({"model_stats": statistics(engine, view)}))

    async def all_statistics(self, _: Request) -> Response:
        whole = [(one, one.revision.whole) for one in self.engine.all() if one.revision is not None]
        return Response(to_json({"model_stats": [row for one in whole for row in statistics(*one)]}))

    async def index(self, request: Request) -> Response:
        found = index(self.engine)
        if _change(request).ready:
            found = [row for row in found if row["state"] == "READY"]
        return Response(to_json(found))

    async def load(self, request: Request) -> Response:
        check_origin(request)
        check_load(_change(request).parameters)
        await fleet_of(self.engine).load(request.params[0])
        return Response()

    async def unload(self, request: Request) -> Response:
        check_origin(request)
        _change(request)
        await fleet_of(self.engine).unload(request.params[0])
        return Response()

    async def infer(self, request: Request) -> Response:
        name, engine, revision, view = self._named(request)
        said: list[tuple[str | None, dict[str, bool]]] = []

        def read() -> tuple[Ask, str]:
            plain = None if view.tensors is None or _LENGTH in request.headers else view.tensors.read(request.body)
            if plain is not None:
                ask = Ask({}, plain.inputs[0].shape[0], typed=[tensor.data for tensor in plain.inputs], by_column=True)
                ask.caller = request.peer
                add_headers(ask, request)
                said.append((plain.id, dict.fromkeys([name for name, _ in outputs(view)], False)))
                return ask, plain.id or request.id
            body, tail = _read(request)
            ask = collect(_tensors(body, tail), view)
            said.append((body.id, _wanted(body, view)))
            ask.caller = request.peer
            add_headers(ask, request)
            return ask, body.id or request.id

        answer = await engine.answer(len(request.body), read, revision, view)
        given, wanted = said[0]
        found = InferResponse(
            model_name=name,
            id=given if given is not None else request.id,
            outputs=_answer(answer, wanted, view),
            model_version=one_version(answer),
        )
        response = _encode(found, wanted)
        response.headers = (*response.headers, *answer.headers)
        response.model = answer.model
        return response

    def _named(self, request: Request) -> tuple[str, Engine, Revision, View]:
        name, of = (*request.params, "")[:2]
        return name, *self.engine.named(name, of)


def _change(request: Request) -> Change:
    """Return the body of a request to the repository; none at all will do."""
    if not request.body:
        return Change()
    try:
        return _changes.decode(request.body)
    except UNREADABLE as error:
        raise unreadable(error, request.body) from None


def fleet_of(engine: Engine) -> Fleet:
    """Return what loads and unloads.

    Raises:
        Invalid: nothing does here.
    """
    if engine.fleet is None:
        raise Invalid("Models are not loaded by hand here.", hint="Deploy a version: interlock deploy.")
    return engine.fleet


def check_load(parameters: Iterable[str]) -> None:
    """Accept the parameters of a load.

    Raises:
        Invalid: other files or settings shall be loaded than those of the registry.
    """
    if any(name == "config" or name.startswith("file:") for name in parameters):
        raise Invalid("A model is loaded as it was registered, without other files or settings.")


def check_origin(request: Request) -> None:
    """Accept who may change what is served: not the pages that somebody looks at with a browser.

    Raises:
        Denied: it comes from such a page.
    """
    if b"origin" in request.headers or b"sec-fetch-site" in request.headers:
        raise Denied("Pages in a browser cannot change which models are served.", about="server")


def _read(request: Request) -> tuple[InferRequest, bytes]:
    """Return the JSON of a request and the binary data behind it."""
    data, tail = request.body, b""
    if _LENGTH in request.headers:
        length = request.header(_LENGTH)
        if not 0 <= count_of(length) <= len(data):
            raise Invalid("Inference-Header-Content-Length is no length within the body.")
        data, tail = data[: int(length)], data[int(length) :]
    try:
        body = _decoder.decode(data)
    except UNREADABLE as error:
        raise unreadable(error, data, hint="GET / shows an example.") from None
    _check_places(body)
    return body, tail


def _check_places(body: InferRequest) -> None:
    """Refuse metadata where nobody reads them; other unknown parameters are ignored, as the protocol wants.

    Raises:
        Invalid: subjects, instants or a request id are misspelt, or in another place than theirs.
    """
    for name in _ELSEWHERE:
        if getattr(body, name) is not msgspec.UNSET:
            raise Invalid(f"An infer request has no field {name!r}.", hint=PLACES.get(meant(name), _WHERE))
    check_parameters(body.parameters)


def _tensors(body: InferRequest, tail: bytes) -> Iterator[tuple[str, list[int], list[Value]]]:
    """Yield name, shape and elements of each input."""
    for tensor in body.inputs:
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            yield tensor.name, tensor.shape, values_of(tensor)
        elif type(size) is not int or not 0 <= size <= len(tail):
            raise Invalid(f"Input {tensor.name!r}: binary_data_size is no length within the body.")
        else:
            raw, tail = tail[:size], tail[size:]
            yield tensor.name, tensor.shape, values_of_binary(tensor, raw)
    if tail:
        raise Invalid("There is binary data that belongs to no input.")


def _wanted(body: InferRequest, view: View) -> dict[str, bool]:
    """Return the outputs to send, and whether each goes binary."""
    every = body.parameters.get("binary_data_output") is True
    if not body.outputs:
        return dict.fromkeys([name for name, _ in outputs(view)], every)
    check_outputs((output.name for output in body.outputs), view)
    return {output.name: output.parameters.get("binary_data", every) is True for output in body.outputs}


def _answer(answer: Answer, wanted: dict[str, bool], view: View) -> list[TensorOut]:
    rows = len(answer.ids)
    kind = "FP64" if answer.regression else "BYTES" if isinstance(answer.labels[0], str) else "INT64"
    every = (
        TensorOut(answer.target, kind, [rows], data=answer.values),
        TensorOut("probability", "FP64", [rows], data=answer.scores),
        TensorOut("prediction_id", "BYTES", [rows], data=answer.ids),
    )
    sent = [tensor for tensor in every if tensor.name in wanted]
    if PROBABILITIES in wanted and (classes := classes_of(view)):
        data = table_of(answer, classes).ravel().tolist()
        sent.append(TensorOut(PROBABILITIES, "FP64", [rows, len(classes)], {"classes": named(classes)}, data))
    return sent


def _encode(found: InferResponse, wanted: dict[str, bool]) -> Response:
    """Return the answer, its binary tensors behind the JSON."""
    if not any(wanted.values()):
        return Response(to_json(found))
    tails = []
    for tensor in found.outputs:
        if wanted[tensor.name] and tensor.data is not msgspec.UNSET:
            tails.append(to_binary(tensor.datatype, tensor.data))
            tensor.data = msgspec.UNSET
            tensor.parameters = {**tensor.parameters, "binary_data_size": len(tails[-1])}
    head = to_json(found)
    return Response(
        b"".join([head, *tails]),
        media=b"application/octet-stream",
        headers=[(_LENGTH, str(len(head)).encode())],
    )

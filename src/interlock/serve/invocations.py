"""MLflow's scoring protocol: `/invocations`, `/ping`, `/health`, `/version`; with it SageMaker's container contract.

A body has one of `dataframe_split`, `dataframe_records`, `instances` and `inputs`, or is CSV with a header row, or a
Parquet file (`application/vnd.apache.parquet`). Columns that no model knows are left out, as MLflow does. Rows of
`instances` and `inputs` may be lists of numbers where all columns are numbers, in the model's order. `?model=NAME`
picks one of several models. Beside the data, `params` may say whom rows are about and when:

    {"dataframe_records": [...],
     "params": {"subjects": ["p1", ...], "occurred_at": "2026-03-01T12:00:00Z", "request_id": "r1"}}

`subjects` and `occurred_at` are one text a row, or one text for all; the headers `Interlock-Subject` and
`Interlock-Occurred-At` say the same. Each row is answered by
`{"<target>": label, "probability": p, "prediction_id": id}`.

Source: mlflow.org/docs, "Local inference server specification".
"""

from __future__ import annotations

import csv
import io
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from interlock.core.errors import Error, Invalid
from interlock.serve import openapi_pages as pages
from interlock.serve.engine import Ask
from interlock.serve.http import UNREADABLE, Endpoint, Request, Response, refusal, to_json, unreadable
from interlock.serve.literals import without_nan
from interlock.serve.metadata import add_headers, check_params, instants, subjects
from interlock.serve.openapi_rows import invocation
from interlock.serve.parquet_body import read_parquet
from interlock.serve.records import by_column, by_place, order_of
from interlock.serve.release import version
from interlock.serve.welcome import Example

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interlock.serve.columns import Value
    from interlock.serve.engine import Answer, Engine
    from interlock.serve.revision import View
    from interlock.serve.welcome import Sample

_DATA: Final = ("dataframe_split", "dataframe_records", "instances", "inputs")
_FORM: Final = f"A body has one of {', '.join(_DATA)}, and maybe params. GET / shows an example."
_CODES: Final = {
    404: "RESOURCE_DOES_NOT_EXIST",
    408: "BAD_REQUEST",
    413: "BAD_REQUEST",
    415: "BAD_REQUEST",
    429: "REQUEST_LIMIT_EXCEEDED",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "TEMPORARILY_UNAVAILABLE",
}
_NAMED: Final = (
    'Send {"instances": [{"column": value, ...}, ...]}, {"inputs": {"column": [value, ...], ...}} or dataframe_split.'
)
_PARQUET: Final = "application/vnd.apache.parquet"
_PACKED: Final = 100  # how much work a byte of Parquet may be, to one of JSON: it is always read beside the loop
Unset = msgspec.UnsetType


class Split(msgspec.Struct, forbid_unknown_fields=True):
    """A table as pandas' `to_dict(orient="split")` writes it."""

    columns: list[str]
    data: list[list[Any]]
    index: list[Any] | None = None


class Params(msgspec.Struct):
    """What may be said beside the data; other keys are refused, so that no misspelt one is lost."""

    subjects: list[str | None] | str | None = None
    occurred_at: list[str] | str | None = None
    request_id: str = ""


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """The JSON body."""

    dataframe_split: Split | Unset = msgspec.UNSET
    dataframe_records: list[dict[str, Any]] | Unset = msgspec.UNSET
    instances: list[Any] | Unset = msgspec.UNSET
    inputs: dict[str, Any] | list[Any] | Unset = msgspec.UNSET
    params: dict[str, object] = {}


_decoder: Final = msgspec.json.Decoder(Body)


class Invocations:
    """The protocol: `routes` are its endpoints over one engine."""

    name = "mlflow"
    prefix = "/invocations"

    def routes(self, server: Engine) -> list[Endpoint]:
        """Return the endpoints.

        Args:
            server: what answers.
        """

        async def health(_: Request) -> Response:
            return Response(b"\n", 503 if await server.verdict_all() else 200, media=b"text/plain")

        async def release(_: Request) -> Response:
            return Response(version().encode(), media=b"text/plain")

        async def invoke(request: Request) -> Response:
            if request.query and (named := request.asked("model")):
                engine, _, view = server.named(named)
                return await answer_rows(engine, request, view)
            return await answer_rows(server.find(""), request)

        return [
            Endpoint("GET", "/ping", health, describe=pages.health({"type": "string"}, "text/plain")),
            Endpoint("GET", "/health", health, describe=pages.health({"type": "string"}, "text/plain")),
            Endpoint("GET", "/version", release, describe=pages.text("Interlock's version.")),
            Endpoint("POST", "/invocations", invoke, predicts=True, describe=invocation(Params)),
        ]

    def example(self, sample: Sample) -> Example:
        """Return a request for a row, as `GET /` shows it."""
        params = {"occurred_at": sample.occurred_at, "request_id": "request-1"}
        path = f"{self.prefix}?model={quote(sample.model, safe='')}" if sample.model else self.prefix
        return Example(path, {"dataframe_records": [sample.row], "params": params})

    def refuse(self, status: int, error: Error) -> Response:
        """Return an error in the protocol's words."""
        code = _CODES.get(status) or ("INVALID_PARAMETER_VALUE" if error.findings else "BAD_REQUEST")
        code = code if status < 500 or status in _CODES else "INTERNAL_ERROR"
        return Response(to_json({"error_code": code, "message": str(error)}), status)


async def answer_rows(server: Engine, request: Request, routes: View | None = None) -> Response:
    """Return an engine's answer to the rows in a request's body.

    Args:
        server: the engine.
        request: the request.
        routes: those that are asked; None for all.
    """
    revision = server.current()
    view = routes or revision.whole

    def read() -> tuple[Ask, str]:
        ask, request_id = _read(request, view)
        ask.caller = request.peer
        add_headers(ask, request)
        return ask, request_id or request.id

    work = len(request.body) * (_PACKED if _PARQUET.encode() in request.headers.get(b"content-type", b"") else 1)
    answer = await server.answer(work, read, revision, view)
    body = await server.hands.work(len(answer.ids) * 256, _encode, answer)
    return Response(body, headers=answer.headers, model=answer.model)


def _encode(answer: Answer) -> bytes:
    return to_json({"predictions": predictions(answer)})


def predictions(answer: Answer) -> list[dict[str, object]]:
    """Return an answer as JSON has it, one object a row."""
    if answer.regression:
        values = zip(answer.scores, answer.ids, strict=True)
        return [{answer.target: value, "prediction_id": i} for value, i in values]
    rows = zip(answer.labels, answer.scores, answer.ids, strict=True)
    target = answer.target
    return [{target: label, "probability": p, "prediction_id": i} for label, p, i in rows]


def _read(request: Request, view: View) -> tuple[Ask, str]:
    """Return the rows of a request, and the request's id if the body names one."""
    kind = _media(request)
    if kind == "application/json":
        return _read_quick(request.body, view) or _read_json(request.body, view)
    if kind == "text/csv":
        return _from_csv(request.body), ""
    if kind == _PARQUET:
        return read_parquet(request.body, view.names), ""
    raise refusal(415, "This content type is not read here.", hint=f"Send application/json, text/csv or {_PARQUET}.")


def _read_quick(data: bytes, view: View) -> tuple[Ask, str] | None:
    """Return the rows of a body of the usual form, None of any other."""
    if view.rows is None or not (found := view.rows.read(data)):
        return None
    rows, params = found
    if not params:
        return Ask({}, len(rows), typed=rows), ""
    return add_params(Ask({}, len(rows), typed=rows), params)


def _read_json(data: bytes, view: View) -> tuple[Ask, str]:
    try:
        body = _decoder.decode(data)
    except UNREADABLE as error:
        plain = without_nan(data)
        if plain != data:  # what it is now is JSON, or wrong in another way
            return _read_quick(plain, view) or _read_json(plain, view)
        raise unreadable(error, data, hint=_FORM) from None
    given = [name for name in _DATA if getattr(body, name) is not msgspec.UNSET]
    if len(given) != 1:
        raise Invalid(f"The body has {len(given)} data keys.", hint=f"Send exactly one of {', '.join(_DATA)}.")
    return add_params(Ask(*_columns(body, view)), body.params)


def add_params(ask: Ask, params: dict[str, object]) -> tuple[Ask, str]:
    """Return an ask with what `params` say of its rows, and the request's id if they name one."""
    try:
        check_params(params)
        said = msgspec.convert(params, Params)
    except UNREADABLE as error:
        raise unreadable(error, hint=_FORM) from None
    rows = ask.rows
    whom = [said.subjects] * rows if isinstance(said.subjects, str) else said.subjects
    when = [said.occurred_at] * rows if isinstance(said.occurred_at, str) else said.occurred_at
    ask.subjects = subjects(whom, rows) if whom is not None else ()
    ask.occurred_at = instants(when, rows) if when is not None else ()
    return ask, said.request_id


def _media(request: Request) -> str:
    """Return the content type; none at all means JSON.

    Raises:
        Invalid: it has parameters other than charset=utf-8.
    """
    given = request.headers.get(b"content-type", b"application/json")
    if given == b"application/json":
        return "application/json"
    kind, *parameters = (part.strip().lower() for part in request.header(b"content-type").split(";"))
    for parameter in parameters:
        if parameter.replace(" ", "").replace('"', "") not in {"", "charset=utf-8", "charset=utf8"}:
            raise refusal(415, "This parameter of the content type is not read here.", hint="Only charset=utf-8 is.")
    return kind or "application/json"


def _columns(body: Body, view: View) -> tuple[Mapping[str, Sequence[Value]], int]:
    if body.dataframe_split is not msgspec.UNSET:
        return _from_split(body.dataframe_split)
    if isinstance(body.inputs, dict):
        return _from_inputs(body.inputs)
    if body.dataframe_records is not msgspec.UNSET:
        return _from_records(body.dataframe_records)
    key, rows = ("inputs", body.inputs) if body.inputs is not msgspec.UNSET else ("instances", body.instances)
    if rows is not msgspec.UNSET and rows and {list}.issuperset(map(type, rows)) and (names := order_of(view)):
        return by_place(rows, names, repr(key)), len(rows)
    if rows is msgspec.UNSET or not {dict}.issuperset(map(type, rows)):
        raise Invalid(f"{key!r} has rows that do not name their columns.", hint=_NAMED)
    return _from_records(rows)


def _from_inputs(columns: dict[str, Any]) -> tuple[Mapping[str, Sequence[Value]], int]:
    """Return the columns of `inputs`: a list each, or, for one row, a value each."""
    lists = [type(values) is list for values in columns.values()]
    if not any(lists):
        return {name: (value,) for name, value in columns.items()}, 1 if columns else 0
    if not all(lists):
        raise Invalid("Some columns of 'inputs' are lists and some are single values.", hint=_NAMED)
    return columns, len(next(iter(columns.values())))


def _from_records(records: list[dict[str, Any]]) -> tuple[Mapping[str, Sequence[Value]], int]:
    if not records:
        raise Invalid("There are no rows.", hint="Send at least one row.")
    names = list(records[0])
    try:
        if len(names) > 1 and {*map(len, records)} == {len(names)}:
            rows = map(itemgetter(*names), records)
            return dict(zip(names, zip(*rows, strict=True), strict=True)), len(records)
    except KeyError:
        pass  # another row has other columns
    return by_column(records), len(records)


def _from_split(split: Split) -> tuple[Mapping[str, Sequence[Value]], int]:
    width = len(split.columns)
    if len(set(split.columns)) != width:
        raise Invalid("dataframe_split names a column twice.")
    for row, values in enumerate(split.data):
        if len(values) != width:
            raise Invalid(f"Row {row} of dataframe_split has {len(values)} values for {width} columns.")
    columns = zip(*split.data, strict=True) if split.data else [()] * width
    return dict(zip(split.columns, columns, strict=True)), len(split.data)


def _from_csv(body: bytes) -> Ask:
    try:
        text = body.decode("utf-8-sig")
        names, *rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row] or [[]]
    except UnicodeDecodeError:
        raise Invalid("The body is not UTF-8.") from None
    except csv.Error as error:
        raise Invalid(f"The body is no CSV: {error}.") from None
    if len(set(names)) != len(names) or not names:
        raise Invalid("The CSV names no columns, or one of them twice.", hint="The first line names the columns.")
    for row, values in enumerate(rows):
        if len(values) != len(names):
            raise Invalid(f"Row {row} of the CSV has {len(values)} values for {len(names)} columns.")
    return Ask({name: [values[i] for values in rows] for i, name in enumerate(names)}, len(rows), text=True)

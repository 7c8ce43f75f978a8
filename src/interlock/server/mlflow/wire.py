"""The wire of the MLflow protocol: requests into structs, answers and errors out.

Numbers may come as texts and null stands for nothing, as protobuf's JSON has it. Wrong types and malformed JSON are
refused, where the incumbent answers `200 {}`.
"""

from __future__ import annotations

import logging
import math
import re
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec

from interlock.core import errors
from interlock.server.problems import Refusal
from interlock.store.objects import no_room

T = TypeVar("T")
log: Final = logging.getLogger("interlock.server.mlflow")
Int64 = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
_STATUS: Final[Mapping[str, int]] = {
    "BAD_REQUEST": 400,
    "INVALID_PARAMETER_VALUE": 400,
    "RESOURCE_ALREADY_EXISTS": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "ENDPOINT_NOT_FOUND": 404,
    "NOT_FOUND": 404,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "RESOURCE_CONFLICT": 409,
    "REQUEST_LIMIT_EXCEEDED": 429,
    "INTERNAL_ERROR": 500,
    "NOT_IMPLEMENTED": 501,
    "TEMPORARILY_UNAVAILABLE": 503,
    "INSUFFICIENT_STORAGE": 507,
}
# What an error of ours is called there, by class; conflicts about names that are taken have a name of their own.
_CODE: Final[Mapping[type[errors.Error], str]] = {
    errors.Error: "INTERNAL_ERROR",
    errors.NotFound: "RESOURCE_DOES_NOT_EXIST",
    errors.Conflict: "INVALID_PARAMETER_VALUE",
    errors.Invalid: "INVALID_PARAMETER_VALUE",
    errors.Denied: "PERMISSION_DENIED",
    errors.GateClosed: "PERMISSION_DENIED",
    errors.MissingExtra: "NOT_IMPLEMENTED",
    errors.Unavailable: "TEMPORARILY_UNAVAILABLE",
    errors.StorageFull: "INSUFFICIENT_STORAGE",
    errors.Corrupt: "INTERNAL_ERROR",
}
_TAKEN: Final = frozenset({"experiment_name", "model"})


class Refused(Exception):
    """A request that is answered by an error of the protocol.

    Args:
        code: one of the protocol's error codes.
        message: what is wrong.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message: str) -> Refused:
    """Return the refusal of a parameter."""
    return Refused("INVALID_PARAMETER_VALUE", message)


def missing(name: str) -> Refused:
    """Return the refusal of a request without a parameter that it needs."""
    return invalid(f"Missing value for required parameter '{name}'.")


def error_answer(error: Exception, request_id: str) -> tuple[int, bytes]:
    """Return the status and body that an error has in this protocol; what is not ours is logged and told to nobody."""
    code, message = _told(error, request_id)
    if len(message) > _LONGEST_MESSAGE:  # it repeats what the caller sent
        message = message[:_LONGEST_MESSAGE] + "..."
    return _STATUS.get(code, 500), msgspec.json.encode({"error_code": code, "message": message})


def _told(error: Exception, request_id: str) -> tuple[str, str]:
    if isinstance(error, Refused):
        return error.code, error.message
    error = error.error if isinstance(error, Refusal) else no_room(error) or error
    if isinstance(error, errors.Error):
        code = next(_CODE[kind] for kind in type(error).__mro__ if kind in _CODE)
        if isinstance(error, errors.Conflict) and error.code.partition(".")[0] in _TAKEN:
            code = "RESOURCE_ALREADY_EXISTS"
        return code, f"{error.message} {error.hint}".strip()
    log.error("request %s failed", request_id, exc_info=error)
    return "INTERNAL_ERROR", f"The server failed at this request; its log has the details under {request_id}."


def read_body(body: bytes, kind: type[T]) -> T:
    """Return the request that a JSON body spells.

    Raises:
        Refused: it is no JSON, lacks a parameter, or has one of a wrong type.
    """
    body = body or b"{}"
    try:
        try:
            return msgspec.json.decode(body, type=kind, strict=False)
        except msgspec.ValidationError:
            plain = _plain(body)  # which meets what comes after the place where the first one stopped
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("BAD_REQUEST", f"The body is no JSON: {_reason(error)}.") from None
    return _convert(plain, kind)


def read_query(query: bytes, kind: type[T]) -> T:
    """Return the request that a query string spells: repeated names make lists.

    Raises:
        Refused: it lacks a parameter, or has one of a wrong type.
    """
    return read_pairs(parse_qsl(query.decode("latin-1"), keep_blank_values=True), kind)


def read_pairs(pairs: list[tuple[str, str]], kind: type[T]) -> T:
    """Return the request that names and texts spell.

    Raises:
        Refused: it lacks a parameter, or has one of a wrong type.
    """
    lists = _list_fields(kind)
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in lists:
            values.setdefault(name, []).append(value)
        else:
            values[name] = value
    return _convert(values, kind)


def _list_fields(kind: type[Any]) -> frozenset[str]:
    if kind not in _LISTS:
        hints = typing.get_type_hints(kind)
        _LISTS[kind] = frozenset(name for name, hint in hints.items() if typing.get_origin(hint) is list)
    return _LISTS[kind]


_LISTS: Final[dict[type[Any], frozenset[str]]] = {}


def _plain(body: bytes) -> dict[str, Any]:
    """Return a body without its nulls, which stand for nothing."""
    plain = msgspec.json.decode(body)
    if not isinstance(plain, dict):
        raise Refused("BAD_REQUEST", "The body is no JSON object.")
    found: dict[str, Any] = _without_nulls(plain)
    return found


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _convert(values: Mapping[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        text = str(error)
        if found := re.match(r"Object missing required field `(\w+)`(?: - at `\$\.?(.*)`)?", text):
            place = f"{found[2]}." if found[2] else ""
            raise missing(f"{place}{found[1]}") from None
        place = text.partition(" - at `$.")[2].rstrip("`")
        raise invalid(f"Invalid value for parameter '{place}': {text.partition(' - at')[0]}.") from None


def _reason(error: Exception) -> str:
    return "it is nested too deep" if isinstance(error, RecursionError) else str(error).rstrip(".")


def number(value: float) -> float | str:
    """Return a number as protobuf's JSON writes it: what JSON has no number for is a text."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def from_millis(millis: int) -> int:
    """Return an instant of the protocol, in milliseconds, as microseconds.

    Raises:
        Refused: it is too far away.
    """
    if not -_FARTHEST <= millis <= _FARTHEST:
        raise invalid(f"{millis} is no instant in milliseconds.")
    return millis * 1000


def calendar_millis(millis: int) -> int:
    """Return an instant of the protocol as microseconds, if a calendar has it: years 1 to 9999.

    Raises:
        Refused: it has not, as where seconds were multiplied once too often.
    """
    if not _YEAR_1 <= millis < _YEAR_10000:
        raise invalid(f"{millis} is no instant in milliseconds since 1970.")
    return millis * 1000


_FARTHEST: Final = (1 << 63) // 1000 - 1
_YEAR_1: Final = -62_135_596_800_000
_YEAR_10000: Final = 253_402_300_800_000

_LONGEST_MESSAGE: Final = 2000

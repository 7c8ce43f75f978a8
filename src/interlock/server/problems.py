"""Errors on the wire: RFC 9457 documents. This is the one place that knows which status an error has."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.responses import Response

from interlock.core import errors
from interlock.store.objects import no_room

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

log: Final = logging.getLogger("interlock.server")
MEDIA_TYPE: Final = "application/problem+json"
_LARGEST: Final = 32 << 10  # of a document; those that are larger repeat what the caller sent
_LONGEST: Final = 2000
_FINDINGS: Final = 20
STATUS: Final[Mapping[type[errors.Error], int]] = {
    errors.Error: 500,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Invalid: 422,
    errors.Denied: 403,
    errors.GateClosed: 409,
    errors.MissingExtra: 501,
    errors.Unavailable: 503,
    errors.StorageFull: 507,
    errors.Corrupt: 500,
}


class Refusal(Exception):
    """An error that has a status of its own, because it is about the HTTP request and not about the operation.

    Args:
        status: the HTTP status.
        error: what to say.
        headers: headers that belong to the status.
    """

    def __init__(self, status: int, error: errors.Error, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(error.message)
        self.status = status
        self.error = error
        self.headers = dict(headers or {})


def status_of(error: errors.Error) -> int:
    """Return the status of an error: its class's, or the nearest base's."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def respond(error: Exception, request_id: str) -> Response:
    """Return the response to an error; what is not ours is logged and told to nobody.

    Args:
        error: what was raised.
        request_id: the id under which it is found in the log.
    """
    headers: dict[str, str] = {}
    error = no_room(error) or error
    if isinstance(error, Refusal):
        status, shown, headers = error.status, error.error, error.headers
    elif isinstance(error, errors.Error):
        status, shown = status_of(error), error
    else:
        log.error("request %s failed", request_id, exc_info=error)
        status, shown = 500, _fault(request_id)
    if status == STATUS[errors.Unavailable]:
        headers.setdefault("Retry-After", "1")
    body = {"status": status, **shown.to_problem(), "request_id": request_id}
    encoded = msgspec.json.encode(body)
    if len(encoded) > _LARGEST:
        encoded = msgspec.json.encode(_shortened(body))
    return Response(encoded, status, headers, MEDIA_TYPE)


def request_id(request: Request) -> str:
    """Return the id that the guard gave to a request."""
    found: str = request.scope["interlock.request_id"]
    return found


def _shortened(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a problem document without the length that a caller's own words gave it."""
    findings = [
        {name: _cut(value) if isinstance(value, str) else value for name, value in finding.items() if name != "rows"}
        for finding in document["findings"][:_FINDINGS]
    ]
    facts = {name: fact for name, fact in document["facts"].items() if len(msgspec.json.encode(fact)) <= _LONGEST}
    few = dict(list(facts.items())[:_FINDINGS])
    return {
        **document,
        "title": _cut(document["title"]),
        "hint": _cut(document["hint"]),
        "findings": findings,
        "facts": few,
    }


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _fault(request_id: str) -> errors.Error:
    return errors.Error(
        "The server failed at this request; the fault is in Interlock.",
        about="server",
        hint=f"Its log has the details under request {request_id}.",
        request_id=request_id,
    )

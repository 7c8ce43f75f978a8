"""The OpenAPI 3.1 description, made from the operations themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock import __version__
from interlock.core import errors
from interlock.core.files import StoredFile
from interlock.serve.openapi_parts import BYTES, asked, document, media, reference, schemas_of
from interlock.server.problems import MEDIA_TYPE, STATUS, status_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.core.operations import Operation
    from interlock.sdk.catalog import Catalog

# What any operation may answer: wrong arguments, another site's page, a fault, a database that is busy.
_ALWAYS: Final = (errors.Invalid, errors.Denied, errors.Error, errors.Unavailable)
# What is wrong with the request itself, and not with the operation (server/bodies.py, server/guard.py).
_ANY: Final = {405: "The path is asked with another method.", 421: "The server does not answer to this Host."}
_BODY: Final = {
    400: "The body is no object of arguments.",
    413: "The body is larger than the server takes.",
    415: "The Content-Type is not read here.",
}
_FILE: Final = {413: _BODY[413]}


def describe(catalog: Catalog) -> dict[str, Any]:
    """Return the description of a catalog's operations, and of the routes beside them.

    Args:
        catalog: the services.
    """
    found = [operation for name in catalog.names for operation in catalog.operations(name).values()]
    types = [kind for operation in found for kind in (*(p.type for p in operation.parameters), operation.returns)]
    schemas, components = schemas_of([*types, StoredFile, errors.Finding])
    remaining = iter(schemas)
    paths: dict[str, Any] = {}
    for operation in found:
        arguments = {parameter.name: next(remaining) for parameter in operation.parameters}
        paths[f"/api/v1/{operation.service}/{operation.name}"] = {
            "post": _operation(operation, arguments, next(remaining))
        }
    components["Problem"] = _problem()
    return document(
        {"title": "Interlock", "version": __version__},
        {**paths, **_OTHER_PATHS},
        {"schemas": components},
        tags=[{"name": name, "description": catalog.service(name).__doc__ or ""} for name in catalog.names],
    )


def _operation(operation: Operation, arguments: Mapping[str, Any], result: Any) -> dict[str, Any]:
    required = [parameter.name for parameter in operation.parameters if parameter.required]
    properties = {}
    for parameter in operation.parameters:
        schema = {**arguments[parameter.name], "description": parameter.help}
        if not parameter.required:
            schema["default"] = msgspec.to_builtins(parameter.default)
        properties[parameter.name] = schema
    body = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    raised = _raised(operation.help)
    if operation.parameters:
        raised.setdefault("NotFound", "what an argument names is not there.")
    return {
        "operationId": f"{operation.service}.{operation.name}",
        "tags": [operation.service],
        "summary": operation.summary,
        "description": operation.help,
        "x-interlock-permission": operation.permission.value,
        "x-interlock-emits": list(operation.emits),
        "requestBody": {"required": bool(required), "content": media(body)},
        "responses": {
            "200": {"description": "What the operation returns.", "content": media(result)},
            **_errors(raised, _BODY),
        },
    }


def _errors(raised: Mapping[str, str], transport: Mapping[int, str] | None = None) -> dict[str, Any]:
    """Return the responses of errors.

    Args:
        raised: which an operation may raise, by class, and when.
        transport: what may be wrong with the request itself, beside what may be with any, by status.
    """
    kinds = [kind for kind in STATUS if kind in _ALWAYS or kind.__name__ in raised]
    responses: dict[str, Any] = {str(status): [text] for status, text in {**_ANY, **(transport or {})}.items()}
    for kind in kinds:
        text = f"{kind.__name__}: {raised.get(kind.__name__) or (kind.__doc__ or '').strip()}"
        responses.setdefault(str(status_of(kind("x"))), []).append(text)
    return {
        status: {
            "description": " ".join(texts),
            "content": media(reference("Problem"), MEDIA_TYPE),
        }
        for status, texts in sorted(responses.items())
    }


def _raised(doc: str) -> dict[str, str]:
    """Return the text of each class in a docstring's `Raises:` section."""
    texts: dict[str, str] = {}
    inside, name = False, ""
    for line in doc.splitlines():
        stripped = line.strip()
        if stripped == "Raises:":
            inside = True
        elif inside and stripped and not line.startswith(" "):
            break
        elif inside and line.startswith("    ") and not line.startswith("     "):
            name, _, text = stripped.partition(":")
            texts[name] = text.strip()
        elif inside and stripped and name:
            texts[name] += " " + stripped
    return texts


def _problem() -> dict[str, Any]:
    return {
        "title": "Problem",
        "description": "An error (RFC 9457). Act on `code`; its last part names the class.",
        "type": "object",
        "properties": {
            "status": {"type": "integer"},
            "code": {"type": "string", "examples": ["model_version.not_found"]},
            "title": {"type": "string", "description": "What was wrong."},
            "hint": {"type": "string", "description": "What to do next."},
            "findings": {"type": "array", "items": reference("Finding")},
            "facts": {"type": "object", "description": "Values for machines."},
            "request_id": {"type": "string"},
        },
        "required": ["status", "code", "title", "hint", "findings", "facts", "request_id"],
    }


_STORED_FILE: Final = media(reference("StoredFile"))
_DIGEST: Final = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_OTHER_PATHS: Final[dict[str, Any]] = {
    "/api/v1/uploads": {
        "put": {
            "operationId": "uploads.put",
            "summary": "Send a file (its bytes are the body, none an empty one) for an operation, which may keep it.",
            "x-interlock-permission": "data.write",
            "parameters": [
                asked("name", "The file's name, without folders.", minLength=1),
                asked(
                    "Interlock-Call",
                    "A ULID: the operation that is called under it has the file, which goes when it ends. Without one"
                    " the file waits for a day.",
                    "header",
                ),
            ],
            "requestBody": {"required": False, "content": {BYTES: {}}},
            "responses": {
                "200": {"description": "The file, for operations.", "content": _STORED_FILE},
                **_errors({}, _FILE),
            },
        }
    },
    "/api/v1/objects/{digest}": {
        "get": {
            "operationId": "objects.get",
            "summary": "Return the bytes of an object.",
            "x-interlock-permission": "data.read",
            "parameters": [{"name": "digest", "in": "path", "required": True, "schema": _DIGEST}],
            "responses": {
                "200": {"description": "The bytes.", "content": {BYTES: {}}},
                **_errors({"NotFound": "there is no such object.", "Corrupt": "its bytes have changed."}),
            },
        }
    },
    "/api/v1/openapi.json": {
        "get": {
            "operationId": "openapi",
            "summary": "Return this description.",
            "responses": {"200": {"description": "It.", "content": media({"type": "object"})}},
        }
    },
    "/": {
        "get": {
            "operationId": "page",
            "summary": "Return the page, where it is installed.",
            "x-interlock-permission": "ledger.read",
            "responses": {
                "200": {"description": "The page.", "content": {"text/html": {}}},
                **_errors({"NotFound": "this server has no pages."}),
            },
        }
    },
    "/health": {
        "get": {
            "operationId": "health",
            "summary": "Answer 200 if the server can work.",
            "responses": {"200": {"description": "It can."}, "503": {"description": "It cannot now."}},
        }
    },
}

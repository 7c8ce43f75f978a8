"""What OpenAPI descriptions are made of, for model servers and for the server of a workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Schema = dict[str, Any]

JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"
REF: Final = "#/components/schemas/{name}"


class Operation(msgspec.Struct, frozen=True):
    """What one way in takes and gives.

    Attributes:
        summary: one sentence.
        answers: what stands in an answer with status 200, by content type: Media Type Objects.
        takes: what stands in a body, by content type; none for no body.
        optional: whether the body may be left out.
        asks: parameters in the address or the headers, beside those in the path.
        refuses: statuses of refusals, beside those that its kind of endpoint has anyway.
        further: answers that are no refusals, by status.
        says: headers of its answers: Header Objects.
        free: whether what stands in the path may be other names than those that answer.
    """

    summary: str
    answers: Schema
    takes: Schema = {}
    optional: bool = False
    asks: tuple[Schema, ...] = ()
    refuses: tuple[int, ...] = ()
    further: dict[int, Schema] = {}
    says: Schema = {}
    free: bool = False


def document(info: Schema, paths: Schema, components: Schema, **more: Any) -> Schema:
    """Return an OpenAPI 3.1 document.

    Args:
        info: its title and what else is said of it.
        paths: the ways in.
        components: what they refer to.
        more: further members.
    """
    return {
        "openapi": "3.1.0",
        "info": {**info, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        **more,
        "paths": paths,
        "components": {kind: dict(sorted(found.items())) for kind, found in components.items()},
    }


def schemas_of(kinds: Sequence[Any]) -> tuple[list[Schema], Schema]:
    """Return the schemas of types, and the components that they refer to."""
    found, components = msgspec.json.schema_components(kinds, schema_hook=_any, ref_template=REF)
    return list(found), components


def media(schema: Schema, kind: str = JSON, **more: Any) -> Schema:
    """Return what stands in a body or an answer: a schema for a content type, and maybe examples."""
    return {kind: {"schema": schema, **more}}


def reference(name: str, where: str = "schemas") -> Schema:
    """Return a reference to a component."""
    return {"$ref": f"#/components/{where}/{name}"}


def asked(name: str, text: str, where: str = "query", **schema: Any) -> Schema:
    """Return a parameter that holds a text and may be left out.

    Args:
        name: its name.
        text: what it says.
        where: `query` or `header`.
        schema: what else its schema says.
    """
    return {"name": name, "in": where, "description": text, "schema": {"type": "string", **schema}}


def like(value: object) -> Schema:
    """Return a schema that a value, and every one of its form, fits."""
    if isinstance(value, dict):
        return closed({name: like(one) for name, one in value.items()}, extra=True)
    if isinstance(value, list):
        return {"type": "array", "items": like(value[0]) if value else {}}
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string"}
    return {"type": kinds[type(value)]} if type(value) in kinds else {}


def closed(properties: Mapping[str, Schema], *, optional: Sequence[str] = (), extra: bool = False) -> Schema:
    """Return the schema of an object.

    Args:
        properties: the schemas of its members.
        optional: members that may be left out.
        extra: whether it may have others.
    """
    required = [name for name in properties if name not in optional]
    found: Schema = {"type": "object", "properties": dict(properties)}
    if required:
        found["required"] = required
    return found if extra else {**found, "additionalProperties": False}


def any_of(schemas: Iterable[Schema]) -> Schema:
    """Return a schema that fits what any of some does; of none at all, any object."""
    found: list[Schema] = []
    for schema in schemas:
        if schema not in found:
            found.append(schema)
    return {"anyOf": found} if len(found) > 1 else found[0] if found else {"type": "object"}


def array(items: Schema, least: int = 0) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items, **({"minItems": least} if least else {})}


def _any(kind: type) -> Schema:
    """Return the schema of a type that msgspec has none for: `object` is anything."""
    if kind is object:
        return {"description": "anything"}  # msgspec takes an empty one for none
    raise NotImplementedError

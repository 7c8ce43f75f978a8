"""What an OpenAPI description is written over: the signatures that are served now, and the components made so far.

It knows no engine, so that endpoints can say that they are described over it; `interlock.serve.openapi_model` makes it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from interlock.core.bundles import Column
from interlock.serve.openapi_parts import Schema, reference, schemas_of


class Output(NamedTuple):
    """A tensor that may be asked for: its name, the protocol's word for its type, how many dimensions it has."""

    name: str
    datatype: str
    rank: int


class Signature(msgspec.Struct, frozen=True):
    """What one name takes and gives.

    Attributes:
        key: what its components are called after.
        columns: its input columns.
        values: the schema of a value of each.
        row: an example.
        target: the column that is predicted.
        label: the schema of an answer's label, or of a regression's value.
        chance: the schema of a probability, None of a regression.
        outputs: the tensors that may be asked for.
    """

    key: str
    columns: tuple[Column, ...]
    values: dict[str, Schema]
    row: dict[str, object]
    target: str
    label: Schema
    chance: Schema | None
    outputs: tuple[Output, ...]

    @property
    def what(self) -> tuple[object, ...]:
        """All but how it is called."""
        return (self.columns, self.values, self.row, self.target, self.label, self.chance, self.outputs)


class Scene(msgspec.Struct):
    """What a server answers for now, and the components that its description has so far.

    Attributes:
        title: the name of the first model, or the server's.
        first: what those are answered by who name no model; None where none is loaded.
        signatures: of all names, each once.
        names: the names that callers may use.
        versions: the versions of all of them.
        schemas: components.
        examples: components.
    """

    title: str
    first: Signature | None = None
    signatures: list[Signature] = []
    names: list[str] = []
    versions: list[str] = []
    schemas: Schema = {}
    examples: Schema = {}

    def of(self, kind: Any, *, shut: bool = False) -> Schema:
        """Return the schema of a type; of a struct a reference.

        Args:
            kind: the type.
            shut: whether an object has no members that are not described.
        """
        (schema,), found = schemas_of([kind])
        if shut:
            found[kind.__name__]["additionalProperties"] = False
        self.schemas.update(found)
        return schema

    def put(self, name: str, schema: Schema) -> Schema:
        """Keep a schema, and return the reference to it."""
        self.schemas[name] = schema
        return reference(name)

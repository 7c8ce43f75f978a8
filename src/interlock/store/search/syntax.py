"""What a search says, as values: conditions joined by AND, OR and NOT, and terms of order.

`parse` makes these from text, `filters` and `order` turn them into SQL, and whoever needs a condition of their own
(only active runs, no prompts) builds it here instead of writing text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator


class Field(msgspec.Struct, frozen=True):
    """A value that things have: the family it belongs to (`metric`, `attribute`), and its name there."""

    family: str
    key: str


class Comparison(msgspec.Struct, frozen=True, tag="compare"):
    """A condition on one field.

    Attributes:
        field: what is compared.
        op: `=`, `!=`, `<`, `<=`, `>`, `>=`, `LIKE`, `ILIKE`, `RLIKE`, `IN`, `NOT IN`, `IS NULL` or `IS NOT NULL`.
        value: text, a number (never NaN), the texts of a list, or None where the operator takes no value.
    """

    field: Field
    op: str
    value: str | int | float | tuple[str, ...] | None = None


class Not(msgspec.Struct, frozen=True, tag="not"):
    """Matches exactly what its part does not match."""

    part: Node


class And(msgspec.Struct, frozen=True, tag="and"):
    """Matches what every part matches; without parts, everything."""

    parts: tuple[Node, ...]


class Or(msgspec.Struct, frozen=True, tag="or"):
    """Matches what at least one part matches; without parts, nothing."""

    parts: tuple[Node, ...]


Node = Comparison | Not | And | Or


class OrderTerm(msgspec.Struct, frozen=True):
    """One term of an order. What has no value comes last, and NaN before that, in both directions."""

    field: Field
    descending: bool = False


EVERYTHING: Final = And(())


def both(*parts: Node) -> Node:
    """Return the condition that all parts are met, without needless nesting."""
    flat = [inner for part in parts for inner in (part.parts if isinstance(part, And) else (part,))]
    return flat[0] if len(flat) == 1 else And(tuple(flat))


def either(*parts: Node) -> Node:
    """Return the condition that at least one part is met, without needless nesting."""
    flat = [inner for part in parts for inner in (part.parts if isinstance(part, Or) else (part,))]
    return flat[0] if len(flat) == 1 else Or(tuple(flat))


def comparisons(node: Node) -> Iterator[Comparison]:
    """Yield every comparison in a condition, from left to right."""
    if isinstance(node, Comparison):
        yield node
    else:
        for part in (node.part,) if isinstance(node, Not) else node.parts:
            yield from comparisons(part)


def conjuncts(node: Node) -> tuple[Node, ...]:
    """Return the conditions that must all hold for the whole to hold."""
    return node.parts if isinstance(node, And) else (node,)

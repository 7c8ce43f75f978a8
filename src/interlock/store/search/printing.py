"""Conditions and orders as texts that parse to them again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from interlock.store.search.syntax import EVERYTHING, And, Comparison, Field, Node, Not, Or, OrderTerm

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interlock.store.search.entities import Entity

_PLAIN: Final = re.compile(r"\w+(\.\w+)*")


def format_filter(node: Node, entity: Entity) -> str:
    """Return a text that parses to this condition; "" for everything."""
    return "" if node == EVERYTHING else _format(node, entity)


def format_order(term: OrderTerm, entity: Entity) -> str:
    """Return a text that parses to this term of an order."""
    return f"{_format_field(term.field, entity)} {'DESC' if term.descending else 'ASC'}"


def quote(text: str, mark: str = "'") -> str:
    """Return text in quotes. Inside, a quote is doubled, and so are backslashes where one follows."""
    guarded = re.sub(rf"(\\+)(?={mark}|\Z)", r"\1\1", text)
    return f"{mark}{guarded.replace(mark, mark * 2)}{mark}"


def _format(node: Node, entity: Entity) -> str:
    match node:
        case Comparison(field, op, value):
            left = f"{_format_field(field, entity)} {op}"
            return left if value is None else f"{left} {_format_value(value)}"
        case Not(part):
            return f"NOT {_inner(part, entity)}"
        case And(parts):
            return _join(parts, " AND ", entity)
        case Or(parts):
            return _join(parts, " OR ", entity)


def _join(parts: Iterable[Node], word: str, entity: Entity) -> str:
    texts = [_inner(part, entity) for part in parts]
    if not texts:
        raise ValueError("an empty condition has no text")
    return word.join(texts)


def _inner(part: Node, entity: Entity) -> str:
    text = _format(part, entity)
    return text if isinstance(part, Comparison | Not) else f"({text})"


def _format_field(field: Field, entity: Entity) -> str:
    family = entity.family(field.family)
    if family.name == entity.bare:
        return field.key
    key = field.key if _PLAIN.fullmatch(field.key) else quote(field.key, "`")
    return f"{family.words[0]}.{key}"


def _format_value(value: str | float | tuple[str, ...]) -> str:
    match value:
        case str():
            return quote(value)
        case tuple():
            return f"({', '.join(map(quote, value))})"
        case _:
            return repr(value).replace("inf", "1e999")

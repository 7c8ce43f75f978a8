"""Search texts to conditions and orders: MLflow's grammar, with OR, NOT and parentheses.

    filter     := [either]                              AND binds tighter than OR, NOT tighter than AND
    either     := both (OR both)*
    both       := one (AND one)*
    one        := NOT one | "(" either ")" | name operator value | name [NOT] IN "(" text ("," text)* ")"
                | name IS [NOT] NULL
    order      := name [ASC | DESC]

Keywords may be written in any case; names may not. Recursion goes only as deep as parentheses and NOTs nest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.store.search.entities import LISTS, NUMERIC
from interlock.store.search.lexer import fault, near, tokens
from interlock.store.search.names import Named, find_field, operand
from interlock.store.search.syntax import EVERYTHING, Comparison, Not, OrderTerm, both, either

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.core.errors import Invalid
    from interlock.store.search.entities import Entity
    from interlock.store.search.lexer import Token
    from interlock.store.search.syntax import Field, Node

DEPTH_LIMIT: Final = 50
COMPARISON_LIMIT: Final = 200
ORDER_LIMIT: Final = 20
_WORDS: Final = frozenset({"LIKE", "ILIKE", "RLIKE"})
_INSTEAD: Final = {"==": "=", "<>": "!="}


def parse_filter(text: str, entity: Entity) -> Node:
    """Return the condition that a text says; `EVERYTHING` for an empty one.

    Raises:
        Invalid: it cannot be read, names what the entity does not have, or compares what cannot be compared; the fact
            `column` says where.

    Cost:
        Linear in the text, which is limited in length, depth and number of comparisons.
    """
    return _Parser(text, entity).filter()


def parse_order(texts: Sequence[str], entity: Entity) -> tuple[OrderTerm, ...]:
    """Return the terms of an order, as the caller gave them; `complete_order` adds what decides between equals.

    Raises:
        Invalid: a term cannot be read, is given twice, or names what cannot be ordered by; facts say which and where.
    """
    if len(texts) > ORDER_LIMIT:
        raise fault("", 0, f"An order has at most {ORDER_LIMIT} terms.")
    terms: list[OrderTerm] = []
    for text in texts:
        term = _Parser(text, entity).order()
        if any(term.field == known.field for known in terms):
            raise fault(text, 0, "The order names this twice.")
        terms.append(term)
    return tuple(terms)


def order_term(name: str, entity: Entity, *, descending: bool = False) -> OrderTerm:
    """Return the term for a field given by name alone (`metrics.loss`), as searches for logged models do.

    Raises:
        Invalid: there is no such field, or it cannot be ordered by.
    """
    return OrderTerm(_Parser(name, entity).only_name(), descending)


def complete_order(terms: Sequence[OrderTerm], entity: Entity) -> tuple[OrderTerm, ...]:
    """Return the caller's terms, or else the entity's own, and then what decides between equals."""
    chosen = tuple(terms) or entity.order
    named = {term.field for term in chosen}
    return (*chosen, *(tie for tie in entity.ties if tie.field not in named))


class _Parser:
    """Reads one text from left to right."""

    def __init__(self, text: str, entity: Entity) -> None:
        self.text = text
        self.entity = entity
        self.tokens = tokens(text)
        self.index = 0
        self.count = 0

    @property
    def here(self) -> Token:
        return self.tokens[self.index]

    def ended(self) -> bool:
        return self.here.kind == "end"

    def take(self) -> Token:
        token = self.here
        self.index += 1
        return token

    def skip(self, word: str) -> bool:
        found = self.here.word == word
        self.index += found
        return found

    def fault(self, token: Token, message: str, hint: str = "") -> Invalid:
        return fault(self.text, token.at, message, hint)

    def filter(self) -> Node:
        if self.ended():
            return EVERYTHING
        node = self.either(0)
        if not self.ended():
            raise self.fault(self.here, f"{_shown(self.here)} does not belong here.", "Join conditions with AND or OR.")
        return node

    def order(self) -> OrderTerm:
        field = self.ordered()
        descending = self.here.word == "DESC"
        if descending or self.here.word == "ASC":
            self.take()
        self.finish("Give each term as NAME, NAME ASC or NAME DESC, one in each text.")
        return OrderTerm(field, descending)

    def only_name(self) -> Field:
        field = self.ordered()
        self.finish("Give the name alone.")
        return field

    def ordered(self) -> Field:
        named = self.name()
        if not named.ordered:
            raise self.fault(self.tokens[0], f"{self.tokens[0].raw} is nothing to order by.")
        return named.field

    def finish(self, hint: str) -> None:
        if not self.ended():
            raise self.fault(self.here, f"{_shown(self.here)} does not belong here.", hint)

    def either(self, depth: int) -> Node:
        parts = [self.both(depth)]
        while self.skip("OR"):
            parts.append(self.both(depth))
        return either(*parts)

    def both(self, depth: int) -> Node:
        parts = [self.one(depth)]
        while self.skip("AND"):
            parts.append(self.one(depth))
        return both(*parts)

    def one(self, depth: int) -> Node:
        token = self.here
        if depth > DEPTH_LIMIT:
            raise self.fault(token, f"Parentheses and NOTs nest deeper than {DEPTH_LIMIT}.")
        if token.word == "NOT":
            self.take()
            return Not(self.one(depth + 1))
        if token.raw == "(" and token.kind == "mark":
            self.take()
            node = self.either(depth + 1)
            if self.here.raw != ")" or self.here.kind != "mark":
                raise self.fault(self.here, "A closing parenthesis is missing.", "Or join conditions with AND or OR.")
            self.take()
            return node
        return self.comparison()

    def comparison(self) -> Comparison:
        self.count += 1
        if self.count > COMPARISON_LIMIT:
            raise self.fault(self.here, f"There are more than {COMPARISON_LIMIT} comparisons.")
        named = self.name()
        at = self.here
        op = self.operator(named)
        if op not in named.operators:
            hint = (
                f"It knows {', '.join(sorted(named.operators))}." if named.operators else "It can only be ordered by."
            )
            if op in {"<", "<=", ">", ">="} and named.operators:
                hint = f"Only numbers are larger or smaller. {hint}"
            raise self.fault(at, f"{named.shown} cannot be compared by {op}.", hint)
        if op in LISTS:
            return Comparison(named.field, op, self.texts())
        if op in {"IS NULL", "IS NOT NULL"}:
            return Comparison(named.field, op)
        return Comparison(named.field, op, operand(self.text, self.take(), named, op))

    def name(self) -> Named:
        token = self.take()
        if token.kind not in {"name", "text"} or token.raw.startswith("'"):
            raise self.fault(
                token, f"The name of a field must stand here, not {_shown(token)}.", _examples(self.entity)
            )
        if token.word in {"AND", "OR", "IN", "IS", "LIKE", "ILIKE", "RLIKE"}:
            raise self.fault(token, f"A condition must stand before {token.word}.")
        return find_field(self.text, token, self.entity)

    def operator(self, named: Named) -> str:
        token = self.take()
        if token.kind == "operator":
            if token.raw in _INSTEAD:
                raise self.fault(token, f"There is no operator {token.raw}.", f"Write {_INSTEAD[token.raw]}.")
            return token.raw
        word = token.word
        if word in _WORDS or word == "IN":
            return word
        if word == "NOT" and self.skip("IN"):
            return "NOT IN"
        if word == "IS":
            negated = self.skip("NOT")
            if self.skip("NULL"):
                return "IS NOT NULL" if negated else "IS NULL"
            raise self.fault(self.here, "IS must be followed by NULL or NOT NULL.")
        if word == "NOT":
            raise self.fault(
                token, "NOT stands before a whole condition, or before IN.", f"Write NOT {named.shown} ..."
            )
        if word == "BETWEEN":
            raise self.fault(token, "There is no BETWEEN.", f"Write {named.shown} >= LOW AND {named.shown} <= HIGH.")
        known = [*sorted(NUMERIC), *sorted(_WORDS), "IN", "NOT IN", "IS NULL", "IS NOT NULL"]
        hint = near(word, known) if word else f"Known: {', '.join(known)}."
        raise self.fault(token, f"An operator must follow {named.shown}, not {_shown(token)}.", hint)

    def texts(self) -> tuple[str, ...]:
        if self.take().raw != "(":
            raise self.fault(self.tokens[self.index - 1], "A list in parentheses must follow IN.", "IN ('a', 'b')")
        values: list[str] = []
        while True:
            token = self.take()
            if token.kind != "text":
                raise self.fault(token, f"A text in quotes must stand here, not {_shown(token)}.", "IN ('a', 'b')")
            values.append(token.parts[0].text)
            end = self.take()
            if end.raw == ")" and end.kind == "mark":
                return tuple(values)
            if end.raw != "," or end.kind != "mark":
                raise self.fault(end, f"A comma or a closing parenthesis must stand here, not {_shown(end)}.")


def _shown(token: Token) -> str:
    raw = token.raw if len(token.raw) <= 40 else f"{token.raw[:40]}..."
    return "the end" if token.kind == "end" else raw


def _examples(entity: Entity) -> str:
    return f"Prefixes of a {entity.name.replace('_', ' ')}: {', '.join(one.words[0] for one in entity.families)}."

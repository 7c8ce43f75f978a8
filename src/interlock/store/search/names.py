"""Names and values in a search text, held against what an entity has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from interlock.core.clock import to_micros
from interlock.core.errors import Invalid
from interlock.store.search.entities import NUMERIC
from interlock.store.search.lexer import fault, near, number
from interlock.store.search.patterns import compiled
from interlock.store.search.syntax import Field

if TYPE_CHECKING:
    from interlock.store.search.entities import Attribute, Entity, Family, Kind
    from interlock.store.search.lexer import Token


class Named(NamedTuple):
    """A field that a text names, and what can be done with it.

    Attributes:
        field: which one.
        shown: how the text wrote it.
        kind: the kind of its values.
        operators: those it can be compared by.
        ordered: whether it can be ordered by.
        quoted: whether a number may stand in quotes.
        instant: whether a date may stand for a number of milliseconds.
    """

    field: Field
    shown: str
    kind: Kind
    operators: frozenset[str]
    ordered: bool
    quoted: bool = False
    instant: bool = False


def find_field(text: str, token: Token, entity: Entity) -> Named:
    """Return the field that a name means.

    Raises:
        Invalid: the entity has no such prefix, or the prefix no such field.
    """
    parts = token.parts
    if len(parts) == 1:
        return _fixed(text, token, 0, entity, entity.family(entity.bare))
    for length in (2, 1):  # span.attributes.KEY before span.KEY
        prefix = ".".join(part.text for part in parts[:length])
        for family in entity.families:
            if len(parts) > length and prefix in family.words:
                if family.attributes:
                    return _fixed(text, token, length, entity, family)
                return _free(token, length, family)
    words = [word for family in entity.families for word in family.words]
    shown = parts[0].text[:100]
    raise fault(text, token.at, f"{_one(entity)} has no {shown!r}.", near(shown, words))


def operand(text: str, token: Token, named: Named, op: str) -> str | int | float:
    """Return the value that a field is compared with.

    Raises:
        Invalid: it is no value, or not of the field's kind.
    """
    if token.kind == "number" and (named.kind == "number" or (named.kind == "either" and op in NUMERIC)):
        return token.number
    if token.kind == "text" and named.instant:
        return _instant(text, token, named, op)
    if token.kind == "text" and named.quoted:
        try:
            return number(token.parts[0].text)
        except ValueError:
            raise fault(text, token.at, f"{named.shown} is compared with a number.") from None
    if token.kind == "text" and named.kind != "number" and op not in {"<", "<=", ">", ">="}:
        if op == "RLIKE":
            _check_pattern(text, token)
        return token.parts[0].text
    raise _wrong_value(text, token, named, op)


def _instant(text: str, token: Token, named: Named, op: str) -> int | float:
    """Return the milliseconds of a date, or of a date and time; without a zone it is UTC."""
    if op in {"=", "!="}:
        hint = f"Write {named.shown} >= DAY AND {named.shown} < NEXT DAY."
        raise fault(text, token.at, f"{named.shown} {op} a date would mean its first instant.", hint)
    try:
        found = datetime.fromisoformat(token.parts[0].text)
        micros = to_micros(found if found.tzinfo else found.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        hint = "Write it like '2026-01-31' or '2026-01-31T12:00:00Z', or as milliseconds since 1970."
        raise fault(text, token.at, f"A date must follow {named.shown} {op}.", hint) from None
    return micros / 1000 if micros % 1000 else micros // 1000


def _check_pattern(text: str, token: Token) -> None:
    try:
        compiled(token.parts[0].text)
    except Invalid as error:
        raise fault(
            text, token.at, f"At character {error.facts['offset'] + 1} of the pattern: {error.message}"
        ) from None


def _wrong_value(text: str, token: Token, named: Named, op: str) -> Invalid:
    after = f"{named.shown} {op}"
    shown = token.raw[:40] or "the end"
    if named.kind == "number" or op in {"<", "<=", ">", ">="}:
        hint = "Write it without quotes, like 3, -0.5 or 1e-5."
        if token.word in {"NAN", "INF", "INFINITY"}:
            hint = "Infinity is 1e999. Nothing equals NaN; only != matches it."
        return fault(text, token.at, f"A number must follow {after}, not {shown}.", hint)
    hint = f"Put it in quotes: '{shown}'." if token.kind in {"name", "number"} and "'" not in shown else ""
    return fault(text, token.at, f"A text in quotes must follow {after}, not {shown}.", hint)


def _fixed(text: str, token: Token, at: int, entity: Entity, family: Family) -> Named:
    key = ".".join(part.text for part in token.parts[at:])
    found = family.attribute(key)
    if found is None:
        known = _known(entity, family)
        place = token.parts[at].at
        owner = _one(entity) if family.name == entity.bare else family.words[0].capitalize()
        raise fault(text, place, f"{owner} has no {key[:100]!r}.", near(key, known))
    return _attribute(token, family, found)


def _one(entity: Entity) -> str:
    return f"{'An' if entity.name[0] in 'aeiou' else 'A'} {entity.name.replace('_', ' ')}"


def _known(entity: Entity, family: Family) -> list[str]:
    names = [one.name for one in family.attributes]
    if family.name != entity.bare:
        return [f"{family.words[0]}.{name}" for name in names]
    return [*names, *(f"{one.words[0]}.KEY" for one in entity.families if not one.attributes)]


def _attribute(token: Token, family: Family, found: Attribute) -> Named:
    field = Field(family.name, found.name)
    more = (found.ordered, found.quoted, found.instant)
    return Named(field, token.raw[:100], found.kind, found.operators, *more)


def _free(token: Token, at: int, family: Family) -> Named:
    operators = family.operators | NUMERIC if family.kind == "either" else family.operators
    field = Field(family.name, ".".join(part.text for part in token.parts[at:]))
    return Named(field, token.raw[:100], family.kind, operators, family.ordered)

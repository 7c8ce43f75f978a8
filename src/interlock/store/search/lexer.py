"""A search text as tokens, and errors that point at a character of it.

Names are words joined by dots, each word bare or in quotes of any kind: `metrics.loss`, ``params.`my key` ``. Inside
quotes a doubled quote stands for one. A backslash is an ordinary character, except right before a quote of the same
kind: there each pair of backslashes is one, and an odd one makes the quote part of the text. So Windows paths and
regular expressions need no care.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from interlock.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable

LENGTH_LIMIT: Final = 100_000
NUMBER_LIMIT: Final = 400
_INT64: Final = 2**63
_AROUND: Final = 30

_SPACE: Final = re.compile(r"\s+")
_NUMBER: Final = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.])")
_WORD: Final = re.compile(r"\w+")
_OPERATOR: Final = re.compile(r"<=|>=|!=|<>|==|=|<|>")
_QUOTES: Final = "'\"`"
_HINTS: Final = {
    ";": "One condition only; join several with AND or OR.",
    **dict.fromkeys(
        "+-", "A number looks like 3, -0.5 or 1e-5; a key with this character needs backticks: metrics.`a-b`."
    ),
    **dict.fromkeys("/:@#$%&*", "A key with this character needs backticks: metrics.`a/b`."),
    **dict.fromkeys("\u2018\u2019\u201c\u201d", "Use straight quotes: ' or \"."),
}


class Part(NamedTuple):
    """A word of a name: its text, where it starts, and the kind of quotes around it, if any."""

    text: str
    at: int
    mark: str


class Token(NamedTuple):
    """A piece of the text: what it is, where it starts, how it was written, and what it stands for."""

    kind: Literal["name", "text", "number", "operator", "mark", "end"]
    at: int
    raw: str
    parts: tuple[Part, ...] = ()
    number: int | float = 0

    @property
    def word(self) -> str:
        """The word in capitals when this is one bare word, as keywords are; else ""."""
        return self.raw.upper() if self.kind == "name" and len(self.parts) == 1 and not self.parts[0].mark else ""


def fault(text: str, at: int, message: str, hint: str = "") -> Invalid:
    """Return the error that shows where in a text something is wrong; `at` counts from 0, the fact `column` from 1."""
    start, end = max(0, at - _AROUND), at + _AROUND
    shown = f"{'...' if start else ''}{text[start:end]}{'...' if end < len(text) else ''}"
    shown = "".join(char if char.isprintable() else " " for char in shown)
    caret = " " * (at - start + (3 if start else 0)) + "^"
    return Invalid(f"{message} (column {at + 1})\n    {shown}\n    {caret}", about="search", hint=hint, column=at + 1)


def near(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the nearest of the known names, or all of them."""
    listed = list(dict.fromkeys(known))
    small = {one.lower(): one for one in reversed(listed)}
    found = difflib.get_close_matches(name[:100].lower(), list(small), n=1, cutoff=0.6)
    return f"Did you mean {small[found[0]]}?" if found else f"Known: {', '.join(listed)}."


def tokens(text: str) -> list[Token]:
    """Return the tokens of a text, the last of kind `end`.

    Raises:
        Invalid: a character that begins nothing, quotes that do not end, a text that is too long or is not UTF-8.

    Cost:
        Linear in the text.
    """
    _check(text)
    found: list[Token] = []
    at = 0
    while at < len(text):
        if space := _SPACE.match(text, at):
            at = space.end()
            continue
        token = _token(text, at)
        found.append(token)
        at += len(token.raw)
    found.append(Token("end", len(text), ""))
    return found


def _check(text: str) -> None:
    if len(text) > LENGTH_LIMIT:
        raise fault(text, LENGTH_LIMIT, f"This is longer than {LENGTH_LIMIT} characters.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise fault(text.encode(errors="replace").decode(), error.start, "This is half a character.") from None
    if (at := text.find("\0")) >= 0:
        raise fault(text, at, "Text may not hold the character NUL.")


def _token(text: str, at: int) -> Token:
    char = text[at]
    if match := _NUMBER.match(text, at):
        return _number(text, match)
    if char in _QUOTES or _WORD.match(text, at):
        return _name(text, at)
    if match := _OPERATOR.match(text, at):
        return Token("operator", at, match.group())
    if char in "(),":
        return Token("mark", at, char)
    raise fault(text, at, f"{char!r} does not belong here.", _HINTS.get(char, ""))


def _number(text: str, match: re.Match[str]) -> Token:
    raw = match.group()
    if len(raw) > NUMBER_LIMIT:
        raise fault(text, match.start(), f"A number may have at most {NUMBER_LIMIT} characters.")
    return Token("number", match.start(), raw, number=number(raw))


def number(raw: str) -> int | float:
    """Return the number that a text says: an int if it is a whole one of at most 64 bits."""
    if re.fullmatch(r"-?[0-9]+", raw) and -_INT64 <= (whole := int(raw)) < _INT64:
        return whole
    return float(raw)


def _name(text: str, start: int) -> Token:
    parts: list[Part] = []
    at = start
    while True:
        if text[at : at + 1] and text[at] in _QUOTES:
            value, end = _quoted(text, at)
            parts.append(Part(value, at, text[at]))
        elif word := _WORD.match(text, at):
            end = word.end()
            parts.append(Part(word.group(), at, ""))
        else:
            hint = "A key with odd characters needs backticks: metrics.`a b`."
            raise fault(text, at, "A name must follow the dot.", hint)
        if text[end : end + 1] != ".":
            break
        at = end + 1
    kind: Literal["text", "name"] = "text" if len(parts) == 1 and parts[0].mark in {"'", '"'} else "name"
    return Token(kind, start, text[start:end], tuple(parts))


def _quoted(text: str, start: int) -> tuple[str, int]:
    mark, at, pieces = text[start], start + 1, []
    while (quote := text.find(mark, at)) >= 0:
        slashes = quote
        while slashes > at and text[slashes - 1] == "\\":
            slashes -= 1
        run = quote - slashes
        pieces.append(text[at:slashes] + "\\" * (run // 2))
        if run % 2:
            at = quote + 1
        elif text[quote + 1 : quote + 2] == mark:
            at = quote + 2
        else:
            return "".join(pieces), quote + 1
        pieces.append(mark)
    hint = f"Double it where it is part of the text: {mark * 2}. Double a backslash that stands before the last one."
    raise fault(text, start, f"The quote {mark} is not closed.", hint)

"""The YAML that MLflow writes of its own records: names and scalars, one level deep. No tags, no anchors, no code.

A full YAML reader would have to be trusted with files of strangers; these records need none.
"""

from __future__ import annotations

import re
from typing import Final

from interlock.core.errors import Invalid

_SKIPPED: Final = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n|---[^\n]*\n)+")
_SINGLE: Final = re.compile(r"'([^']*(?:''[^']*)*)'")
_DOUBLE: Final = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
# A plain name may hold anything but ": " and " #", and begins with nothing that means something else.
_PLAIN_NAME: Final = re.compile(
    r"((?:[^\s'\"#&*!|>%@`?{}\[\],:-]|[?:-](?=\S))(?:[^\s:#]|:(?=\S)|(?<=\S)#|[ \t]+(?!\s|#|:(?:\s|\Z)))*)"
)
_COLON: Final = re.compile(r"[ \t]*:(?=[ \t\n]|\Z)[ \t]*")
_NEXT_COLON: Final = re.compile(r"[ \t]*\n(?=:)")
_REST: Final = re.compile(r"[^\n]*\n?")
_DEEPER: Final = re.compile(r"(?:(?:[ \t][^\n]*)?\n|[ \t][^\n]+\Z|-[ \t][^\n]*\n?)*")
_CONTINUED: Final = re.compile(r"(?:(?:[ \t]*\n)*[ \t]+[^\n]+(?:\n|\Z))*")
_ESCAPED: Final = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_ESCAPES: Final = {
    "0": "\0",
    "a": "\a",
    "b": "\b",
    "t": "\t",
    "\t": "\t",
    "n": "\n",
    "v": "\v",
    "f": "\f",
    "r": "\r",
    "e": "\x1b",
    " ": " ",
    '"': '"',
    "/": "/",
    "\\": "\\",
    "N": "\x85",
    "_": "\xa0",
    "L": "\u2028",
    "P": "\u2029",
}
_EMPTY: Final = frozenset({"", "null", "~", "{}", "[]"})
_QUOTES: Final = frozenset({'"', "'"})
_LAST_CODE: Final = 0x10FFFF


def read_flat(text: str) -> dict[str, str]:
    """Return names and values, all as texts; empty ones are "", and so are values with an inside of their own.

    Raises:
        Invalid: a line is none of these.
    """
    return {name: value for name, (value, _) in _read(text).items()}


def read_below(text: str, name: str) -> dict[str, str]:
    """Return the names and values one level below a name, all as texts; none where it has none.

    Raises:
        Invalid: a line there is none of these.
    """
    inside = _read(text).get(name, ("", ""))[1]
    return read_flat("".join(line.removeprefix("  ") for line in inside.splitlines(keepends=True)))


def _read(text: str) -> dict[str, tuple[str, str]]:
    """Return the values of a text by name, and what stands below them."""
    found: dict[str, tuple[str, str]] = {}
    place = _skip(text, 0)
    while place < len(text):
        start = place
        name, place = _name(text, place)
        colon = _COLON.match(text, place) if name is not None else None
        if name is None or colon is None:
            raise _wrong(text, start, "is no name and value")
        value, inside, place = _value(text, colon.end())
        found[name] = value, inside
        place = _skip(text, place)
    return found


def _skip(text: str, place: int) -> int:
    found = _SKIPPED.match(text, place)
    return found.end() if found else place


def _name(text: str, place: int) -> tuple[str | None, int]:
    """Return the name that begins at a place and where it ends; None where none begins there."""
    long = text.startswith("? ", place)  # a name of more than 128 letters; its colon stands in the next line
    start = place + 2 if long else place
    name, end = _quoted(text, start) or (None, start)
    if name is None and (plain := _PLAIN_NAME.match(text, start)):
        name, end = plain[1], plain.end()
    following = _NEXT_COLON.match(text, end) if long else None
    return name, following.end() if following else end


def _value(text: str, place: int) -> tuple[str, str, int]:
    """Return the value that begins at a place, what stands below it instead of one, and where the next line begins."""
    quoted = _quoted(text, place)
    first = _match(_REST, text, quoted[1] if quoted else place)
    if quoted:
        if first[0].strip() and not first[0].lstrip().startswith("#"):
            raise _wrong(text, place, "goes on after its value")
        return quoted[0], "", first.end()
    if first[0][:1] in _QUOTES:
        raise _wrong(text, place, "has a quote that does not end")
    if not first[0].strip():
        below = _match(_DEEPER, text, first.end())
        inner = below[0].strip()
        if inner and not _is_mapping(below[0]):  # a plain value that begins in the next line
            return _plain(inner), "", below.end()
        return "", below[0], below.end()
    more = _match(_CONTINUED, text, first.end())
    return _plain(first[0] + more[0]), "", more.end()


def _is_mapping(below: str) -> bool:
    line = next(line for line in below.splitlines() if line.strip()).strip()
    if line.startswith(("- ", "? ")) or line == "-":
        return True
    name, end = _name(line, 0)
    return name is not None and _COLON.match(line, end) is not None


def _quoted(text: str, place: int) -> tuple[str, int] | None:
    """Return the quoted value that begins at a place and where it ends."""
    if single := _SINGLE.match(text, place):
        return _folded(single[1]).replace("''", "'"), single.end()
    if double := _DOUBLE.match(text, place):
        return _ESCAPED.sub(_unescaped, _folded(double[1], joining=True)), double.end()
    return None


def _plain(text: str) -> str:
    folded = _folded(text.strip())
    return "" if folded in _EMPTY else folded


def _folded(text: str, *, joining: bool = False) -> str:
    r"""Return a value that was broken into lines in one: a break is a space, each empty line after it a break.

    Args:
        text: the value as it stands.
        joining: whether a break after a backslash is nothing, as in double quotes.
    """
    if "\n" not in text:
        return text
    first, *lines = text.split("\n")
    parts, breaks, joined = [first], 0, False
    for number, line in enumerate(lines):
        before = parts[-1]
        if breaks == 0:
            joined = joining and (len(before) - len(before.rstrip("\\"))) % 2 == 1
            parts[-1] = before[:-1] if joined else before.rstrip(" \t")
        stripped = line.lstrip(" \t")
        if not stripped and number < len(lines) - 1:
            breaks += 1
            continue
        parts += ["\n" * breaks or ("" if joined else " "), stripped]
        breaks = 0
    return "".join(parts)


def _unescaped(found: re.Match[str]) -> str:
    word = found[1]
    if len(word) == 1:
        return _ESCAPES.get(word, word)
    code = int(word[1:], 16)
    return chr(code) if code <= _LAST_CODE else "\ufffd"


def _wrong(text: str, place: int, how: str) -> Invalid:
    line = text.count("\n", 0, place) + 1
    return Invalid(f"Line {line} {how}.", about="import", line=line)


def _match(pattern: re.Pattern[str], text: str, place: int) -> re.Match[str]:
    """Return the match that begins at a place, of a pattern that matches nothing too."""
    return next(pattern.finditer(text, place))

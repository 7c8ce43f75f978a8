"""Where a key stands in a TOML text: the standard parser tells values, not places."""

from __future__ import annotations

import re

_TABLE = re.compile(r"\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(?:#.*)?\Z")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")


def line_of(text: str, path: tuple[str, ...]) -> int:
    """Return the line (from 1) of a key, or of the nearest table around it.

    Args:
        text: the TOML text.
        path: the keys from the root; an element of an array of tables is its number as text.
    """
    lines = _lines(text)
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            inner = [part for part in path[length:] if not part.isdigit()]
            return _inside(text, lines[path[:length]], inner)
    return 1


def _lines(text: str) -> dict[tuple[str, ...], int]:
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    counts: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if head := _TABLE.match(line):
            table = _parts(head.group(2))
            if head.group(1) == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, str(counts[table]))
            _note(found, table, number)
        elif key := _KEY.match(line):
            _note(found, table + _parts(key.group(1)), number)
    return found


def _note(found: dict[tuple[str, ...], int], path: tuple[str, ...], number: int) -> None:
    for length in range(1, len(path) + 1):
        found.setdefault(path[:length], number)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PART.findall(text))


def _inside(text: str, line: int, inner: list[str]) -> int:
    """Return the line of a key of an inline table that begins at `line` and may go on below."""
    if not inner:
        return line
    rows = text.splitlines()
    for number in range(line, min(line + 20, len(rows)) + 1):
        if re.search(rf"(?<![\w-])[\"']?{re.escape(inner[0])}[\"']?\s*=", rows[number - 1]):
            return number
    return line

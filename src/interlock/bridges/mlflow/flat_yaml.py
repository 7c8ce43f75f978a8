"""The YAML that MLflow writes of its own records: one level of names and scalars. No tags, no anchors, no code.

A full YAML reader would have to be trusted with files of strangers; these records need none.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from interlock.core.errors import Invalid

_PAIR: Final = re.compile(r"([A-Za-z_][\w.]*):(?: (.*))?\Z")
_EMPTY: Final = frozenset({"", "null", "~", "{}", "[]"})
_CLOSED: Final = {"'": re.compile(r"'(?:[^']|'')*'\Z"), '"': re.compile(r'"(?:[^"\\]|\\.)*"\Z')}


def read_flat(text: str) -> dict[str, str]:
    """Return names and values, all as texts; empty ones are "". Nested values are left out.

    Raises:
        Invalid: a line is none of these.
    """
    pairs: dict[str, list[str]] = {}
    name = ""
    for number, line in enumerate(text.splitlines(), 1):
        open_quote = bool(name) and _is_open(" ".join(pairs[name]))
        if not open_quote and (not line.strip() or line.startswith(("#", "---", "- "))):
            if name and not line.strip():
                pairs[name].append("\n")
            continue
        found = None if open_quote or line.startswith(" ") else _PAIR.match(line)
        if found:
            name = found[1]
            pairs[name] = [found[2] or ""]
        elif name and (open_quote or line.startswith(" ")):
            pairs[name].append(line.strip() or "\n")
        else:
            raise Invalid(f"Line {number} is no name and value.", about="import", line=number)
    return {key: _scalar(parts) for key, parts in pairs.items()}


def _is_open(value: str) -> bool:
    """Return whether a quoted value goes on in the next line."""
    quote = value[:1]
    return quote in _CLOSED and not _CLOSED[quote].match(value.strip())


def _scalar(parts: list[str]) -> str:
    text = " ".join(parts).replace(" \n ", "\n").replace("\n ", "\n").strip()
    if text in _EMPTY or (not parts[0] and len(parts) > 1):  # the second: a nested value
        return ""
    if text.startswith("'") and text.endswith("'"):
        return text[1:-1].replace("''", "'")
    if text.startswith('"'):
        try:
            return msgspec.json.decode(re.sub(r"\\\s+|\n", " ", text), type=str)
        except msgspec.MsgspecError:
            return text.strip('"')
    return text

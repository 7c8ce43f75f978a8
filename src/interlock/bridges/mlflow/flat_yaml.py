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
_QUOTES: Final = frozenset("'\"")
_ESCAPED: Final = re.compile(r"\\.")


def read_flat(text: str) -> dict[str, str]:
    """Return names and values, all as texts; empty ones are "". Nested values are left out.

    Raises:
        Invalid: a line is none of these.
    """
    pairs: dict[str, list[str]] = {}
    name, quote, open_quote = "", "", False
    for number, line in enumerate(text.splitlines(), 1):
        if not open_quote and (not line.strip() or line.startswith(("#", "---", "- "))):
            if name and not line.strip():
                pairs[name].append("\n")
            continue
        found = None if open_quote or line.startswith(" ") else _PAIR.match(line)
        if found:
            name = found[1]
            value = found[2] or ""
            pairs[name] = [value]
            quote = value[:1] if value[:1] in _QUOTES else ""
            open_quote = _turns(quote, value)
        elif name and (open_quote or line.startswith(" ")):
            pairs[name].append(line.strip() or "\n")
            open_quote ^= _turns(quote, line)
        else:
            raise Invalid(f"Line {number} is no name and value.", about="import", line=number)
    return {key: _scalar(parts) for key, parts in pairs.items()}


def _turns(quote: str, line: str) -> bool:
    """Return whether a line opens or closes the quote of its value: it has an odd number of them ('' is two)."""
    if not quote:
        return False
    return (_ESCAPED.sub("", line) if quote == '"' else line).count(quote) % 2 == 1


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

r"""Results as plain text: records as names and values, lists of records as tables.

Values come from data, and data may hold terminal escapes; so what is not printable is shown as `\x1b` and the like.
A record may name the columns that a table of it shows (`TABLE`), its id and that of the record that it is part of
(`TREE`: the table's first column is a tree then), and tell itself in one line (`__str__`); `--json` has all.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from interlock.core.errors import Finding
from interlock.core.files import is_digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LINE = 72
_GAP = "  "
_NESTED = 60
_DIGEST_SHOWN = 12


def to_text(value: Any, widest: int | None = None) -> str:
    """Return a result as text.

    Args:
        value: a record, a list, a mapping or a plain value.
        widest: cut cells of tables to this many letters; None leaves them whole.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return clean(value, keep="\n\t")
    if isinstance(value, msgspec.Struct):
        return _pairs(_fields(value), widest)
    if isinstance(value, dict):
        return _pairs(value, widest) if value else "none"
    if isinstance(value, list | tuple):
        return _rows(value, widest)
    return _cell(value)


def clean(text: str, keep: str = "") -> str:
    """Return a text whose unprintable letters are escaped, but for those of `keep`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def _fields(record: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


def _pairs(pairs: Mapping[str, Any], widest: int | None) -> str:
    width = max((len(clean(str(name))) for name in pairs), default=0)
    lines = []
    for name, value in pairs.items():
        title = clean(str(name))
        short = _cell(value)
        if not _is_long(value, short):
            lines.append(f"{title.ljust(width)}{_GAP}{short}".rstrip())
        else:
            lines.append(title)
            lines += [f"    {line}" for line in to_text(value, widest).splitlines()]
    return "\n".join(lines)


def _is_long(value: Any, short: str) -> bool:
    """Return whether a value gets lines of its own: lists of records do, and other containers that fill a line."""
    if isinstance(value, list | tuple) and any(isinstance(item, dict | msgspec.Struct) for item in value):
        return True
    return len(short) > _LINE and isinstance(value, list | tuple | dict | msgspec.Struct)


def _rows(rows: Sequence[Any], widest: int | None) -> str:
    if not rows:
        return "none"
    records = [_fields(row) if isinstance(row, msgspec.Struct) else row for row in rows]
    if not all(isinstance(record, dict) for record in records):
        return "\n".join(_cell(row) for row in rows)
    names = list(getattr(type(rows[0]), "TABLE", ())) or list(
        dict.fromkeys(name for record in records for name in record)
    )
    limbs: list[str] = []
    if tree := getattr(type(rows[0]), "TREE", ()):
        records, limbs = _grown(records, *tree)
    columns = [[record.get(name) for record in records] for name in names]
    names = [clean(str(name)) for name in names]
    texts = [[_table_cell(value, widest) for value in column] for column in columns]
    if limbs:
        texts[0] = [_cut(limb + text, widest) for limb, text in zip(limbs, texts[0], strict=True)]
    widths = [max(len(name), *map(len, column)) for name, column in zip(names, texts, strict=True)]
    right = [all(_is_number(value) for value in column) for column in columns]
    lines = [_line(names, widths, right), _line(["-" * width for width in widths], widths, right)]
    lines += [_line(list(row), widths, right) for row in zip(*texts, strict=True)]
    return "\n".join(lines)


def _grown(records: Sequence[Mapping[str, Any]], ident: str, parent: str) -> tuple[list[Mapping[str, Any]], list[str]]:
    """Return records in the order of a tree, and the limbs that each hangs on; what has no parent here is a root."""
    known = {record[ident] for record in records}
    below: dict[Any, list[Mapping[str, Any]]] = {}
    for record in records:
        below.setdefault(record[parent] if record[parent] in known else None, []).append(record)
    ordered: list[Mapping[str, Any]] = []
    limbs: list[str] = []
    waiting = [(record, "", "") for record in reversed(below.pop(None, []))]
    while waiting or any(below.values()):
        if not waiting:  # what is part of itself, in a circle, begins where it is met first
            waiting = [(next(filter(None, below.values())).pop(0), "", "")]
        record, limb, trunk = waiting.pop()
        ordered.append(record)
        limbs.append(limb)
        parts = below.pop(record[ident], [])
        for part in reversed(parts):
            last = part is parts[-1]
            waiting.append((part, f"{trunk}{'`- ' if last else '|- '}", f"{trunk}{'   ' if last else '|  '}"))
    return ordered, limbs


def _table_cell(value: Any, widest: int | None) -> str:
    """Return a value as it stands in a table: what is nested is always cut (`--json` has it whole)."""
    if isinstance(value, dict | list | tuple | msgspec.Struct):
        return _cut(_cell(value), min(widest or _NESTED, _NESTED))
    return _cut(_cell(value), widest)


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    placed = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True)]
    return _GAP.join(placed).rstrip()


def _cell(value: Any) -> str:
    """Return a value in one line."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, int):
        return str(value)
    if isinstance(value, dict | list | tuple | msgspec.Struct):
        return _nested(value, inside=False) or "none"
    return clean(str(value))


def _nested(value: Any, *, inside: bool = True) -> str:
    """Return a container in one line: empty members left out, digests short, brackets where it stands in another.

    A record that says itself what it is in one line (`__str__`) is believed.
    """
    if isinstance(value, msgspec.Struct) and "__str__" in vars(type(value)):
        return clean(str(value))
    if isinstance(value, list | tuple) and value and isinstance(value[0], Finding):
        return "; ".join(clean(found.message.rstrip(".")) for found in value)
    if isinstance(value, list | tuple) and value and "__str__" in vars(type(value[0])):
        return ", ".join(text for text in map(_nested, value) if text)
    if isinstance(value, msgspec.Struct):
        value = _fields(value)
    if isinstance(value, dict):
        pairs = [(clean(str(name)), _nested(item)) for name, item in value.items()]
        text = ", ".join(f"{name}={item}" for name, item in pairs if item)
        return f"{{{text}}}" if inside and text else text
    if isinstance(value, list | tuple):
        text = ", ".join(_nested(item) for item in value)
        return f"[{text}]" if inside and text else text
    if isinstance(value, str):
        return clean(f"{value[:_DIGEST_SHOWN]}..." if is_digest(value) else value)
    return "" if value is None else _cell(value)


def _cut(text: str, widest: int | None) -> str:
    return text if widest is None or len(text) <= widest else text[: widest - 3] + "..."


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))

"""Text as a CSV file has it, read as the types that a model's columns take."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from interlock.serve.columns import TAKES, Columns, Value, finding, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from interlock.core.bundles import Column
    from interlock.core.errors import Finding


def cast_text(inputs: Iterable[Column], columns: Columns) -> dict[str, list[Value]]:
    """Return columns of text, as a CSV file has them, in the types that a model's columns take.

    Args:
        inputs: the model's columns; others stay text.
        columns: the text. An empty field is a missing value.

    Raises:
        Invalid: a text does not spell what its column takes.
    """
    kinds = {column.name: column for column in inputs}
    cast: dict[str, list[Value]] = {}
    findings: list[Finding] = []
    for name, texts in columns.items():
        read = _READERS.get(kinds[name].type) if name in kinds else None
        if read is None:
            cast[name] = [text or None for text in texts] if name in kinds else list(texts)
            continue
        bad: list[int] = []
        cast[name] = [_read(read, str(text), row, bad) for row, text in enumerate(texts)]
        if bad:
            findings.append(finding("type", name, bad, f"does not spell {TAKES[kinds[name].type]}"))
    if findings:
        raise refused(findings)
    return cast


def _read(read: Callable[[str], Value], text: str, row: int, bad: list[int]) -> Value:
    try:
        return read(text) if text else None
    except ValueError:
        bad.append(row)
        return None


def _number(text: str) -> float:
    if "_" in text:  # Python's own spelling of numbers, nobody else's
        raise ValueError(text)
    value = float(text)
    if math.isinf(value):
        raise ValueError(text)
    return value


def _whole(text: str) -> Value:
    if text.strip().lstrip("+-").isdecimal():
        return int(text)
    value = _number(text)
    if not value.is_integer():
        raise ValueError(text)
    return int(value)


def _truth(text: str) -> bool:
    try:
        return {"true": True, "false": False, "1": True, "0": False}[text.strip().lower()]
    except KeyError:
        raise ValueError(text) from None


_READERS: Final[dict[str, Callable[[str], Value]]] = {"integer": _whole, "float": _number, "boolean": _truth}

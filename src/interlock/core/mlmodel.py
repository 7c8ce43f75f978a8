"""The columns that an MLmodel file of MLflow names: all of it that we read, and no YAML."""

from __future__ import annotations

import re
from typing import Final

import msgspec

# The one place of MLmodel that is read: `inputs` below `signature`, JSON in single quotes, broken into lines.
_INPUTS: Final = re.compile(
    r"^signature:[ ]*\n(?:[ ]{2}\w[^\n]*\n|[ ]{3,}[^\n]*\n)*?[ ]{2}inputs: '((?:[^']|'')*)'", re.MULTILINE
)


class _Field(msgspec.Struct):
    name: str = ""
    type: str = ""


def mlmodel_inputs(data: bytes) -> list[tuple[str, str]]:
    """Return the columns of the signature in an MLmodel file, each with its type; none where it names none.

    The rest of the file, which is YAML, is not read.
    """
    match = _INPUTS.search(data.decode("utf-8", "replace"))
    if match is None:
        return []
    text = re.sub(r"\n[ ]+", " ", match[1]).replace("''", "'")
    try:
        found = msgspec.json.decode(text, type=list[_Field])
    except (msgspec.MsgspecError, RecursionError):
        return []
    return [(field.name, field.type) for field in found if field.name]

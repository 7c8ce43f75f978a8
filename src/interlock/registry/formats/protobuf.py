"""The wire format of protocol buffers (protobuf.dev, "Encoding"), walked by a table of messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.registry.formats.verdict import fail

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
# Of each message: the message that a field holds, or "" for a plain value, by the field's number.
Schema = dict[str, dict[int, str]]
_DEEPEST: Final = 100


def fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Yield the fields of a message: number, wire type, and value (an int, or the bytes).

    Raises:
        Broken: the bytes are no message.
    """
    place, end = 0, len(data)
    while place < end:
        tag, place = _varint(data, place, end)
        number, kind = tag >> 3, tag & 7
        if not number:
            fail("a field has the number 0")
        if kind == VARINT:
            value, place = _varint(data, place, end)
            yield number, kind, value
            continue
        if kind == BYTES:
            length, place = _varint(data, place, end)
        elif kind == FIXED64:
            length = 8
        elif kind == FIXED32:
            length = 4
        else:
            fail(f"field {number} has the wire type {kind}")
        if length > end - place:
            fail(f"field {number} announces {length:,} bytes, {end - place:,} are left")
        yield number, kind, data[place : place + length]
        place += length


def walk(data: memoryview, message: str, schema: Schema, found: Mapping[str, list[object]], depth: int = 0) -> None:
    """Accept a message when all its parts are what a schema says.

    Args:
        data: its bytes.
        message: its name in the schema.
        schema: the messages.
        found: lists to which the values of fields go, by `message.number`.
        depth: how deep it lies.

    Raises:
        Broken: some part is not.
    """
    if depth > _DEEPEST:
        fail(f"it is nested deeper than {_DEEPEST}")
    known = schema[message]
    for number, kind, value in fields(data):
        inner = known.get(number)
        if inner is None:
            fail(f"a {message} has no field {number}")
        wanted = found.get(f"{message}.{number}")
        if wanted is not None:
            wanted.append(value)
        if inner:
            if kind != BYTES or isinstance(value, int):
                fail(f"field {number} of a {message} is no {inner}")
            walk(value, inner, schema, found, depth + 1)


def _varint(data: memoryview, place: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while place < end:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            fail("a number has more than ten bytes")
    return fail("a number is cut off")

"""Protobuf's wire format, as much of it as reading a few messages takes.

A message is fields in any order: a varint key (number and wire type), then the value. Fields that we do not know are
passed over, as the format wants it. Source: protobuf.dev, "Encoding".
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from interlock.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5
_DOUBLE: Final = struct.Struct("<d")
_FIXED: Final = {FIXED64: 8, FIXED32: 4}
_LONGEST_VARINT: Final = 10
_UINT64: Final = (1 << 64) - 1
_INT64: Final = 1 << 63
_LARGEST_NUMBER: Final = (1 << 29) - 1
Value = int | memoryview


class Malformed(Invalid):
    """Bytes that are no message."""


def fields(data: memoryview) -> Iterator[tuple[int, int, Value]]:
    """Yield number, wire type and value of each field of a message: a whole number, or the bytes of a text or message.

    Raises:
        Malformed: the bytes are no message.
    """
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if not 1 <= number <= _LARGEST_NUMBER:
            raise malformed(f"there is no field {number}")
        if kind == VARINT:
            value, at = _varint(data, at)
            yield number, kind, value
            continue
        if kind == BYTES:
            size, at = _varint(data, at)
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            raise malformed(f"field {number} has wire type {kind}, which no message of today has")
        if size > end - at:
            raise malformed(f"field {number} ends beyond its message")
        piece = data[at : at + size]
        at += size
        yield number, kind, piece if kind == BYTES else int.from_bytes(piece, "little")


def message(value: Value) -> memoryview:
    """Return the bytes of a field that is a message.

    Raises:
        Malformed: it is a number.
    """
    if isinstance(value, int):
        raise malformed("a number stands where a message belongs")
    return value


def text(value: Value) -> str:
    """Return a field that is a text.

    Raises:
        Malformed: it is none.
    """
    try:
        return str(message(value), "utf-8")
    except UnicodeDecodeError:
        raise malformed("a text is not UTF-8") from None


def whole(value: Value) -> int:
    """Return a field that is a whole number without a sign, or an enum.

    Raises:
        Malformed: it is bytes.
    """
    if not isinstance(value, int):
        raise malformed("bytes stand where a number belongs")
    return value


def signed(value: Value) -> int:
    """Return a field of type int64.

    Raises:
        Malformed: it is bytes.
    """
    number = whole(value)
    return number - (1 << 64) if number >= _INT64 else number


def double(value: Value) -> float:
    """Return a field of type double.

    Raises:
        Malformed: it is bytes.
    """
    found: float = _DOUBLE.unpack(whole(value).to_bytes(8, "little"))[0]
    return found


def malformed(why: str) -> Malformed:
    """Return the error that says that bytes are no message."""
    return Malformed(f"The body is no OTLP message: {why}.", about="request")


def varint_field(number: int, value: int) -> bytes:
    """Return a field that is a whole number, none of it where it is 0."""
    return _varint_bytes(number << 3 | VARINT) + _varint_bytes(value) if value else b""


def text_field(number: int, value: str) -> bytes:
    """Return a field that is a text, none of it where it is empty."""
    raw = value.encode()
    return _varint_bytes(number << 3 | BYTES) + _varint_bytes(len(raw)) + raw if raw else b""


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    found = shift = 0
    for place in range(at, min(at + _LONGEST_VARINT, len(data))):
        byte = data[place]
        found |= (byte & 0x7F) << shift
        if byte < 0x80:
            return found & _UINT64, place + 1
        shift += 7
    raise malformed("a number does not end")


def _varint_bytes(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)

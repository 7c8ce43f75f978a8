"""A walk over the bytes of an ONNX model, which is a protocol buffer, without a library for it.

The runtime looks for weights in other files where a model says so; such a model is refused before the runtime sees it.

Source: onnx/onnx.proto (field numbers), protobuf.dev/programming-guides/encoding (the bytes).
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

# Field number -> message, for the parts on the way to tensors and to the labels of classes.
_PARTS: Final[dict[str, dict[int, str]]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}
_EXTERNAL, _LOCATION = 13, 14  # fields of a tensor
_ATTRIBUTE_NAME, _INTEGERS, _TEXTS = 1, 8, 9  # fields of an attribute
_LABELS: Final = frozenset({b"classlabels_int64s", b"classlabels_ints", b"classlabels_strings"})
_DEEPEST: Final = 200
# Values that are not packed: a forest's attributes have millions of them, and the regular expression's own loop passes
# over a whole run at a time. In bytes: a field's key, then a number, four or eight bytes, or a text of up to 63.
_NUMBER: Final = rb"[\x80-\xff]{0,9}[\x00-\x7f]"
_TEXT: Final = b"(?:" + b"|".join(re.escape(bytes([length])) + b".{%d}" % length for length in range(64)) + b")"
_RUNS: Final[dict[str, re.Pattern[bytes]]] = {
    kind: re.compile(b"(?:" + b"|".join(fields) + b"){1,4096}+", re.DOTALL)
    for kind, fields in {
        "Attribute": (rb"\x3d.{4}", rb"\x40" + _NUMBER, rb"\x4a" + _TEXT),
        "Tensor": (rb"\x25.{4}", rb"\x51.{8}", rb"[\x08\x28\x38\x58]" + _NUMBER, rb"\x32" + _TEXT),
    }.items()
}
_FIXED: Final = {1: 8, 5: 4}
Field = tuple[int, int, memoryview]  # number, value of a number, bytes of anything else


class Unreadable(ValueError):
    """The bytes are no protocol buffer."""


def leads_out(model: bytes) -> bool:
    """Return whether some tensor of a model keeps its values in another file.

    Raises:
        Unreadable: these are no bytes of a model.

    Cost: some microseconds a node, and 10 ns a value of a list; what tensors hold is skipped.
    """
    return any(
        kind == "Tensor" and (number == _EXTERNAL or (number == _LOCATION and value != 0))
        for kind, number, value, _ in _walk(memoryview(model))
    )


def class_labels(model: bytes) -> list[int] | list[str]:
    """Return the labels of the first classifier in a model, in its order; nothing when no node names labels."""
    name = b""
    integers: list[int] = []
    texts: list[str] = []
    for kind, number, value, data in _walk(memoryview(model)):
        if kind != "Attribute":
            continue
        if number == _ATTRIBUTE_NAME:
            if integers or texts:
                break
            name = bytes(data)
        elif number == _INTEGERS and name in {b"classlabels_int64s", b"classlabels_ints"}:
            integers += _packed(data) if data else [_signed(value)]
        elif number == _TEXTS and name == b"classlabels_strings":
            texts.append(bytes(data).decode(errors="replace"))
    return integers or texts


def _walk(model: memoryview) -> Iterator[tuple[str, int, int, memoryview]]:
    """Yield every field of every part: its part's kind, its number, its value and its bytes.

    Left out are values of lists that are no labels of classes.
    """
    waiting = [("Model", model, 0)]
    while waiting:
        kind, data, depth = waiting.pop()
        if depth > _DEEPEST:
            raise Unreadable("its parts are nested too deeply")
        runs = None if kind == "Attribute" and _may_be_labels(data) else _RUNS.get(kind)
        for number, value, inner in _fields(data, runs):
            yield kind, number, value, inner
            part = _PARTS[kind].get(number)
            if part is not None:
                waiting.append((part, inner, depth + 1))


def _may_be_labels(attribute: memoryview) -> bool:
    """Return whether an attribute holds labels of classes, or does not begin with its name."""
    if len(attribute) < 2 or attribute[0] != _ATTRIBUTE_NAME << 3 | 2:
        return True
    return attribute[1] > 0x7F or bytes(attribute[2 : 2 + attribute[1]]) in _LABELS


def _fields(data: memoryview, runs: re.Pattern[bytes] | None) -> Iterator[Field]:
    """Yield the fields of a part.

    Args:
        data: its bytes.
        runs: fields that are passed over, as many as follow each other.
    """
    at, end = 0, len(data)
    empty = data[:0]
    while at < end:
        if runs is not None and (run := runs.match(data, at)) is not None:
            at = run.end()
            time.sleep(0)  # this runs beside requests that are answered, and an expression holds up all threads
            continue
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value, empty
            continue
        length = _FIXED.get(wire, 0)
        if wire == 2:
            length, at = _varint(data, at)
        elif not length:
            raise Unreadable("these are no bytes of an ONNX model")
        if at + length > end:
            raise Unreadable("the bytes of the ONNX model end early")
        yield number, 0, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise Unreadable("these are no bytes of an ONNX model")


def _packed(data: memoryview) -> list[int]:
    found, at = [], 0
    while at < len(data):
        value, at = _varint(data, at)
        found.append(_signed(value))
    return found


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value

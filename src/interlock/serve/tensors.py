"""Tensors of the Open Inference Protocol: JSON and binary, checked against their own datatype and shape."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.errors import Invalid
from interlock.serve.http import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interlock.core.bundles import Column
    from interlock.serve.columns import Value

Parameters = dict[str, str | int | float | bool]

_INTEGERS: Final = {f"{sign}INT{bits}": bits for sign in ("", "U") for bits in (8, 16, 32, 64)}
_FLOATS: Final = frozenset({"FP16", "FP32", "FP64"})
DATATYPES: Final = frozenset({*_INTEGERS, *_FLOATS, "BOOL", "BYTES"})
_NUMPY: Final = {
    **{name: f"<{'u' if name[0] == 'U' else 'i'}{bits // 8}" for name, bits in _INTEGERS.items()},
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
    "BOOL": "?",
}
_PLAIN: Final[dict[str, frozenset[type]]] = {
    **dict.fromkeys(_INTEGERS, frozenset({int})),
    **dict.fromkeys(_FLOATS, frozenset({int, float})),
    "BOOL": frozenset({bool}),
    "BYTES": frozenset({str}),
}
_any: Final = msgspec.json.Decoder(list[Any]).decode
# Readers that refuse every wrong value by themselves; a column refuses what does not fit into INT64.
_TYPED: Final[dict[str, Callable[[msgspec.Raw], list[Any]]]] = {
    "FP32": msgspec.json.Decoder(list[float]).decode,
    "FP64": msgspec.json.Decoder(list[float]).decode,
    "INT64": msgspec.json.Decoder(list[int]).decode,
    "BOOL": msgspec.json.Decoder(list[bool]).decode,
    "BYTES": msgspec.json.Decoder(list[str]).decode,
}
_OF_COLUMN: Final = {"integer": "INT64", "float": "FP64", "boolean": "BOOL", "string": "BYTES"}


class TensorIn(msgspec.Struct):
    """A tensor of a request."""

    name: str
    shape: list[int]
    datatype: str
    parameters: Parameters = {}
    data: msgspec.Raw = msgspec.Raw()  # it stays unread until the datatype is known


class TensorOut(msgspec.Struct, omit_defaults=True):
    """A tensor of an answer, or of a model's metadata."""

    name: str
    datatype: str
    shape: list[int]
    parameters: Parameters = {}
    data: list[Any] | msgspec.UnsetType = msgspec.UNSET


def of_column(column: Column) -> TensorOut:
    """Return how a model's metadata describe a column."""
    return TensorOut(column.name, _OF_COLUMN[column.type], [-1])


def values_of(tensor: TensorIn) -> list[Value]:
    """Return the elements of a JSON tensor, row by row; all are of one type.

    Raises:
        Invalid: datatype, shape and data do not fit together.
    """
    typed = _TYPED.get(tensor.datatype)
    if (
        typed is not None and len(tensor.shape) == 1 and type(tensor.data) is msgspec.Raw
    ):  # the usual case, without a look at each value
        try:
            values = typed(tensor.data)
        except UNREADABLE:
            pass
        else:
            if len(values) == tensor.shape[0]:
                return values
    return listed(tensor, _unread(tensor))


def listed(tensor: TensorIn, data: list[Any]) -> list[Value]:
    """Return the elements of a tensor, each looked at, so that the first wrong one can be named; all are of one type.

    Args:
        tensor: its name, datatype and shape.
        data: the elements, nested or flat.

    Raises:
        Invalid: datatype, shape and data do not fit together.
    """
    check(tensor)
    if data and isinstance(data[0], list):
        data = _flat(tensor.name, data, tensor.shape)
    if len(data) != math.prod(tensor.shape):
        count = f"{len(data)} element{'' if len(data) == 1 else 's'}"
        raise Invalid(f"Input {tensor.name!r} has {count}, its shape is {tensor.shape}.")
    if not _PLAIN[tensor.datatype].issuperset(map(type, data)):
        row = next(i for i, v in enumerate(data) if type(v) not in _PLAIN[tensor.datatype])
        raise Invalid(f"Input {tensor.name!r}: element {row} is no {tensor.datatype}.")
    if tensor.datatype in _INTEGERS:
        _check_range(tensor, data)
    return [float(value) for value in data] if tensor.datatype in _FLOATS else data


def _unread(tensor: TensorIn) -> list[Any]:
    """Return the data of a tensor, of whatever types they are."""
    check(tensor)
    if not bytes(tensor.data):
        raise Invalid(f"Input {tensor.name!r} has no data.", hint="Send `data`, or binary data with its size.")
    if tensor.datatype == "FP16":
        raise Invalid(f"Input {tensor.name!r}: FP16 cannot go as JSON.", hint="Send it binary, or as FP32.")
    try:
        return _any(tensor.data)
    except UNREADABLE:
        raise Invalid(f"Input {tensor.name!r}: its data is no list that is read here.") from None


def values_of_binary(tensor: TensorIn, raw: bytes) -> list[Value]:
    """Return the elements of a binary tensor: little-endian, row by row.

    Raises:
        Invalid: the bytes do not fit datatype and shape.
    """
    check(tensor)
    count = math.prod(tensor.shape)
    if tensor.datatype == "BYTES":
        return _read_texts(tensor.name, raw, count)
    import numpy as np

    dtype = np.dtype(_NUMPY[tensor.datatype])
    if len(raw) != count * dtype.itemsize:
        raise Invalid(f"Input {tensor.name!r} has {len(raw)} bytes, {count * dtype.itemsize} are wanted.")
    values: list[Value] = np.frombuffer(raw, dtype).tolist()
    return values


def check(tensor: TensorIn) -> None:
    """Accept a tensor whose datatype is known and whose shape is that of a column or of a table.

    Raises:
        Invalid: it is not.
    """
    if tensor.datatype not in DATATYPES:
        raise Invalid(
            f"Input {tensor.name!r} has a datatype that is not known.", hint=f"Known: {', '.join(sorted(DATATYPES))}."
        )
    shape = tensor.shape
    narrow = all(size == 1 for size in shape[1:])
    if not shape or any(size < 0 for size in shape) or len(shape) > 2 or (tensor.datatype == "BYTES" and not narrow):
        raise misshapen(tensor.name, shape)


def misshapen(name: str, shape: Sequence[int]) -> Invalid:
    """Return the error of a tensor that is no column."""
    return Invalid(
        f"Input {name!r} has the shape {[*shape[:8]]}.", hint="Each column is one input of shape [rows] or [rows, 1]."
    )


def to_binary(datatype: str, data: Sequence[Any]) -> bytes:
    """Return elements as binary data of the protocol."""
    if datatype == "BYTES":
        encoded = [text.encode() for text in data]
        return b"".join(struct.pack("<I", len(text)) + text for text in encoded)
    import numpy as np

    return np.asarray(data, dtype=_NUMPY[datatype]).tobytes()


def _flat(name: str, data: list[Any], shape: list[int]) -> list[Any]:
    if len(shape) != 2 or len(data) != shape[0] or any(not isinstance(r, list) or len(r) != shape[1] for r in data):
        raise Invalid(f"Input {name!r}: the nesting of the data is not that of the shape {shape}.")
    return [value for row in data for value in row]


def _check_range(tensor: TensorIn, data: Sequence[int]) -> None:
    bits = _INTEGERS[tensor.datatype]
    low, high = (0, 2**bits) if tensor.datatype[0] == "U" else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    if data and (min(data) < low or max(data) >= high):
        row = next(i for i, v in enumerate(data) if not low <= v < high)
        raise Invalid(f"Input {tensor.name!r}: element {row} does not fit into {tensor.datatype}.")


def _read_texts(name: str, raw: bytes, count: int) -> list[Value]:
    texts: list[Value] = []
    at = 0
    try:
        while at < len(raw) and len(texts) < count:
            (length,) = struct.unpack_from("<I", raw, at)
            at += 4
            if at + length > len(raw):
                break
            texts.append(raw[at : at + length].decode())
            at += length
    except (struct.error, UnicodeDecodeError):
        raise Invalid(f"Input {name!r}: the binary texts are cut short or not UTF-8.") from None
    if len(texts) != count or at != len(raw):
        raise Invalid(f"Input {name!r}: the binary texts do not fill the shape exactly.")
    return texts

"""Safetensors: a header of JSON that says where each tensor lies, then the tensors, without holes.

The format is described at huggingface.co/docs/safetensors; this reads the header only, never a tensor.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, Final

import msgspec

from interlock.registry.formats.verdict import Verdict, fail, json_of

LONGEST_HEADER: Final = 100_000_000
# Bits of one value; two four-bit values share a byte.
_BITS: Final = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64,
    "U64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


class _Tensor(msgspec.Struct, forbid_unknown_fields=True):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def begins(head: bytes, size: int) -> bool:
    """Return whether a file begins like safetensors."""
    if len(head) < 9 or head[8:9] != b"{":
        return False
    return 2 <= int(struct.unpack("<Q", head[:8])[0]) <= size - 8


def read(source: BinaryIO, size: int) -> Verdict:
    """Return the verdict on a file that begins like safetensors.

    Raises:
        Broken: its header does not describe its bytes.
    """
    source.seek(0)
    length = int(struct.unpack("<Q", source.read(8))[0])
    if length > LONGEST_HEADER:
        fail(f"its header has {length:,} bytes; {LONGEST_HEADER:,} are the most")
    what = "its header is no description of tensors"
    header = json_of(source.read(length), dict[str, msgspec.Raw], what)
    metadata = header.pop("__metadata__", None)
    if metadata is not None:
        json_of(bytes(metadata), dict[str, str], what)
    tensors = {name: json_of(bytes(raw), _Tensor, what) for name, raw in header.items()}
    _check(tensors, size - 8 - length)
    return Verdict("safetensors", f"safetensors: {len(tensors)} tensors, {size - 8 - length:,} bytes of values")


def _check(tensors: dict[str, _Tensor], values: int) -> None:
    """Accept tensors that cover the bytes behind the header, each exactly as large as its shape says."""
    place = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].data_offsets):
        begin, end = tensor.data_offsets
        if tensor.dtype not in _BITS:
            fail(f"tensor {name!r} has an unknown type {tensor.dtype!r}")
        if any(side < 0 for side in tensor.shape):
            fail(f"tensor {name!r} has a negative side")
        if begin != place or end < begin:
            fail(f"tensor {name!r} begins at {begin:,}; {place:,} is where the one before it ends")
        count = 1
        for side in tensor.shape:
            count *= side
        if count * _BITS[tensor.dtype] != (end - begin) * 8:
            fail(f"tensor {name!r} of shape {tensor.shape} has {end - begin:,} bytes")
        place = end
    if place != values:
        fail(f"the tensors end at {place:,}, the file at {values:,}")

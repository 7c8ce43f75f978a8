"""The pickle family: told by its opcodes, which are read and never run. What a file would import is named as text."""

from __future__ import annotations

import bz2
import contextlib
import io
import itertools
import lzma
import pickletools
import sys
import zlib
from typing import BinaryIO, Final

from interlock.registry.formats.verdict import Verdict

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_HEAD: Final = 1 << 16
_OPCODES: Final = 2000  # so many are read to say what a file would import
_ENOUGH: Final = 4  # so many sound opcodes in a row are no chance
_TEXTS: Final = frozenset({"SHORT_BINUNICODE", "BINUNICODE", "UNICODE", "BINUNICODE8"})
_OLD: Final = frozenset(b"c(]})}l.dtiIFSVNKMGJL")  # what pickles of protocol 0 and 1 begin with


def read(head: bytes, path_like: str = "") -> Verdict | None:
    """Return the verdict on a file that is a pickle, plain or compressed, or None when it is none.

    Args:
        head: the file's first bytes.
        path_like: what the pickle lies in, such as an archive's member, or "".
    """
    for how, data in (("", head), *expanded(head)):
        imports = _imports(data)
        if imports is not None:
            kind = f"{how}joblib" if any("joblib" in name for name in imports) else f"{how}pickle"
            where = f" in {path_like}" if path_like else ""
            told = f"; it would import {', '.join(imports[:3])}" if imports else ""
            return Verdict("opaque", f"opaque (pickle): a {kind}{where}; loading it would run code{told}")
    return None


def _imports(data: bytes) -> list[str] | None:
    """Return what a pickle imports at its beginning, by name, or None when the bytes are no pickle."""
    modern = len(data) >= 2 and data[0] == 0x80 and 2 <= data[1] <= 5
    if not modern and not (data[:1] and data[0] in _OLD):
        return None
    found: list[str] = []
    texts: list[str] = []
    count, stopped = 0, False
    with contextlib.suppress(Exception):  # cut off at the head's end, or followed by raw arrays as joblib writes them
        for opcode, argument, _ in itertools.islice(pickletools.genops(io.BytesIO(data)), _OPCODES):
            count += 1
            stopped = opcode.name == "STOP"
            if opcode.name in {"GLOBAL", "INST"}:
                found.append(str(argument).replace(" ", "."))
            elif opcode.name == "STACK_GLOBAL" and len(texts) >= 2:
                found.append(".".join(texts[-2:]))
            elif opcode.name in _TEXTS:
                texts = [*texts[-1:], str(argument)]
    named = list(dict.fromkeys(name[:120] for name in found))
    if modern:
        return named if count >= 2 else None
    # Plain text may be read as opcodes by chance; a pickle of protocol 0 or 1 ends properly, or imports something.
    return named if (stopped and count >= _ENOUGH) or (named and count >= _ENOUGH) else None


def expanded(head: bytes) -> list[tuple[str, bytes]]:
    """Return the first bytes of what a compressed file holds, in each way it may be compressed."""
    found = []
    if head[:2] in {b"x\x01", b"x\x5e", b"x\x9c", b"x\xda"}:
        found.append(("zlib-compressed ", _inflate(head, zlib.MAX_WBITS)))
    elif head[:2] == b"\x1f\x8b":
        found.append(("gzip-compressed ", _inflate(head, 16 + zlib.MAX_WBITS)))
    elif head[:3] == b"BZh":
        found.append(("bzip2-compressed ", _limited(bz2.BZ2Decompressor(), head)))
    elif head[:6] == b"\xfd7zXZ\x00" or head[:3] == b"\x5d\x00\x00":
        found.append(("lzma-compressed ", _limited(lzma.LZMADecompressor(), head)))
    elif head[:4] == b"\x28\xb5\x2f\xfd":
        found.append(("zstd-compressed ", _unzstd(head)))
    return [(how, data) for how, data in found if data]


def _unzstd(head: bytes) -> bytes:
    try:
        return bytes(zstd.ZstdDecompressor().decompress(head, _HEAD))
    except (zstd.ZstdError, EOFError, ValueError):
        return b""


def _inflate(head: bytes, window: int) -> bytes:
    try:
        return zlib.decompressobj(window).decompress(head, _HEAD)
    except zlib.error:
        return b""


def _limited(engine: bz2.BZ2Decompressor | lzma.LZMADecompressor, head: bytes) -> bytes:
    try:
        return engine.decompress(head, _HEAD)
    except (OSError, EOFError, lzma.LZMAError):
        return b""


def head_of(source: BinaryIO) -> bytes:
    """Return as many of a file's first bytes as are needed here."""
    source.seek(0)
    return source.read(_HEAD)

"""One look into a file: its first bytes say what it might be, the parser of that format says whether it is."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Final

from interlock.registry.formats import archives, lightgbm_text, onnx_graph, pickles, safetensors, xgboost_model
from interlock.registry.formats.verdict import MOST_BYTES, Broken, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

_TAR: Final[tuple[tuple[bytes, archives.Compression], ...]] = (
    (b"\x1f\x8b", "gz"),
    (b"BZ", "bz2"),
    (b"\xfd7", "xz"),
    (b"\x5d\x00\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zst"),
)
# Archives that nothing here looks into; they are bytes as others are.
_OTHERS: Final = {
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "rar",
    b"070701": "cpio",
    b"!<arch>\n": "ar",
    b"\x1f\x9d": "compress",
    b"LZIP": "lzip",
    b"\x04\x22\x4d\x18": "lz4",
}


def look_into(source: BinaryIO, size: int, path: str) -> Verdict:
    """Return what a file is.

    Args:
        source: the file, which can seek.
        size: how many bytes it has.
        path: what it is called, for messages only.

    Raises:
        Invalid: it is an archive with a member that leads out of its folder, or that is a link.
    """
    head = pickles.head_of(source)
    if not archives.is_zip(head):
        archives.check_appended(source, path)
    named, parser = _parser(source, head, size, path)
    if parser is None:
        return pickles.read(head) or Verdict("opaque", _plain(head, size))
    try:
        return parser()
    except Broken as error:
        return Verdict("opaque", f"it begins like {named}, but {error}")


def _parser(source: BinaryIO, head: bytes, size: int, path: str) -> tuple[str, Callable[[], Verdict] | None]:
    """Return the format that a file may have, and who looks through it."""
    if archives.is_zip(head):
        return "a zip archive", lambda: archives.read_zip(source, path)
    if archives.is_tar(head):
        return "a tar archive", lambda: archives.read_tar(source, path)
    if lightgbm_text.begins(head):
        return "a model of LightGBM", lambda: lightgbm_text.read(source, size)
    if xgboost_model.begins(head):
        return "a model of XGBoost", lambda: xgboost_model.read(source, size)
    if safetensors.begins(head, size):
        return "safetensors", lambda: safetensors.read(source, size)
    for magic, how in _TAR:
        if head.startswith(magic) and any(archives.is_tar(inner) for _, inner in pickles.expanded(head)):
            return "a compressed tar archive", partial(archives.read_tar, source, path, how)
    if head[:1] == b"\x08" and size <= MOST_BYTES:
        source.seek(0)
        if onnx_graph.begins(source.read()):
            return "ONNX", lambda: onnx_graph.read(source, size)
    return "", None


def _plain(head: bytes, size: int) -> str:
    if not size:
        return "an empty file"
    if head.startswith(b"\x93NUMPY"):
        return "an array of NumPy"
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "an HDF5 file, which may hold code"
    if head.startswith(b"GGUF"):
        return "GGUF weights"
    if head.startswith(b"PAR1"):
        return "a Parquet table"
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            return f"packed as {name}, which is not looked into"
    return "of no format that is known here"

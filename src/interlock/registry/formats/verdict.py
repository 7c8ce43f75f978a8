"""What a look into a file ends with."""

from __future__ import annotations

from typing import BinaryIO, Final, Literal, NoReturn, TypeVar

import msgspec

from interlock.core.errors import Invalid

T = TypeVar("T")
Kind = Literal["onnx", "safetensors", "skops", "xgboost", "lightgbm", "opaque"]
# Formats that are parsed as a whole are held in memory for it.
MOST_BYTES: Final = 1 << 30


class Verdict(msgspec.Struct, frozen=True):
    """What a file is.

    Attributes:
        kind: a format that can be loaded without running code that came with it, or `opaque`.
        reason: how that was found; of an opaque file, why it is not loaded.
        features: the names of the columns that the model takes, where the file says them.
    """

    kind: Kind
    reason: str
    features: tuple[str, ...] = ()


class Broken(ValueError):
    """A file begins like a format and does not go on like it; the message says where."""


def fail(why: str) -> NoReturn:
    """Say that a file is not what it begins like.

    Raises:
        Broken: always.
    """
    raise Broken(why)


def refuse(why: str, path: str) -> NoReturn:
    """Refuse a file altogether.

    Raises:
        Invalid: always.
    """
    raise Invalid(
        f"{path}: {why}.",
        about="file",
        hint="Nothing was registered. Pack the archive again, with plain relative paths and without links.",
        file=path,
    )


def json_of(data: bytes, kind: type[T], what: str) -> T:
    """Return the value of some JSON.

    Raises:
        Broken: it is none, or of another type; `what` names it.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        fail(f"{what}: {error}")


def read_all(source: BinaryIO, size: int) -> bytes:
    """Return all bytes of a file.

    Raises:
        Broken: it has more than are held in memory here.
    """
    if size > MOST_BYTES:
        fail(f"it has {size:,} bytes, more than the {MOST_BYTES:,} that are looked through as a whole")
    source.seek(0)
    return source.read()

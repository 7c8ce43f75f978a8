"""Values of steps as bytes: a small tree of JSON, with frames, arrays and whatever is large as objects.

    1, "a", true, null, [..]     themselves              {"frame": D}    Polars, as Parquet
    {"float": "nan"}             what JSON lacks         {"pandas": [D, dtypes]}
    {"dict": [[key, value]..]}   order kept              {"array": D}    NumPy, as .npy
    {"tuple": ..} {"set": ..}                            {"record": [class, [[field, value]..]]}
    {"bytes": D} {"path": text} {"enum": [class, name]}  {"pickle": D}   everything else, see `private`

D is the digest of an object, or `=` and base64 where the bytes are few. Equal content has equal bytes, so a value's
digest is that of its tree. A tree is loaded only with the seal of this workspace: records and pickles name code.
"""

from __future__ import annotations

import enum
import hashlib
import json
import re
from pathlib import PurePath
from types import FunctionType
from typing import TYPE_CHECKING, Any

import msgspec

from interlock.core.errors import Denied, Invalid
from interlock.train.decoder import Decoder
from interlock.train.encoder import PLAIN, Encoder
from interlock.train.fields import build, fields_of
from interlock.train.frames import library
from interlock.train.handles import Handles
from interlock.train.private import Seal, dump, undump

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from interlock.core.ports import ObjectStore


_PARTS = re.compile(rb'"(?:frame|series|pandas|array|bytes|pickle)":\[?"([0-9a-f]{64})"')


class Kept(msgspec.Struct, frozen=True):
    """A stored value: its tree, and the seal of the workspace that wrote it.

    Attributes:
        tree: the tree's bytes; their SHA-256 is the value's digest.
        seal: the workspace's seal over them.
        portable: whether it holds everything itself; a path does not.
    """

    tree: bytes
    seal: str
    portable: bool = True

    @property
    def digest(self) -> str:
        """The digest of the value."""
        return hashlib.sha256(self.tree).hexdigest()


class Encoded(msgspec.Struct, frozen=True):
    """A value written for its digest: the tree, the code that its meaning depends on, and the files it names."""

    tree: bytes
    code: list[object]
    files: list[PurePath]

    @property
    def digest(self) -> str:
        """The digest of the value."""
        return hashlib.sha256(self.tree).hexdigest()


class Values:
    """Writes and reads the values of steps.

    Args:
        objects: where large parts go.
        key: the file with the workspace's key for seals.
    """

    def __init__(self, objects: ObjectStore, key: Path) -> None:
        self.objects = objects
        self.seal = Seal(key)
        self.handles = Handles()

    def digest(self, value: object) -> Encoded:
        """Return a value's tree without storing anything.

        Raises:
            Invalid: it cannot be written, so it has no digest.
        """
        return self._encode(value, lambda data: hashlib.sha256(data).hexdigest(), storing=False)

    def store(self, value: object) -> Kept:
        """Return a value's tree; its parts are on disk when this returns.

        Raises:
            Invalid: it cannot be kept.
        """
        done = self._encode(value, self.objects.put, storing=True)
        return Kept(done.tree, self.seal.of(done.tree), not done.files)

    def adopt(self, tree: bytes, *, portable: bool) -> Kept:
        """Return the sealed value of a tree that a worker of this run has just written."""
        return Kept(tree, self.seal.of(tree), portable)

    def load(self, kept: Kept) -> Any:
        """Return a stored value.

        Raises:
            Denied: this workspace did not write it.
            NotFound: a part of it is no longer stored.
            Corrupt: a part of it has changed on disk.
        """
        if not self.seal.holds(kept.tree, kept.seal):
            raise Denied(
                "A stored value does not carry this workspace's seal, so it is not opened.",
                about="value",
                hint="Run the step again; its value is then stored anew.",
            )
        return Decoder(self.handles, self.objects.get).value(json.loads(kept.tree))

    def is_here(self, kept: Kept) -> bool:
        """Return whether a stored value can be loaded: its seal is ours and all its parts are stored."""
        parts = _PARTS.findall(kept.tree)
        return self.seal.holds(kept.tree, kept.seal) and all(
            self.objects.size(part.decode()) is not None for part in parts
        )

    def copy(self, value: Any) -> Any:
        """Return a value that its receiver may change without changing this one; what cannot be copied is itself."""
        return _copy(value)

    def _encode(self, value: object, sink: Callable[[bytes], str], *, storing: bool) -> Encoded:
        encoder = Encoder(self.handles, sink, storing=storing)
        try:
            text = json.dumps(encoder.node(value), separators=(",", ":"), allow_nan=False)
        except RecursionError:
            raise Invalid("A value that holds itself cannot be kept.", about="value") from None
        return Encoded(text.encode(), encoder.code, encoder.files)


def _copy(value: Any) -> Any:
    kind = type(value)
    if kind in PLAIN or kind in {float, bytes} or isinstance(value, FunctionType | type | PurePath | enum.Enum):
        return value
    if kind is list:
        return [_copy(item) for item in value]
    if kind is tuple:
        return tuple(_copy(item) for item in value)
    if kind is dict:
        return {_copy(key): _copy(item) for key, item in value.items()}
    origin = library(value)
    if origin == "polars" and hasattr(value, "clone"):
        return value.clone()
    if origin == "pandas" and hasattr(value, "copy"):
        return value.copy(deep=True)
    if origin == "numpy" and hasattr(value, "copy"):
        return value.copy()
    fields = fields_of(value)
    if fields is not None:
        return build(kind, [(name, _copy(getattr(value, name))) for name in fields])
    try:
        return undump(dump(value)[0])
    except Invalid:
        return value  # a lock, a connection: there is one of it

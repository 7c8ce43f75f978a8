"""From a value to its tree (the forms are listed in `values`)."""

from __future__ import annotations

import base64
import enum
import json
import math
from pathlib import PurePath
from types import FunctionType
from typing import TYPE_CHECKING, Any

from interlock.core.errors import Invalid
from interlock.train import leaves
from interlock.train.fields import fields_of, name_of
from interlock.train.frames import library
from interlock.train.handles import Handles, frame_probe, pickle_probe
from interlock.train.private import dump

if TYPE_CHECKING:
    from collections.abc import Callable

Node = Any
INLINE_BYTES = 4096
PLAIN = frozenset({bool, int, str, type(None)})
_HUGE = 1 << 1000
_CODE_MARKS = (b'{"pickle":', b'{"record":', b'{"enum":', b'{"function":', b'{"class":')


class Encoder:
    """Turns one value into a tree.

    Args:
        handles: which values are stored already.
        sink: takes the bytes of a large part and returns their digest.
        storing: whether the tree shall be loaded again; one for a digest may also name functions, classes and enums.
    """

    def __init__(self, handles: Handles, sink: Callable[[bytes], str], *, storing: bool) -> None:
        self.code: list[object] = []
        self.files: list[PurePath] = []
        self._handles = handles
        self._sink = sink
        self._storing = storing

    def node(self, value: Any) -> Node:
        """Return the tree of a value.

        Raises:
            Invalid: it has no form that could be kept.
        """
        kind = type(value)
        if kind in PLAIN:
            return self._pickled(value) if kind is int and abs(value) >= _HUGE else value
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if kind is list:
            return value if is_flat(value) else [self.node(item) for item in value]
        if kind is tuple:
            return {"tuple": [self.node(item) for item in value]}
        if kind is dict:
            return {"dict": [[self.node(key), self.node(item)] for key, item in value.items()]}
        if kind in {set, frozenset}:
            return {kind.__name__: sorted((self.node(item) for item in value), key=json.dumps)}
        if kind is bytes:
            return {"bytes": self._blob(value)}
        return self._special(value)

    def _special(self, value: Any) -> Node:
        origin = library(value)
        if origin == "polars":
            return self._polars(value)
        if origin == "pandas" and hasattr(value, "dtypes") and hasattr(value, "columns") and leaves.is_simple(value):
            data, kinds = leaves.pandas_bytes(value)
            return {"pandas": [self._blob(data), kinds]}
        if origin == "numpy" and type(value).__name__ == "ndarray" and not value.dtype.hasobject:
            return {"array": self._blob(leaves.array_bytes(value))}
        if isinstance(value, PurePath):
            self.files.append(value)
            return {"path": str(value)}
        if isinstance(value, enum.Enum) and not self._storing:
            self.code.append(type(value))
            return {"enum": [name_of(type(value)), value.name]}
        if isinstance(value, FunctionType | type) and not self._storing:
            self.code.append(value)
            return {"class" if isinstance(value, type) else "function": name_of(value)}
        fields = fields_of(value)
        if fields is not None:
            self.code.append(type(value))
            return {"record": [name_of(type(value)), [[name, self.node(getattr(value, name))] for name in fields]]}
        return self._pickled(value)

    def _polars(self, value: Any) -> Node:
        import polars as pl

        if isinstance(value, pl.LazyFrame):
            raise Invalid("A LazyFrame is a plan, not data.", about="value", hint="Collect it first.")
        if isinstance(value, pl.Series):
            return {"series": self._blob(leaves.frame_bytes(value.to_frame()))}
        if type(value) is not pl.DataFrame:
            return self._pickled(value)
        node = self._handles.find(value)
        if node is None:
            node = {"frame": self._blob(leaves.frame_bytes(value))}
            if self._storing:
                self._handles.remember(value, node, frame_probe(value))
        return node

    def _pickled(self, value: Any) -> Node:
        data, code = dump(value, loose=not self._storing)
        self.code.extend(code)
        node = self._handles.find(value, data)
        if node is None:
            node = {"pickle": self._blob(data)}
            if self._storing:
                self._handles.remember(value, node, pickle_probe(data))
        return node

    def _blob(self, data: bytes) -> str:
        if len(data) <= INLINE_BYTES:
            return "=" + base64.b64encode(data).decode()
        return self._sink(data)


def is_flat(items: list[Any]) -> bool:
    """Return whether a list holds nothing but values that JSON keeps exactly."""
    kinds = set(map(type, items))
    if not kinds <= PLAIN | {float}:
        return False
    if float in kinds and not all(math.isfinite(item) for item in items if type(item) is float):
        return False
    return int not in kinds or all(abs(item) < _HUGE for item in items if type(item) is int)


def holds_code(tree: bytes) -> bool:
    """Return whether a tree may refer to classes or functions, so that its bytes alone do not say what it means."""
    return any(mark in tree for mark in _CODE_MARKS)

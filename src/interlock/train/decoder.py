"""From a tree to its value (the forms are listed in `values`)."""

from __future__ import annotations

import base64
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock.core.errors import Invalid
from interlock.train import leaves
from interlock.train.encoder import is_flat
from interlock.train.fields import build, find
from interlock.train.handles import Handles, frame_probe, pickle_probe
from interlock.train.private import dump, undump

if TYPE_CHECKING:
    from collections.abc import Callable

Node = Any


class Decoder:
    """Turns trees into values. The caller has checked the seal.

    Args:
        handles: where the values are remembered as stored.
        source: returns the bytes of an object.
    """

    def __init__(self, handles: Handles, source: Callable[[str], bytes]) -> None:
        self._handles = handles
        self._source = source

    def value(self, node: Node) -> Any:
        """Return the value of a tree."""
        if type(node) is list:
            return node if is_flat(node) else [self.value(item) for item in node]
        if type(node) is not dict:
            return node
        ((tag, body),) = node.items()
        if tag == "dict":
            return {self.value(key): self.value(item) for key, item in body}
        if tag == "tuple":
            return tuple(map(self.value, body))
        if tag in {"set", "frozenset"}:
            return (set if tag == "set" else frozenset)(map(self.value, body))
        return self._leaf(tag, body, node)

    def _leaf(self, tag: str, body: Any, node: Node) -> Any:
        if tag == "float":
            return float(body)
        if tag == "bytes":
            return self._bytes(body)
        if tag == "path":
            return Path(body)
        if tag == "frame":
            frame = leaves.frame_from(self._bytes(body))
            self._handles.remember(frame, node, frame_probe(frame))
            return frame
        if tag == "series":
            return leaves.frame_from(self._bytes(body)).to_series()
        if tag == "pandas":
            return leaves.pandas_from(self._bytes(body[0]), body[1])
        if tag == "array":
            return leaves.array_from(self._bytes(body))
        if tag == "record":
            return build(find(body[0]), [(name, self.value(item)) for name, item in body[1]])
        value = undump(self._bytes(body))
        with contextlib.suppress(Invalid):
            # Pickles of a value and of its copy may differ, so it is compared with its own from now on.
            self._handles.remember(value, node, pickle_probe(dump(value, loose=True)[0]))
        return value

    def _bytes(self, body: str) -> bytes:
        return base64.b64decode(body[1:]) if body.startswith("=") else self._source(body)

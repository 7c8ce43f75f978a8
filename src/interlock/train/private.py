"""What only this workspace's training may do: seal what it wrote, and pickle what has no other form.

Why pickles at all: steps hand each other estimators of any library, and only pickle keeps all of them. Why it is safe
here: they are a private cache. What is loaded must carry a seal (HMAC-SHA256) made with a key file that never
leaves the workspace, so a pickle from a client, another workspace or an edited database is never opened. The server
never loads one: values are loaded by training processes only, and what is served is made by the registry's flavors.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import os
import pickle
import secrets
import sys
from pathlib import Path  # noqa: TC003 - an attribute
from types import FunctionType
from typing import Any

from interlock.core.errors import Denied, Invalid

_SIZE = 32
# Functions that a library has pickled on its own, such as those in Polars expressions, hide the code that they use.
_BURIED = (b"PLPYFN", b"cloudpickle")


class Seal:
    """Marks bytes as written by this workspace, and recognises them.

    Args:
        path: the key file, readable by its owner alone; it is made when it is missing.

    Raises:
        Denied: others may read the key file.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            _make_key(path)
        if path.stat().st_mode & 0o077:
            raise Denied(
                f"{path.name} can be read by others, so its seals prove nothing.",
                about="key",
                hint=f"Delete it (cached results are then computed anew) or run: chmod 600 {path.name}",
            )
        self._key = path.read_bytes()
        if len(self._key) != _SIZE:
            raise Denied(f"{path.name} is no key.", about="key", hint="Delete it; a new one is made.")

    def of(self, data: bytes) -> str:
        """Return the seal of bytes."""
        return hmac.new(self._key, b"interlock value 1\n" + data, hashlib.sha256).hexdigest()

    def holds(self, data: bytes, seal: str) -> bool:
        """Return whether this workspace made the seal, for exactly these bytes."""
        return hmac.compare_digest(self.of(data), seal)


def _make_key(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_bytes(_SIZE))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)  # of two processes that do this at once, one wins and both agree
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


class _Noting(pickle.Pickler):
    """A pickler that notes which functions and classes a value refers to, because a pickle holds their names only.

    Args:
        file: where the bytes go.
        loose: write a stand-in for functions that have no importable name; such bytes are good for a digest only.
    """

    def __init__(self, file: io.BytesIO, *, loose: bool) -> None:
        super().__init__(file, protocol=5)
        self.code: dict[int, object] = {}
        self._loose = loose

    def reducer_override(self, value: Any) -> Any:
        """Note functions and classes; leave the pickling to pickle."""
        if isinstance(value, FunctionType | type):
            self.code[id(value)] = value
            if self._loose and not _is_found_by_name(value):
                place = list(self.code).index(id(value))
                return str, (f"code {place}: {value.__module__}.{value.__qualname__}",)
        return NotImplemented


def _is_found_by_name(value: Any) -> bool:
    found: Any = sys.modules.get(value.__module__)
    for part in value.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is value


def dump(value: object, *, loose: bool = False) -> tuple[bytes, list[object]]:
    """Return a value's pickle, and the functions and classes that it refers to.

    Args:
        value: anything.
        loose: accept lambdas and local functions; the bytes are then good for a digest only.

    Raises:
        Invalid: it cannot be pickled.
    """
    file = io.BytesIO()
    pickler = _Noting(file, loose=loose)
    try:
        pickler.dump(value)
    except Exception as error:  # noqa: BLE001 - other people's __reduce__ may raise anything
        raise Invalid(
            f"A {type(value).__module__}.{type(value).__qualname__} cannot be kept: {error}.",
            about="value",
            hint="Return plain data, frames, arrays or fitted estimators from a step.",
        ) from None
    data = file.getvalue()
    if loose and any(mark in data for mark in _BURIED):
        raise Invalid(
            f"A {type(value).__module__}.{type(value).__qualname__} holds a Python function that cannot be followed.",
            about="value",
            hint="Build the expression inside the step.",
        )
    return data, list(pickler.code.values())


def undump(data: bytes) -> Any:
    """Return the value of a pickle. The caller has checked the seal, or has made the pickle itself just now."""
    return pickle.loads(data)  # noqa: S301 - sealed by this workspace, see the module's docstring

"""Which versions run here: ours, Python's, and those of the libraries that compute the answers."""

from __future__ import annotations

import functools
import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed


@functools.cache
def version() -> str:
    """Return Interlock's version, `0` when it runs from a source folder."""
    return release_of("interlock") or "0"


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of everything that an answer depends on."""
    names = ("onnxruntime", "numpy", "msgspec", "uvicorn")
    found = {"interlock": version(), "python": platform.python_version(), **{name: release_of(name) for name in names}}
    return {**found, "machine": platform.machine(), "system": platform.platform()}


def release_of(name: str) -> str:
    """Return the version of a package that is installed here, "" of one that is not."""
    try:
        return installed(name)
    except PackageNotFoundError:
        return ""

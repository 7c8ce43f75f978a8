"""Patches libraries when a script imports them, or at once when it has; none is imported for that."""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_patches: dict[str, list[Callable[[Any], None]]] = {}


def when_imported(name: str, patch: Callable[[Any], None]) -> None:
    """Call a function with a module once it is loaded; the same function again is nothing new."""
    wanted = _patches.setdefault(name, [])
    if patch in wanted:
        return
    wanted.append(patch)
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    if name in sys.modules:
        _apply(patch, sys.modules[name])


def _apply(patch: Callable[[Any], None], module: Any) -> None:
    try:
        patch(module)
    except Exception as error:  # noqa: BLE001 - the border: the script's import must not fail for us
        from interlock.sdk.recording.outbox import warn

        warn(f"{module.__name__} is not watched: {error!r}")


class _Finder(importlib.abc.MetaPathFinder):
    """Finds nothing by itself: it lets the others find our libraries, and patches what they load."""

    def __init__(self) -> None:
        self._asking: set[str] = set()

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the finders that are asked get it from the parent package
        target: ModuleType | None = None,  # noqa: ARG002 - as above
    ) -> ModuleSpec | None:
        """Return the spec of a library that is to be patched, and None for all others."""
        if fullname not in _patches or fullname in self._asking:
            return None
        self._asking.add(fullname)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._asking.discard(fullname)
        if spec is None or spec.loader is None or not hasattr(spec.loader, "exec_module"):
            return None
        spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    """Loads with another loader, and patches then."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Return the other loader's module."""
        found: ModuleType | None = self._loader.create_module(spec)
        return found

    def exec_module(self, module: ModuleType) -> None:
        """Load, give the module its own loader back, and patch."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        for patch in tuple(_patches[module.__name__]):
            _apply(patch, module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

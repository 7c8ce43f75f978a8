"""Records: values that are no more than their fields, so that the fields can be written one by one."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import msgspec

_HOOKS = ("__reduce_ex__", "__reduce__", "__getstate__")


def fields_of(value: Any) -> tuple[str, ...] | None:
    """Return the names of all that a plain record holds, or None when it is no plain record."""
    kind = type(value)
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    if isinstance(value, tuple) and hasattr(kind, "_fields") and kind.__bases__ == (tuple,):
        return tuple(kind._fields)
    known = getattr(kind, "__dataclass_fields__", None)
    if known is None or isinstance(value, type) or "__slots__" in vars(kind):
        return None
    custom = any(getattr(kind, name) is not getattr(object, name) for name in _HOOKS)
    return None if custom or set(vars(value)) != set(known) else tuple(known)


def build(kind: Any, items: list[tuple[str, Any]]) -> Any:
    """Return a record of a class with these fields; a dataclass's `__post_init__` has run when it was first made."""
    if issubclass(kind, msgspec.Struct):
        return kind(**dict(items))
    if issubclass(kind, tuple):
        return tuple.__new__(kind, [item for _, item in items])
    value = object.__new__(kind)
    value.__dict__.update(items)
    return value


def name_of(thing: Any) -> str:
    """Return where a class or function is found: `module:path`."""
    return f"{thing.__module__}:{thing.__qualname__}"


def find(name: str) -> Any:
    """Return what `name_of` named."""
    module, _, path = name.partition(":")
    found: Any = import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found

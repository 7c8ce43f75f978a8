"""What of a class belongs to its digest: what its author wrote, not what Python and its helpers put beside it."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

# Python and its helpers put these into classes; they say nothing that other parts do not say.
_NOISE = re.compile(
    r"__(module|doc|dict|weakref|qualname|firstlineno|static_attributes|abstractmethods|match_args|parameters"
    r"|orig_bases|slots|hash|slotnames|subclasshook|protocol_attrs|non_callable_proto_members)__"
    r"|__(dataclass|annot|struct)_?\w*__|_abc_impl|_is_protocol|_is_runtime_protocol|_fields|_field_defaults"
)
_ENUM_NOISE = re.compile(
    r"_(member_names|member_map|value2member_map|unhashable_values\w*|hashable_values|member_type|value_repr"
    r"|use_args|new_member|generate_next_value)_|__new__|__new_member__"
)
_GENERATORS = ("__dataclass_fields__", "_fields")


def members(kind: type) -> dict[str, Any]:
    """Return the members of a class that count, sorted by name; an enumeration's are its values."""
    known = vars(kind)
    values = known.get("_member_map_")
    if not isinstance(values, dict):
        return {name: member for name, member in sorted(known.items()) if not _NOISE.fullmatch(name)}
    own = {
        name: member
        for name, member in known.items()
        if name not in values and not _NOISE.fullmatch(name) and not _ENUM_NOISE.fullmatch(name)
    }
    return dict(sorted({**own, **{name: member.value for name, member in values.items()}}.items()))


def writes_methods(kind: type) -> bool:
    """Return whether the class is of a sort that gets methods made from its fields."""
    return any(mark in vars(kind) for mark in _GENERATORS)


def shape(kind: type) -> list[str]:
    """Return lines that say what a class is, without its members: bases, metaclass, annotations."""
    bases = [f"{base.__module__}.{base.__qualname__}" for base in (type(kind), *kind.__bases__)]
    return bases + [f"{name}: {hint}" for name, hint in sorted(_annotations(kind).items())]


def _annotations(kind: type) -> dict[str, str]:
    try:
        found = inspect.get_annotations(kind)
    except NameError:  # a name that is defined later
        return {}
    return {key: hint if isinstance(hint, str) else repr(hint) for key, hint in found.items()}


def field_defaults(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield what fields of dataclasses and Structs hold when nothing is given: values, and functions that make them."""
    for name, item in vars(kind).get("__dataclass_fields__", {}).items():
        for default in (item.default, item.default_factory):
            if default is not dataclasses.MISSING:
                yield name, default
    if issubclass(kind, msgspec.Struct):
        for info in msgspec.structs.fields(kind):
            for default in (info.default, info.default_factory):
                if default is not msgspec.NODEFAULT:
                    yield info.name, default
    yield from vars(kind).get("_field_defaults", {}).items()

"""Type hints as the contract of steps: a wrong value is refused where it is given, with the name of the step."""

from __future__ import annotations

import types
import typing
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from interlock.core.errors import Invalid
from interlock.train.frames import library
from interlock.train.loader import hint_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.train.steps import Step

_NUMBERS = frozenset({bool, int, float, complex})
_WIDER: dict[type, tuple[type, ...]] = {float: (float, int), complex: (complex, float, int)}


def check_inputs(step: Step[..., Any], inputs: Mapping[str, Any]) -> None:
    """Accept a step's arguments when they are what its hints say.

    Raises:
        Invalid: one is of another type.
    """
    for name, value in inputs.items():
        _check(step, name, value, f"argument {name!r}")


def check_output(step: Step[..., Any], value: Any) -> None:
    """Accept a step's value when it is what its hint says.

    Raises:
        Invalid: it is of another type.
    """
    _check(step, "return", value, "its value")


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value may be of a type; hints that cannot be checked at run time accept everything."""
    if hint is Any:
        return True
    if hint is None or hint is type(None):
        return value is None
    if isinstance(hint, type):
        if hint in _NUMBERS and library(value) == "numpy" and hasattr(value, "item") and not getattr(value, "ndim", 1):
            value = value.item()
        return bool(getattr(hint, "_is_protocol", False)) or isinstance(value, _WIDER.get(hint, hint))
    origin = typing.get_origin(hint)
    if origin in {typing.Union, types.UnionType}:
        return any(fits(value, choice) for choice in typing.get_args(hint))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if origin is typing.Annotated:
        return fits(value, typing.get_args(hint)[0])
    if origin is tuple and isinstance(value, tuple):
        kinds = typing.get_args(hint)
        if kinds and kinds[-1] is not ...:
            return len(kinds) == len(value) and all(map(fits, value, kinds))
        return True
    return isinstance(value, origin) if isinstance(origin, type) else True


@lru_cache(maxsize=1024)
def _hint(function: Any, name: str) -> Any:
    return hint_of(function, name)


def _check(step: Step[..., Any], name: str, value: Any, what: str) -> None:
    hint = _hint(step.function, name)
    if not fits(value, hint):
        wanted = hint.__name__ if isinstance(hint, type) else str(hint)
        raise Invalid(
            f"Step {step.name} wants {wanted} for {what} and got {type(value).__name__}.",
            about="step",
            hint="Mend the call or the type hint.",
            step=step.name,
        )

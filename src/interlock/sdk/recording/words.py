"""What callers give, as runs keep it: params and tags as text, numbers as floats, files under safe paths."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from interlock.core.errors import Invalid
from interlock.core.refs import is_safe_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def texts(values: Mapping[str, Any], about: str) -> dict[str, str]:
    """Return values as text by name; a table's go by `outer.inner`.

    Raises:
        Invalid: a name is empty or no text.
    """
    return dict(_flat(values, about, ""))


def _flat(values: Mapping[Any, Any], about: str, before: str) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if not isinstance(name, str) or not name.strip():
            raise Invalid(f"{name!r} cannot name a {about}.", about=about, hint="Names are texts that are not empty.")
        if isinstance(value, dict) and value and all(isinstance(key, str) for key in value):
            yield from _flat(value, about, f"{before}{name}.")
        else:
            yield before + name, text(value)


def text(value: Any) -> str:
    """Return a value as people and searches read it: numbers plainly, lists as JSON, classes and functions by name."""
    if isinstance(value, str):
        return clean(value)
    if hasattr(value, "item") and getattr(value, "size", 1) == 1:  # NumPy's numbers
        value = value.item()
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, list | tuple | set | frozenset):
        try:
            return msgspec.json.encode(value, order="deterministic").decode()
        except (TypeError, ValueError):
            return repr(value)
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return str(value.__qualname__)
    return clean(str(value))


def clean(told: str) -> str:
    """Return a text that can be sent: half letters, which come of undecodable bytes, are written as escapes."""
    return told if told.isascii() else told.encode("utf-8", "backslashreplace").decode()


def numbers(values: Mapping[Any, Any]) -> dict[str, float]:
    """Return the values of metrics as floats.

    Raises:
        Invalid: a name is empty or no text, or a value is no number.
    """
    found = {}
    for name, value in values.items():
        if not isinstance(name, str) or not name.strip():
            raise Invalid(f"{name!r} cannot name a metric.", about="metric", hint="Names are texts that are not empty.")
        try:
            found[name] = float("" if isinstance(value, str | bytes) else value)
        except (TypeError, ValueError, OverflowError):
            hint = "Give a number; texts are params or tags."
            raise Invalid(
                f"Metric {name!r} got {value!r:.80}, which is no number.", about="metric", hint=hint
            ) from None
    return found


def whole(step: Any) -> int:
    """Return a step as an int.

    Raises:
        Invalid: it is no whole number.
    """
    try:
        found = int(step)
        if found == step and not isinstance(step, str):
            return found
    except (TypeError, ValueError, OverflowError):
        pass
    raise Invalid(f"{step!r} is no step.", about="metric", hint="Steps are whole numbers.")


def path(name: Any) -> str:
    """Return where a file lies in a run.

    Raises:
        Invalid: the path would leave the run's folder.
    """
    if isinstance(name, str) and is_safe_path(name):
        return name
    raise Invalid(f"{name!r} is no path inside a run.", about="artifact", hint="Use a path like plots/roc.svg.")

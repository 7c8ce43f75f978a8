"""What callers have to send otherwise after a change of routes: columns that come, go or change their type."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from interlock.core.errors import Error, Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interlock.core.bundles import Route
    from interlock.registry.service import RegistryService

_SHOWN: Final = 8
# Who wrote a version down says its types in words of their own: ours, Polars', NumPy's or MLflow's.
_SAME: Final = {
    "double": "float",
    "decimal": "float",
    "int": "integer",
    "uint": "integer",
    "long": "integer",
    "bool": "boolean",
    "str": "string",
    "utf": "string",
    "object": "string",
    "categorical": "string",
    "category": "string",
    "enum": "string",
}


def told_changes(registry: RegistryService, before: Sequence[Route], after: Sequence[Route]) -> tuple[Finding, ...]:
    """Return what new routes take otherwise than the champion before them; none for the same.

    Of a route that stood before nothing is told again; of a challenger that becomes the champion, it is.

    Args:
        registry: says which columns a version takes.
        before: the routes that answer now.
        after: those that shall.
    """
    held = next((route.model for route in before if route.role == "champion"), "")
    known = {(route.model, route.role) for route in before}
    told = []
    for route in after if held else ():
        if route.model == held or (route.model, route.role) in known:
            continue
        try:
            changes = column_changes(_columns(registry, held), _columns(registry, route.model))
        except Error as error:
            why = error.message.rstrip(".")
            told.append(
                Finding("columns_unknown", f"The columns of {held} and {route.model} cannot be compared: {why}.")
            )
            continue
        if changes:
            more = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
            what = ", ".join(changes[:_SHOWN])
            told.append(Finding("columns", f"{route.model} takes other columns than {held}: {what}{more}."))
    return tuple(told)


def column_changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Return the differences of two sets of columns; nothing where one is not known.

    Args:
        old: types by column, "" where a type is not known.
        new: the same.
    """
    if not old or not new:
        return []
    changes = [f"{name} comes ({kind or 'any type'})" for name, kind in new.items() if name not in old]
    changes += [f"{name} goes" for name in old if name not in new]
    for name, kind in new.items():
        was, now = _kind(old.get(name, "")), _kind(kind)
        if was and now and was != now:
            changes.append(f"{name} is {now}, was {was}")
    return changes


def _columns(registry: RegistryService, model: str) -> dict[str, str]:
    return {feature.name: feature.type for feature in registry.features(model)}


def _kind(told: str) -> str:
    """Return a type in our words; one that is not known here as it was told."""
    word = re.match(r"[a-z]*", told.lower())
    base = word[0] if word else ""
    return _SAME.get(base, base)

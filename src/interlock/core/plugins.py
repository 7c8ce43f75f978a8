"""Plug-ins: blocks found through entry points, loaded when used; a broken one is listed and stops nothing.

Adding a block is one file and one line under `[project.entry-points."interlock.GROUP"]`. Our own blocks come
in through the same door.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from interlock.core.errors import MissingExtra, NotFound, Unavailable

GROUPS: Final = {
    "interlock.data_format": "Reads a file into a frame: `suffixes`, `read(path)`.",
    "interlock.flavor": (
        "Saves an estimator as a bundle without code: `recognise(model)`, `save(model, sample, folder)`."
    ),
    "interlock.gate": (
        "Judges a model version on evidence: `run(evidence, policy)`, where its `applies(policy)` is not False."
    ),
    "interlock.target": "Runs a deployment: `start`, `alive`, `status`, `nudge`, `stop` (see `deploy.process`).",
    "interlock.protocol": "A way to ask for predictions over HTTP: `routes(server)`.",
    "interlock.action": "What a trigger may do: called with context, target, cause and job.",
}


class Plugin(msgspec.Struct, frozen=True):
    """One block that somebody installed, and whether it works.

    Attributes:
        group: the entry-point group, such as `interlock.flavor`.
        name: what users call it.
        value: `module:object`.
        distribution: the package that brings it.
        error: why it cannot be loaded, or "".
    """

    group: str
    name: str
    value: str
    distribution: str
    error: str = ""


def plugins() -> list[Plugin]:
    """Return every plug-in of every group, each tried; a broken one carries its error."""
    return [_try(group, point) for group in GROUPS for point in _points(group)]


def names(group: str) -> list[str]:
    """Return what is registered in a group, whether it loads or not."""
    return [str(point.name) for point in _points(group)]


def load(group: str, name: str) -> Any:
    """Return the object behind one plug-in.

    Raises:
        NotFound: nobody registered this name.
        MissingExtra: it needs a library of an extra that is not installed.
        Unavailable: it is registered and cannot be loaded.
    """
    found = [point for point in _points(group) if point.name == name]
    if not found:
        raise NotFound.named(
            "plugin", name, names(group), hint=f"It is looked for under {group}; see `interlock plugins`."
        )
    if len({point.value for point in found}) > 1:  # nobody may slip in under another's name
        owners = ", ".join(sorted(str(point.dist.name) for point in found if point.dist))
        raise Unavailable(f"Plug-in {name!r} of {group} is brought by several packages: {owners}.", about="plugin")
    try:
        return found[0].load()
    except Exception as error:  # a plug-in's import may raise anything
        if missing := MissingExtra.behind(error):
            raise missing from error
        raise Unavailable(
            f"Plug-in {name!r} of {group} does not load: {type(error).__name__}: {error}", about="plugin"
        ) from error


def load_all(group: str) -> dict[str, Any]:
    """Return the objects of a group that load, by name; broken ones are left out (`plugins` lists them)."""
    found = {}
    for point in _points(group):
        try:
            found[point.name] = point.load()
        except Exception:  # noqa: BLE001, S112 - listed with its error by `plugins`
            continue
    return found


def _points(group: str) -> list[Any]:
    from importlib.metadata import entry_points

    return sorted(entry_points(group=group), key=lambda point: str(point.name))


def _try(group: str, point: Any) -> Plugin:
    error = ""
    try:
        point.load()
    except Exception as caught:  # noqa: BLE001 - this is the border where broken plug-ins end
        error = f"{type(caught).__name__}: {caught}"
    owner = point.dist.name if point.dist else ""
    return Plugin(group, point.name, point.value, owner, error)

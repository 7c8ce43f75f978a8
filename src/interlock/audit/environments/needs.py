"""What a version needs to be loaded again: libraries by the format of its files, at the versions its run recorded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from interlock.core.errors import Conflict, Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from interlock.core.bundles import Bundle
    from interlock.registry.content import FileFormat
    from interlock.track.environment import Environment

# Each line is a need; of its distributions, which bring the same modules, the run had at least one.
_LIBRARIES: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "onnx": (("onnxruntime", "onnxruntime-gpu"), ("numpy",)),
    "skops": (("skops",), ("scikit-learn",)),
    "xgboost": (("xgboost", "xgboost-cpu"), ("numpy",)),
    "lightgbm": (("lightgbm",), ("numpy",)),
    "safetensors": (("safetensors",), ("numpy",)),
}
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?", re.IGNORECASE)
# A release as indexes have them; what was installed from a folder may call itself anything.
_RELEASE: Final = re.compile(r"(\d+!)?\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?")
_RUNTIME: Final = re.compile(r"\d+\.\d+")


def roots(files: Sequence[FileFormat], recorded: Environment, further: Iterable[str]) -> tuple[str, ...]:
    """Return the distributions that a version's files need, and those that somebody asked for, by name.

    Args:
        files: what the files are.
        recorded: the environment of the run that made them.
        further: names of distributions that shall be there too.

    Raises:
        Conflict: nothing says what its files need, or its run did not have it.
        Invalid: a name is none.
    """
    named = [_normal(name) for name in further]
    needs = {need for file in files for need in _LIBRARIES.get(file.format, ())} | {(name,) for name in named}
    if not needs:
        raise Conflict(
            "Its files are opaque, so nobody can say which packages they need.",
            about="environment",
            hint="Name them: --packages NAME.",
        )
    found = {need: next((name for name in need if name in recorded.packages), "") for need in needs}
    absent = sorted(need[0] for need, name in found.items() if not name)
    if absent:
        raise Conflict(
            f"The run did not record {', '.join(absent)}.",
            about="environment",
            hint="Train again where it is installed, or name others.",
        )
    strange = sorted(name for name in found.values() if not _RELEASE.fullmatch(recorded.packages[name].split("+")[0]))
    if strange:
        told = f"{strange[0]} {recorded.packages[strange[0]]}"
        raise Conflict(f"{told} is no release that could be installed again.", about="environment")
    return tuple(sorted(set(found.values())))


def pins(recorded: Environment) -> list[str]:
    """Return `name==version` of all releases that a run recorded, by name; what is no release is left out."""
    return [
        f"{name}=={version.split('+')[0]}"
        for name, version in sorted(recorded.packages.items())
        if _NAME.fullmatch(name) and _RELEASE.fullmatch(version.split("+")[0])
    ]


def runtime(recorded: Environment) -> str:
    """Return the Python that a run had, as `3.12`.

    Raises:
        Conflict: it recorded none that we could make again.
    """
    found = _RUNTIME.match(recorded.python)
    if found is None or recorded.implementation != "CPython":
        told = f"{recorded.implementation} {recorded.python}".strip()
        raise Conflict(f"The run was made with {told!r}; environments are built for CPython.", about="environment")
    return found[0]


def loadable(files: Sequence[FileFormat], bundle: Bundle | None) -> list[FileFormat]:
    """Return the files that are loaded in the environment: those whose libraries run no code of the file.

    What answers in a bundle comes first: it is asked the golden requests too.
    """
    answering = bundle.files.get("serving", "") if bundle else ""
    found = [file for file in files if file.format in {"onnx", "xgboost", "lightgbm"}]
    return sorted(found, key=lambda file: (file.path != answering, file.path))


def _normal(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Invalid(f"{name!r} is no name of a package.", about="packages", hint="Give it without a version.")
    return re.sub(r"[-_.]+", "-", name).lower()

"""Environments: what a run ran in, recorded so that it can be compared and made again."""

from __future__ import annotations

import os
import platform
from importlib import metadata

import msgspec


class Environment(msgspec.Struct, frozen=True):
    """The interpreter, machine and packages of a process.

    Attributes:
        python: the interpreter's version.
        implementation: such as CPython.
        system: operating system, release and processor type.
        cores: how many cores the process may use.
        packages: version of every installed distribution by its normalised name.
    """

    python: str
    implementation: str
    system: str
    cores: int
    packages: dict[str, str]


def environment() -> Environment:
    """Return the environment of this process.

    Cost: reads the metadata of every installed distribution, some milliseconds a hundred.
    """
    packages = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            packages[name.lower().replace("_", "-").replace(".", "-")] = distribution.version
    return Environment(
        python=platform.python_version(),
        implementation=platform.python_implementation(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1),
        packages=dict(sorted(packages.items())),
    )

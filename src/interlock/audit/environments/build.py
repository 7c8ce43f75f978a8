"""The build: a lock with hashes, an environment of exactly that, and the version's files loaded in it."""

from __future__ import annotations

import platform
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from interlock.audit.environments import probe
from interlock.audit.environments.tool import StepFailed, Workshop

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMPILE_S: Final = 600
_INSTALL_S: Final = 3600
_PROBE_S: Final = 600
_PACKAGE: Final = re.compile(r"([a-z0-9][a-z0-9.-]*==[^\s;\\]+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)")
_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}")


class Lock(NamedTuple):
    """What shall be installed.

    Attributes:
        packages: `name==version`, by name.
        text: a requirements file of exactly these, each with the hashes of its files; the same for the same lock.
    """

    packages: tuple[str, ...]
    text: str


class Trial(NamedTuple):
    """What is tried in the environment.

    Attributes:
        roots: the distributions whose modules are imported.
        files: what is loaded: path, format, the name of the file in the workshop, and golden requests of one.
    """

    roots: tuple[str, ...]
    files: list[dict[str, Any]]


def lock(shop: Workshop, roots: Sequence[str], pins: Sequence[str], python: str) -> Lock:
    """Return the lock of some distributions and all that they need, at the versions that were recorded.

    Only built distributions are taken: what is made from source runs code of its own, with tools that no lock names.

    Args:
        shop: where uv works.
        roots: names of distributions.
        pins: `name==version` of all that was recorded.
        python: such as 3.12.

    Raises:
        StepFailed: an index does not have these, or cannot be reached.
    """
    shop.say(f"locking {', '.join(roots)} and what they need, for Python {python}")
    (shop.folder / "roots.txt").write_text("".join(f"{name}\n" for name in roots))
    (shop.folder / "recorded.txt").write_text("".join(f"{pin}\n" for pin in pins))
    words = ["pip", "compile", "roots.txt", "--constraint", "recorded.txt", "--python-version", python, "--quiet"]
    words += ["--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--no-header", "--no-annotate"]
    shop.uv("Locking", *words, "--only-binary", ":all:", "--output-file", "locked.txt", timeout_s=_COMPILE_S)
    return read_lock((shop.folder / "locked.txt").read_text(), python)


def read_lock(text: str, python: str) -> Lock:
    """Return what uv wrote, in our own form: sorted, nothing but packages and hashes.

    Raises:
        StepFailed: it holds something else, such as an address.
    """
    found = {match[1]: sorted(_HASH.findall(match[2])) for match in _PACKAGE.finditer(text + "\n")}
    rest = _PACKAGE.sub("", text + "\n").strip()
    if rest or not found:
        raise StepFailed("Locking", f"uv wrote lines that are no packages with hashes: {rest[:300]}", again=False)
    head = f"# CPython {python} on {platform.system()} {platform.machine()}\n"
    listed = [" \\\n".join([name, *(f"    --hash={one}" for one in found[name])]) + "\n" for name in sorted(found)]
    return Lock(tuple(sorted(found)), "".join([head, *listed]))


def build(shop: Workshop, made: Lock, python: str) -> str:
    """Make the environment; return the full version of its Python.

    Raises:
        StepFailed: there is no such Python, a file has another hash, or cannot be had.
    """
    shop.say(f"installing {len(made.packages)} packages, each checked by its hash")
    (shop.folder / "requirements.txt").write_text(made.text)
    here = ".".join(platform.python_version_tuple()[:2])
    wanted = sys.executable if here == python else python
    words = ["venv", "venv", "--python", wanted, "--no-python-downloads", "--no-project"]
    shop.uv("Making an environment", *words, "--quiet", timeout_s=_COMPILE_S)
    target = ["--python", "venv/bin/python"]
    words = ["pip", "sync", "requirements.txt", "--require-hashes", "--only-binary", ":all:", "--strict"]
    shop.uv("Installing", *words, *target, timeout_s=_INSTALL_S)
    there = shop.uv("Listing", "pip", "freeze", *target, timeout_s=_COMPILE_S).split()
    if sorted(there) != list(made.packages):
        raise StepFailed("Installing", f"There is {', '.join(sorted(set(there) ^ set(made.packages)))}.", again=False)
    version = shop.python("Starting", "-c", "import platform; print(platform.python_version())", timeout_s=_PROBE_S)
    return version.strip()


def attempt(shop: Workshop, trial: Trial) -> None:
    """Import, load and ask in the environment.

    Raises:
        StepFailed: a module is not there or does not start, a file does not load, an answer is another.
    """
    shop.say(f"importing {', '.join(trial.roots)}; loading {len(trial.files)} files")
    (shop.folder / "probe.py").write_bytes(Path(probe.__file__).read_bytes())
    (shop.folder / "probe.json").write_bytes(msgspec.json.encode({"import": trial.roots, "load": trial.files}))
    shop.python("Trying it", "probe.py", "probe.json", timeout_s=_PROBE_S)

"""The packages that a model was made with, beside those that would serve it here.

What a file that runs no code answers is settled by its golden requests, whatever the engine's version: a difference is
told, and in nobody's way. An original is other: its file holds objects of packages, which only the same versions are
known to read and run alike, so a difference keeps it from answering.
"""

from __future__ import annotations

import io
import re
import zipfile
from importlib.metadata import packages_distributions
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.errors import Corrupt, Finding
from interlock.serve.release import release_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from interlock.core.ports import ObjectStore
    from interlock.serve.model import LoadedModel

ENGINES: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "linear": (),  # sums of NumPy, which have no version
    "onnx": (("onnxruntime", "onnxruntime-gpu"), ("numpy",)),
    "xgboost": (("xgboost", "xgboost-cpu"), ("numpy",)),
    "lightgbm": (("lightgbm",), ("numpy",)),
}
"""The packages by which an engine answers. Of names that bring the same modules an environment has one."""
UNPROVED: Final = "golden_none"
"""The rule of the finding that nobody can say whether a model answers as it did in training."""
_SCHEMA: Final = "schema.json"
_LONGEST_SCHEMA: Final = 256 << 20
_MODULE: Final = re.compile(rb'"__module__"\s*:\s*"(\w+)')
_OWN: Final = frozenset({"builtins", "collections", "functools", "operator", "datetime", "types", "interlock"})


class Recorded(msgspec.Struct, frozen=True):
    """What is read of an environment's record: see `interlock.track.environment`."""

    python: str = ""
    packages: dict[str, str] = {}


class Release(msgspec.Struct, frozen=True):
    """A package where a model was made, and here.

    Attributes:
        name: the package; of two that bring the same modules the one that was recorded.
        then: its version where the model was made, "" where nothing records it.
        now: its version here, "" where it is not installed.
    """

    name: str
    then: str
    now: str

    @property
    def differs(self) -> bool:
        """Whether both are known and are two versions; how a package was built, as in `+cpu`, is no version."""
        return bool(self.then) and _plain(self.then) != _plain(self.now)


class Compared(msgspec.Struct, frozen=True):
    """What keeps a model from answering here, and what somebody should know."""

    findings: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()


def read_recorded(objects: ObjectStore, digest: str) -> Recorded | None:
    """Return the record of an environment, None where a version has none.

    Raises:
        NotFound: it is not there.
        Corrupt: it is none, or its bytes have changed.
    """
    if not digest:
        return None
    try:
        return msgspec.json.decode(objects.get(digest), type=Recorded)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Corrupt(f"Object {digest[:16]} is no record of an environment: {error}.", about="environment") from None


def release(need: tuple[str, ...], then: Mapping[str, str], now: Callable[[str], str]) -> Release:
    """Return a package as it was recorded and as it is: the one rule by which gates and trials compare packages.

    What follows from a difference is theirs to say: the gate `environment` is stricter than a trial.

    Args:
        need: names of the package, any of which will do.
        then: versions by name where the model was made.
        now: returns the version of a name here, "" for none.
    """
    name = next((name for name in need if then.get(name)), "")
    return Release(name or need[0], then.get(name, ""), next((found for one in need if (found := now(one))), ""))


def compare(model: LoadedModel, recorded: Recorded | None) -> Compared:
    """Return how the packages here differ from those that a model was made with.

    Args:
        model: the model as it would answer here, with the engine that it has here.
        recorded: the environment of the run that made it, None where nobody knows that.
    """
    code = model.engine.name == "worker"
    needs = _needs_of_original(model) if code else ENGINES.get(model.engine.name, ())
    if recorded is None:
        what = ", ".join(need[0] for need in needs)
        told = f"Nothing records which packages it was made with, so {what} of this environment is compared with none."
        return Compared(warnings=(Finding("package", told),) if needs else ())
    findings: list[Finding] = []
    warnings: list[Finding] = []
    for need in needs:
        one = release(need, recorded.packages, release_of)
        if not one.then:
            told = f"Nothing records which {one.name} it was made with; here it is {one.now or 'not installed'}."
            warnings.append(Finding("package", told, one.name))
        elif one.differs:
            told = f"{one.name} is {one.now or 'not installed'} here and was {one.then} where it was made"
            (findings if code else warnings).append(Finding("package", f"{told}; {_verdict(model)}.", one.name))
    return Compared(tuple(findings), tuple(warnings))


def unproved(model: LoadedModel) -> tuple[Finding, ...]:
    """Return what a pre-flight could not prove of a model, because what it would take did not come with it."""
    source, rows = model.parts.source, len(model.golden.rows)
    if source == "training":
        return ()
    asked = {
        "example": f"it answers the {rows} row{'s' * (rows != 1)} of the example beside it",
        "zeros": "it answers a row of zeros",
    }.get(source, "it loads and its columns can be read, and it was asked nothing")
    agreed = model.bundle.agreement.rows
    twin = f"; its files say that this form agreed with the original on {agreed:,} rows" if agreed else ""
    told = f"No golden requests came with it: {asked}, but nobody can say whether as it did in training{twin}."
    return (Finding(UNPROVED, told),)


def _verdict(model: LoadedModel) -> str:
    if model.engine.name == "worker":
        return "an original holds objects of this package, so only the same version may run it"
    if model.parts.source == "training":
        return "its file runs no code, and its golden requests get the answers of training, which is what counts"
    return "its file runs no code, but without golden requests nobody can say whether it answers the same"


def _needs_of_original(model: LoadedModel) -> tuple[tuple[str, ...], ...]:
    """Return the packages whose objects are in an original's file, and the one that reads it.

    Source: a skops file is a zip archive whose schema.json names the module of each object.
    """
    read = model.parts.read
    modules = _modules(read("original")) if read is not None else set()
    known = packages_distributions()
    return (("skops",), *((name,) for name in sorted(_distributions(modules, known))))


def _modules(data: bytes) -> set[str]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if archive.getinfo(_SCHEMA).file_size > _LONGEST_SCHEMA:
                raise Corrupt(f"{_SCHEMA} of the original is too long.", about="bundle")
            found = _MODULE.findall(archive.read(_SCHEMA))
    except (zipfile.BadZipFile, KeyError) as error:
        raise Corrupt(f"The original is no skops file: {error}.", about="bundle") from None
    return {name.decode() for name in found}


def _distributions(modules: Iterable[str], known: Mapping[str, list[str]]) -> set[str]:
    found = {name for module in modules if module not in _OWN for name in known.get(module, [])}
    return {re.sub(r"[-_.]+", "-", name).lower() for name in found}


def _plain(version: str) -> str:
    """Return a version without what says how it was built, such as `+cpu`."""
    return version.partition("+")[0]

"""The key of a step's call: everything its result depends on, each part under its own name.

Two calls with equal keys may share a result. The key is nothing but its parts, so why a step ran again is a comparison
of two dictionaries. Whatever cannot be followed makes the call uncacheable and says so in `reason`.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from interlock.core.canonical import digest
from interlock.core.errors import Invalid
from interlock.train import outside
from interlock.train.encoder import holds_code
from interlock.train.origins import Origins
from interlock.train.packages import versions
from interlock.train.reach import Walk
from interlock.train.reached import Reach, show
from interlock.train.records import Difference
from interlock.train.values import Encoded, Kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path, PurePath

    from interlock.train.steps import Step
    from interlock.train.values import Values

FORMAT = "1"


class StepKey(msgspec.Struct, frozen=True):
    """What the result of one call depends on.

    Attributes:
        digest: the key itself.
        parts: what it is made of: `code pipeline.clean`, `constant pipeline.RATE`, `input lr`, `package polars` ...
        reason: why a result under it must not be used again, or "".
    """

    digest: str
    parts: dict[str, str]
    reason: str = ""


class Keys:
    """Makes the keys of one run.

    Args:
        project: the project's folder.
        values: digests inputs and constants.
    """

    def __init__(self, project: Path, values: Values) -> None:
        self._origins = Origins(project)
        self._values = values
        self._known: dict[int, tuple[object, Reach]] = {}

    def of(self, step: Step[..., Any], inputs: Mapping[str, Any]) -> StepKey:
        """Return the key of a call.

        Args:
            step: the step.
            inputs: its arguments by name, defaults included; a `Kept` stands for the value it keeps.

        Cost: about 0.1 ms when nothing has changed since the step's last call, and the bytes of its inputs; about
            2 ms for a step's first call.
        """
        reached = self.reach(step.function)
        parts = {"format": FORMAT, "step": step.name, "python": f"{sys.version_info[0]}.{sys.version_info[1]}"}
        parts |= reached.parts
        reasons = list(reached.reasons)
        tops = set(reached.tops)
        files: list[PurePath] = []
        for name, value in inputs.items():
            try:
                encoded = self._encode(value)
            except Invalid as error:
                parts[f"input {name}"] = "?"
                reasons.append((outside.DYNAMIC, f"input {name!r} has no digest: {error.message}"))
                continue
            parts[f"input {name}"] = show(encoded.tree)
            files += encoded.files
            for place, code in enumerate(encoded.code):
                met = self.reach(code)
                parts |= {f"input {name}[{place}]: {part}": text for part, text in met.parts.items()}
                tops |= met.tops
                reasons += met.reasons
        parts |= {f"package {name}": version for name, version in versions(frozenset(tops)).items()}
        parts |= self._declared(step, files, reasons)
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
        return StepKey(digest(text.encode()), parts, _first_reason(step, reasons))

    def reach(self, thing: object) -> Reach:
        """Return what a function or class can reach, walking again when something has changed since the last time."""
        known = self._known.get(id(thing))
        if known is not None and known[1].holds(self._values.digest):
            return known[1]
        found = Walk(self._origins, self._values).follow(thing, "")
        self._known[id(thing)] = (thing, found)
        return found

    def _encode(self, value: Any) -> Encoded:
        if isinstance(value, Kept):
            if not holds_code(value.tree):
                return Encoded(value.tree, [], [])
            value = self._values.load(value)
        return self._values.digest(value)

    def _declared(self, step: Step[..., Any], files: list[PurePath], reasons: list[tuple[str, str]]) -> dict[str, str]:
        """Return the parts of files and variables: those the step declares, and those that its inputs name."""
        project = self._origins.project
        parts = {f"variable {name}": _hidden(os.environ.get(name)) for name in step.environ}
        for pattern in step.reads:
            found = sorted(path for path in project.glob(pattern) if path.is_file())
            parts[f"files {pattern}"] = str(len(found))
            parts |= {f"file {path.relative_to(project).as_posix()}": _file_digest(path) for path in found}
        for named in files:
            path = project / named
            if path.is_dir():
                reasons.append((outside.FILES, f"input {str(named)!r} is a folder; declare its files with reads=[...]"))
            parts[f"file {named}"] = _file_digest(path) if path.is_file() else "missing"
        return parts


def explain(before: StepKey, after: StepKey) -> tuple[Difference, ...]:
    """Return the parts in which two keys differ, sorted by name; none when the keys are equal.

    Args:
        before: the earlier key.
        after: the later one.
    """
    return compare(before.parts, after.parts)


def compare(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Difference, ...]:
    """Return where two keys' parts differ."""
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return tuple(Difference(name, before.get(name, ""), after.get(name, "")) for name in names)


def bind(function: Callable[..., Any], args: Iterable[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call's arguments by name, defaults included.

    Raises:
        TypeError: the function cannot be called so; the sentence is Python's own.
    """
    try:
        bound = _signature(function).bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{function.__qualname__}(): {error}") from None
    bound.apply_defaults()
    return dict(bound.arguments)


def spread(function: Callable[..., Any], inputs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the positional and named arguments that `bind` made into one mapping."""
    bound = inspect.BoundArguments(_signature(function), dict(inputs))
    return bound.args, bound.kwargs


@lru_cache(maxsize=1024)
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)


def _first_reason(step: Step[..., Any], reasons: list[tuple[str, str]]) -> str:
    if not step.cache:
        return "the step says cache=False"
    excused = {kind for kind, said in ((outside.FILES, step.reads), (outside.ENVIRONMENT, step.environ)) if said}
    left = [sentence for kind, sentence in reasons if kind not in excused]
    more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
    return f"{left[0]}{more}" if left else ""


def _hidden(value: str | None) -> str:
    """Return a digest in place of a variable's value, which may be a secret."""
    return "unset" if value is None else digest(value.encode("utf-8", "surrogateescape"))[:32]


def _file_digest(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

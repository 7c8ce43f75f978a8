"""Runs beside each other: what differs between them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.track.records import Run

Part = Literal["run", "param", "metric", "tag", "artifact"]
Value = str | float | None


class Difference(msgspec.Struct, frozen=True):
    """A fact of which runs have different values.

    Attributes:
        part: run (its own fields), param, metric (newest values), tag or artifact (digests of files).
        name: the param's, metric's, tag's or file's name.
        values: the value of each run, in the order asked for; None where it has none.
    """

    TABLE: ClassVar = ("part", "name", "values")

    part: Part
    name: str
    values: tuple[Value, ...]


class Comparison(msgspec.Struct, frozen=True):
    """What differs between runs, and how many facts are the same in all.

    Attributes:
        runs: the runs' references, in the order asked for.
        names: their names.
        differences: what differs.
        same: how many facts are the same in all.
    """

    runs: tuple[str, ...]
    names: tuple[str, ...]
    differences: tuple[Difference, ...]
    same: int


def compare(runs: Sequence[Run], *, everything: bool = False) -> Comparison:
    """Return what differs between runs.

    Args:
        runs: at least one.
        everything: what is the same too.
    """
    facts = [_facts(run) for run in runs]
    keys = sorted({key for found in facts for key in found}, key=lambda key: (_ORDER.index(key[0]), key[1]))
    found, same = [], 0
    for part, name in keys:
        values = tuple(one.get((part, name)) for one in facts)
        equal = all(_alike(value, values[0]) for value in values)
        same += equal
        if everything or not equal:
            found.append(Difference(part, name, values))
    return Comparison(tuple(run.ref for run in runs), tuple(run.name for run in runs), tuple(found), same)


_ORDER: tuple[Part, ...] = ("run", "param", "metric", "tag", "artifact")


def _facts(run: Run) -> dict[tuple[Part, str], Value]:
    ended = run.ended_at
    facts: dict[tuple[Part, str], Value] = {
        ("run", "experiment"): run.experiment,
        ("run", "status"): run.status,
        ("run", "code"): run.code or None,
        ("run", "environment"): run.environment or None,
        ("run", "inputs"): ", ".join(run.inputs) or None,
        ("run", "seconds"): round((ended - run.started_at).total_seconds(), 1) if ended else None,
    }
    facts |= {("param", name): value for name, value in run.params.items()}
    facts |= {("metric", name): value for name, value in run.metrics.items()}
    facts |= {("tag", name): value for name, value in run.tags.items()}
    facts |= {("artifact", file.name): file.digest for file in run.artifacts}
    return facts


def _alike(one: Value, other: Value) -> bool:
    both_nan = isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other)
    return both_nan or one == other

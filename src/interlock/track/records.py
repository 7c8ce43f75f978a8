"""What tracking remembers: experiments and runs."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

import msgspec

from interlock.core.files import StoredFile

Status = Literal["running", "finished", "failed", "killed"]


class Experiment(msgspec.Struct, frozen=True):
    """A name under which runs are compared."""

    id: str
    name: str
    runs: int
    created_at: datetime


class Run(msgspec.Struct, frozen=True):
    """One execution, and all that is needed to understand or repeat it.

    Attributes:
        ref: how to name it, `run:ID`.
        status: running, finished, failed or killed.
        reason: why it failed, or "".
        cause: the reference of what started it (an alarm, a job), or "".
        code: the digest of the source snapshot, or "".
        environment: the digest of the environment record, or "".
        inputs: references of the data and models that it read.
        params: its params, all as text.
        metrics: the newest value of each metric.
        tags: its tags.
        artifacts: the files it left, by path.
    """

    TABLE: ClassVar = ("ref", "experiment", "status", "metrics", "inputs", "started_at", "ended_at")

    ref: str
    id: str
    experiment: str
    name: str
    status: Status
    reason: str
    cause: str
    code: str
    environment: str
    inputs: tuple[str, ...]
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    artifacts: tuple[StoredFile, ...]
    started_at: datetime
    ended_at: datetime | None


class Metric(msgspec.Struct, frozen=True):
    """Points of one metric: `steps`, `ats` and `values` are parallel."""

    name: str
    steps: tuple[int, ...]
    ats: tuple[datetime, ...]
    values: tuple[float, ...]


class Start(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known when a run starts."""

    experiment: str
    name: str = ""
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    inputs: tuple[str, ...] = ()
    cause: str = ""
    code: str = ""
    environment: str = ""

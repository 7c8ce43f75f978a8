"""What tracking remembers: experiments and runs."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Final, Literal

import msgspec

from interlock.core.files import StoredFile

Status = Literal["running", "scheduled", "finished", "failed", "killed"]
ENDED: Final = frozenset({"finished", "failed", "killed"})


class Experiment(msgspec.Struct, frozen=True):
    """A name under which runs are compared.

    Attributes:
        lifecycle: active or deleted.
        tags: its tags.
    """

    TABLE: ClassVar = ("id", "name", "runs", "lifecycle", "created_at")

    id: str
    name: str
    runs: int
    created_at: datetime
    lifecycle: Literal["active", "deleted"] = "active"
    tags: dict[str, str] = {}


class ExperimentPage(msgspec.Struct, frozen=True):
    """Experiments that a search found, and the token of the next page; "" after the last."""

    experiments: tuple[Experiment, ...]
    next_page_token: str


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
    parent: str = ""
    lifecycle: Literal["active", "deleted"] = "active"


class RunPage(msgspec.Struct, frozen=True):
    """Runs that a search found, and the token of the next page; "" after the last."""

    runs: tuple[Run, ...]
    next_page_token: str


class Metric(msgspec.Struct, frozen=True):
    """Points of one metric: `steps`, `ats` and `values` are parallel."""

    name: str
    steps: tuple[int, ...]
    ats: tuple[datetime, ...]
    values: tuple[float, ...]


class Start(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known when a run starts.

    Attributes:
        id: a ULID that its maker chose, so that the start can be sent again; "" for a new one.
        parent: the id of the run that it is nested in, or "".
        started_at: when it began, if that was before now.
    """

    experiment: str
    name: str = ""
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    inputs: tuple[str, ...] = ()
    cause: str = ""
    code: str = ""
    environment: str = ""
    id: str = ""
    parent: str = ""
    started_at: datetime | None = None


class Delivery(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a writer sends of a run; the same number of the same writer again is nothing new.

    Attributes:
        writer: who sends, such as a ULID of its process.
        number: counts the writer's deliveries.
        segments: packed points (`interlock.store.segments.pack`) by metric.
        params: values by name.
        tags: values by name.
        log: text that the run printed since the last delivery.
        inputs: references of data and models that the run read since then.
    """

    writer: str
    number: int
    segments: dict[str, bytes] = {}
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    log: str = ""
    inputs: tuple[str, ...] = ()

"""What the train room tells others: the steps of a run, and in what two of them differ."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

StepState = Literal["running", "done", "failed"]


class StepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a step in a run.

    Attributes:
        position: its place in the order of calls, from 0.
        step: the function's full name.
        key: the digest of all that its result depends on.
        state: how far it is; a step that ends at once is first seen when it is done.
        cached: whether the result came from an earlier run.
        replayed: whether it came from this run's own journal, after a resume.
        attempts: how often the function was started.
        reason: why it ran, or why its result cannot be cached.
        error: what it raised, or "".
        output: the digest of its value, or "" when the value cannot be kept.
        started_at: when it was called.
        ended_at: when it ended, or None.
    """

    position: int
    step: str
    key: str
    state: StepState
    cached: bool = False
    replayed: bool = False
    attempts: int = 0
    reason: str = ""
    error: str = ""
    output: str = ""
    started_at: datetime
    ended_at: datetime | None = None

    @property
    def duration_s(self) -> float:
        """How long it took, in seconds."""
        return (self.ended_at - self.started_at).total_seconds() if self.ended_at else 0.0


class Difference(msgspec.Struct, frozen=True):
    """One part in which two keys differ; "" where a key has no such part."""

    part: str
    before: str
    after: str

    def __str__(self) -> str:
        if not self.before:
            return f"{self.part} is new"
        if not self.after:
            return f"{self.part} is gone"
        short = len(self.before) + len(self.after) <= 60 and not self.part.startswith("code ")
        return f"{self.part} changed" + (f" from {self.before} to {self.after}" if short else "")

"""What is said of traces: how they were, and how people and judges found them."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from interlock.core.canonical import canonical, digest

State = Literal["STATE_UNSPECIFIED", "OK", "ERROR", "IN_PROGRESS"]
AssessmentKind = Literal["feedback", "expectation", "issue"]
OPEN: Final = frozenset({"IN_PROGRESS", "STATE_UNSPECIFIED"})
NAME_TAG: Final = "mlflow.traceName"
RUN_METADATA: Final = "mlflow.sourceRun"
SESSION_METADATA: Final = "mlflow.trace.session"
USER_METADATA: Final = "mlflow.trace.user"
USAGE_METADATA: Final = "mlflow.trace.tokenUsage"
COST_METADATA: Final = "mlflow.trace.cost"


class AssessmentError(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a judge came to no value."""

    error_code: str = ""
    error_message: str = ""
    stack_trace: str = ""


class Assessment(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What somebody found of a trace, or expects of it; instants in microseconds since 1970 UTC.

    Attributes:
        id: its id, such as `a-` and 32 hexadecimal digits.
        kind: feedback, expectation or issue.
        name: what was assessed; of an issue, its id.
        value: any JSON value; of an issue, its name.
        serialized: whether the client sent the value as a text of JSON, and gets it so.
        error: why there is no value.
        source_type: HUMAN, LLM_JUDGE or CODE.
        source_id: who.
        created_at: when it was made.
        updated_at: when it was last changed.
        span: the span that it is about, or "" for the trace.
        rationale: why.
        metadata: further facts.
        overrides: the id of the assessment that it replaces, or "".
        valid: whether none replaces it.
    """

    id: str
    kind: AssessmentKind
    name: str
    value: Any = None
    serialized: bool = False
    error: AssessmentError | None = None
    source_type: str = ""
    source_id: str = ""
    created_at: int
    updated_at: int
    span: str = ""
    rationale: str | None = None
    metadata: dict[str, str] = {}
    overrides: str = ""
    valid: bool = True


class TraceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A trace as its client reports it; instants in microseconds since 1970 UTC.

    Attributes:
        id: its id, such as `tr-` and 32 hexadecimal digits.
        experiment: the id of the experiment that it belongs to.
        state: how it ended.
        started_at: when it began.
        duration: how long it took, in microseconds; None while that is not known.
        client_request_id: what the application calls it.
        request_preview: the beginning of what was asked.
        response_preview: the beginning of what was answered.
        tags: facts that may change; `mlflow.traceName` is its name.
        metadata: facts that do not.
        assessments: what was found of it already.
    """

    id: str
    experiment: str
    state: State
    started_at: int
    duration: int | None = None
    client_request_id: str | None = None
    request_preview: str | None = None
    response_preview: str | None = None
    tags: dict[str, str] = {}
    metadata: dict[str, str] = {}
    assessments: tuple[Assessment, ...] = ()

    @property
    def digest(self) -> str:
        """The SHA-256 of what the report says, but for its assessments, which have digests of their own."""
        return digest(canonical(msgspec.structs.replace(self, assessments=())))


class TraceFacts(TraceInfo, frozen=True, kw_only=True):
    """A trace as it is stored.

    Attributes:
        reported: whether a client reported it, or only its spans came.
        spans: how many spans are here.
    """

    reported: bool
    spans: int

"""What requests about traces say, as ours: reports of traces, assessments."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from interlock.server.mlflow import checks
from interlock.server.mlflow.trace_wire import ARTIFACTS_TAG, LOCATION_TAG, REPORTED, read_duration, read_timestamp
from interlock.server.mlflow.wire import invalid, missing
from interlock.track.assessments import stable_id
from interlock.track.trace_records import Assessment, AssessmentError, State, TraceInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.track.trace_records import AssessmentKind

MOST_PAIRS: Final = 1_000
_PREVIEW: Final = 10_000
_LONGEST_ID: Final = 250
_LONGEST_NAME: Final = 250
_IDENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}\Z")
_OURS: Final = frozenset({LOCATION_TAG, ARTIFACTS_TAG, REPORTED})
_FORMAT: Final = "JSON_FORMAT"


class Experiment(msgspec.Struct):
    """An experiment as a place of traces."""

    experiment_id: str = ""


class Location(msgspec.Struct):
    """Where traces are."""

    type: str = ""
    mlflow_experiment: Experiment | None = None


class Source(msgspec.Struct):
    """Who assessed."""

    source_type: str = "SOURCE_TYPE_UNSPECIFIED"
    source_id: str = ""


class Serialized(msgspec.Struct):
    """A value as a text of JSON."""

    serialization_format: str = ""
    value: str = ""


class Value(msgspec.Struct):
    """The value of a feedback or an expectation."""

    value: Any = msgspec.UNSET
    serialized_value: Serialized | None = None
    error: AssessmentError | None = None


class Issue(msgspec.Struct):
    """The value of an issue."""

    issue_name: str = ""


class AssessmentMessage(msgspec.Struct):
    """An assessment on the wire."""

    assessment_id: str = ""
    assessment_name: str = ""
    span_id: str = ""
    source: Source | None = None
    create_time: str = ""
    last_update_time: str = ""
    feedback: Value | None = None
    expectation: Value | None = None
    issue: Issue | None = None
    rationale: str | None = None
    error: AssessmentError | None = None
    metadata: dict[str, str] = {}
    overrides: str = ""


class InfoMessage(msgspec.Struct):
    """A trace's report on the wire."""

    trace_id: str
    trace_location: Location
    client_request_id: str | None = None
    request_preview: str | None = None
    response_preview: str | None = None
    request_time: str = ""
    execution_duration: str | None = None
    state: State = "STATE_UNSPECIFIED"
    trace_metadata: dict[str, str] = {}
    tags: dict[str, str] = {}
    assessments: list[AssessmentMessage] = []


def read_info(said: InfoMessage, now: int) -> TraceInfo:
    """Return a report of a trace.

    Args:
        said: the message.
        now: the instant of what has none, in microseconds.

    Raises:
        Refused: something in it is not sound.
    """
    trace = checked_id(said.trace_id)
    place = said.trace_location.mlflow_experiment
    if place is None or not place.experiment_id:
        raise missing("trace.trace_info.trace_location.mlflow_experiment.experiment_id")
    if said.client_request_id and len(said.client_request_id) > _LONGEST_ID:
        raise invalid(f"'client_request_id' exceeds the maximum length of {_LONGEST_ID} characters.")
    took = said.execution_duration
    return TraceInfo(
        id=trace,
        experiment=place.experiment_id,
        state=said.state,
        started_at=read_timestamp(said.request_time, "request_time") if said.request_time else now,
        duration=None if took is None else read_duration(took, "execution_duration"),
        client_request_id=said.client_request_id,
        request_preview=said.request_preview and said.request_preview[:_PREVIEW],
        response_preview=said.response_preview and said.response_preview[:_PREVIEW],
        tags=read_pairs(said.tags, "tags"),
        metadata=read_pairs(said.trace_metadata, "trace_metadata"),
        assessments=tuple(read_assessment(trace, one, now) for one in said.assessments),
    )


def read_pairs(values: Mapping[str, str], what: str) -> dict[str, str]:
    """Return tags or metadata as they are kept: long values are cut, as clients expect.

    Raises:
        Refused: there are too many, or a name is too long.
    """
    if len(values) > MOST_PAIRS:
        raise invalid(f"'{what}' has {len(values)} entries; {MOST_PAIRS} are the most.")
    for name in values:
        if not 0 < len(name) <= checks.KEY:
            raise invalid(f"A name in '{what}' has {len(name)} characters; 1 to {checks.KEY} are wanted.")
    return {name: checks.cut(value, checks.TAG_VALUE) for name, value in values.items() if name not in _OURS}


def checked_id(trace: str) -> str:
    """Return the id of a trace.

    Raises:
        Refused: it cannot be one.
    """
    if not _IDENT.match(trace):
        raise invalid(
            f"{trace[:120]!r} cannot be the id of a trace: 1-100 letters, digits, '-', '_' and '.' are wanted."
        )
    return trace


def read_assessment(trace: str, said: AssessmentMessage, now: int) -> Assessment:
    """Return an assessment; one without an id gets one that is made of what it says.

    Raises:
        Refused: something in it is not sound.
    """
    if not 0 < len(said.assessment_name) <= _LONGEST_NAME:
        raise invalid(f"'assessment_name' has {len(said.assessment_name)} characters; 1 to {_LONGEST_NAME} are wanted.")
    kind, value = read_value(said)
    source = said.source or Source()
    found = Assessment(
        id=checked_id(said.assessment_id) if said.assessment_id else "",
        kind=kind,
        name=said.assessment_name,
        value=said.issue.issue_name if said.issue else value.value,
        serialized=value.serialized,
        error=value.error,
        source_type=source.source_type,
        source_id=source.source_id,
        created_at=read_timestamp(said.create_time, "create_time") if said.create_time else now,
        updated_at=read_timestamp(said.last_update_time, "last_update_time") if said.last_update_time else now,
        span=said.span_id,
        rationale=said.rationale,
        metadata=read_pairs(said.metadata, "metadata"),
        overrides=said.overrides,
    )
    return found if found.id else msgspec.structs.replace(found, id=stable_id(trace, found))


class Read(msgspec.Struct, frozen=True):
    """A value as ours."""

    value: Any = None
    serialized: bool = False
    error: AssessmentError | None = None


def read_value(said: AssessmentMessage) -> tuple[AssessmentKind, Read]:
    """Return the kind of an assessment and its value.

    Raises:
        Refused: it has none, or several.
    """
    kinds: tuple[Literal["feedback", "expectation"], ...] = ("feedback", "expectation")
    given = [(kind, value) for kind in kinds if (value := getattr(said, kind)) is not None]
    if len(given) + (said.issue is not None) != 1:
        raise invalid("Exactly one of `expectation`, `feedback`, or `issue` should be specified.")
    if not given:
        return "issue", Read()
    kind, value = given[0]
    error = value.error or said.error
    if kind == "feedback":
        return kind, Read(None if value.value is msgspec.UNSET else value.value, error=error)
    if error is not None:
        raise invalid("Cannot set `error` when `expectation` is specified.")
    if value.serialized_value is None:
        if value.value in (msgspec.UNSET, None):
            raise invalid("The `value` field must be specified.")
        return kind, Read(value.value)
    if value.serialized_value.serialization_format != _FORMAT:
        raise invalid(f"Unknown serialization format {value.serialized_value.serialization_format[:40]!r}.")
    try:
        msgspec.json.decode(value.serialized_value.value)
    except (msgspec.MsgspecError, RecursionError):
        raise invalid("'serialized_value' is no JSON.") from None
    return kind, Read(value.serialized_value.value, serialized=True)

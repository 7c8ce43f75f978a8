"""What spans say of their trace: when it was, how it ended, who asked what, how many tokens it took."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.store.span_tests import as_text
from interlock.track.trace_records import (
    COST_METADATA,
    NAME_TAG,
    SESSION_METADATA,
    USAGE_METADATA,
    USER_METADATA,
    State,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interlock.store.spans import Span

INPUTS: Final = "mlflow.spanInputs"
OUTPUTS: Final = "mlflow.spanOutputs"
USAGE: Final = "mlflow.chat.tokenUsage"
_COST: Final = "mlflow.llm.cost"
_TAG: Final = "mlflow.traceTag."
_ERROR: Final = 2
_PREVIEW: Final = 1000
_LONGEST_KEY: Final = 250
_LONGEST_VALUE: Final = 8000
_OURS: Final = (
    "telemetry.sdk.",
    "mlflow.",
)  # what resources say beginning so is about the SDK, or is not theirs to say
_MESSAGES: Final = ("messages", "input", "output")


class Rollup(msgspec.Struct, frozen=True):
    """What some spans of a trace say of it; instants in microseconds since 1970 UTC.

    Attributes:
        started_at: when the first of them began.
        ended_at: when the last of them ended, or None.
        state: how the root ended; None where it is not among them, or goes on.
        name: the root's name.
        request_preview: the beginning of what it was given.
        response_preview: the beginning of what it gave back.
        tags: of the resource and the root.
        metadata: session and user.
    """

    started_at: int
    ended_at: int | None
    state: State | None
    name: str | None
    request_preview: str | None
    response_preview: str | None
    tags: dict[str, str]
    metadata: dict[str, str]


def roll_up(spans: Sequence[Span], resource: Mapping[str, Any]) -> Rollup:
    """Return what spans, of which there is at least one, say of their trace."""
    root = next((span for span in spans if not span.parent), None)
    ends = [span.ended_at for span in spans if span.ended_at]
    told = _resource_tags(resource)
    if root is not None:
        tags = {key.removeprefix(_TAG): value for key, value in root.attributes.items() if key.startswith(_TAG)}
        told |= {key: as_text(value)[:_LONGEST_VALUE] for key, value in tags.items() if 0 < len(key) <= _LONGEST_KEY}
    over = root is not None and root.ended_at
    return Rollup(
        started_at=min(span.started_at for span in spans) // 1000,
        ended_at=max(ends) // 1000 if ends else None,
        state=("ERROR" if root.status == _ERROR else "OK") if root is not None and over else None,
        name=told.get(NAME_TAG) or (root.name if root is not None else None) or None,
        request_preview=_preview(root, INPUTS, "user"),
        response_preview=_preview(root, OUTPUTS, "assistant"),
        tags=told,
        metadata=_people(spans),
    )


def usage(spans: Sequence[Span]) -> dict[str, str]:
    """Return tokens and costs of all spans of a trace, as metadata.

    A span that names its own counts for all below it: what it says includes them.
    """
    found: dict[str, str] = {}
    for key, name in ((USAGE, USAGE_METADATA), (_COST, COST_METADATA)):
        said = {span.id: numbers for span in spans if (numbers := _numbers(span.attributes.get(key)))}
        parents = {span.id: span.parent for span in spans}
        total: dict[str, float] = {}
        for ident, numbers in said.items():
            if not _below(ident, parents, said):
                for part, value in numbers.items():
                    total[part] = total.get(part, 0) + value
        if total:
            found[name] = json.dumps(total)
    return found


def _below(ident: bytes, parents: Mapping[bytes, bytes], said: Mapping[bytes, Any]) -> bool:
    seen = {ident}
    above = parents.get(ident, b"")
    while above in parents and above not in seen:
        if above in said:
            return True
        seen.add(above)
        above = parents[above]
    return False


def _numbers(value: Any) -> dict[str, float]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    if not isinstance(value, dict):
        return {}
    numbers = {k: v for k, v in value.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return {key: number for key, number in numbers.items() if abs(number) < float("inf")}


def _resource_tags(resource: Mapping[str, Any]) -> dict[str, str]:
    return {
        key: as_text(value)[:_LONGEST_VALUE]
        for key, value in resource.items()
        if 0 < len(key) <= _LONGEST_KEY and not key.startswith(_OURS)
    }


def _people(spans: Sequence[Span]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, keys in (
        (SESSION_METADATA, ("session.id", "gen_ai.conversation.id")),
        (USER_METADATA, ("user.id",)),
    ):
        said = (span.attributes[key] for span in spans for key in keys if span.attributes.get(key))
        value = next(said, None)
        if value is not None:
            found[name] = as_text(value)[:_LONGEST_VALUE]
    return found


def _preview(root: Span | None, key: str, role: str) -> str | None:
    if root is None or root.attributes.get(key) is None:
        return None
    value = root.attributes[key]
    shown = _last_message(value, role) or as_text(value)
    return shown if len(shown) <= _PREVIEW else f"{shown[: _PREVIEW - 3]}..."


def _last_message(value: Any, role: str) -> str:
    """Return the text of the last message of a role in a chat, or "" where the value is no chat."""
    if not isinstance(value, dict):
        return ""
    choices = value.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        found = [choices[0].get("message")]
    else:
        found = next((value[key] for key in _MESSAGES if isinstance(value.get(key), list)), [])
    messages = [one for one in found if isinstance(one, dict) and one.get("role") == role]
    content = messages[-1].get("content") if messages else ""
    return content if isinstance(content, str) else ""

"""The other ways in, in an OpenAPI description: health, metrics, status, the models of a container, labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from interlock.serve.openapi_parts import Operation, Schema, array, asked, closed, like, media
from interlock.serve.openapi_rows import MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from interlock.serve.openapi_scene import Scene

_KEY: Final = "Idempotency-Key"
_TEXT: Final[Schema] = {"type": "string"}
_WHEN: Final[Schema] = {"type": ["string", "null"], "description": "ISO 8601"}


def health(body: Schema, kind: str) -> Callable[[Scene], Operation]:
    """Return what describes a page that tells whether sound answers are given; both answers have one form."""

    def describe(_: Scene) -> Operation:
        found = media(body, kind)
        return Operation("Whether sound answers are given: 200, else 503.", found, further={503: found})

    return describe


def page(summary: str, form: Any, *refuses: int, unready: bool = False) -> Callable[[Scene], Operation]:
    """Return what describes a page of JSON.

    Args:
        summary: what it is.
        form: a value of its form.
        refuses: statuses of its refusals, beside the usual ones.
        unready: whether it has the same form with status 503, while no sound answers are given.
    """

    def describe(_: Scene) -> Operation:
        further = {503: media(like(form))} if unready else {}
        return Operation(summary, media(like(form)), refuses=refuses, further=further)

    return describe


def text(summary: str, kind: str = "text/plain") -> Callable[[Scene], Operation]:
    """Return what describes a page of text."""
    return lambda _: Operation(summary, media(_TEXT, kind))


def struct(summary: str, kind: Any, *refuses: int, same: int = 0) -> Callable[[Scene], Operation]:
    """Return what describes a page that is a struct.

    Args:
        summary: what it is.
        kind: the struct's type.
        refuses: statuses of its refusals, beside the usual ones.
        same: a further status with which it has the same form, or 0.
    """

    def describe(scene: Scene) -> Operation:
        found = media(scene.of(kind))
        return Operation(summary, found, refuses=refuses, further={same: found} if same else {})

    return describe


def welcome(_: Scene) -> Operation:
    """Return the description of the front page."""
    return Operation("What the server answers, and how it is asked.", media({"type": "object"}), refuses=(404, 503))


def itself(_: Scene) -> Operation:
    """Return the description of the description."""
    return Operation("This description.", media({"type": "object"}))


def load(body: Any, model: Any) -> Callable[[Scene], Operation]:
    """Return what describes SageMaker's way to load a model; the arguments are the types of body and answer."""

    def describe(scene: Scene) -> Operation:
        takes, answers = media(scene.of(body)), media(scene.of(model))
        return Operation("Load a model.", answers, takes, refuses=(403, 404, 409, 507))

    return describe


def unload(_: Scene) -> Operation:
    """Return the description of SageMaker's way to unload a model."""
    return Operation("Unload a model.", {}, refuses=(400, 403))


def models(page: Any) -> Callable[[Scene], Operation]:
    """Return what describes SageMaker's list of models; `page` is the type of its answer."""

    def describe(scene: Scene) -> Operation:
        limit = {**asked("limit", "How many models a page has, at most 100."), "schema": {"type": "integer"}}
        asks = (asked("next_page_token", "What the page before said."), limit)
        return Operation("The models that answer.", media(scene.of(page)), asks=asks, refuses=(400,))

    return describe


def labels(answer: Any, most: int, longest: Mapping[str, int]) -> Callable[[Scene], Operation]:
    """Return what describes `POST /labels`.

    Args:
        answer: the type of its answer.
        most: how many labels a body may have.
        longest: how many characters a `subject`, a `label_id` and the header `Idempotency-Key` may have.
    """

    def describe(scene: Scene) -> Operation:
        whole: Schema = {"labels": {**array(_label(scene, longest), 1), "maxItems": most}}
        takes = media(
            {"anyOf": [closed(whole), _label(scene, longest)]},
            examples={"one label": {"value": {"labels": [_EXAMPLE]}}},
        )
        takes |= media({**_TEXT, "description": "One label a line."}, "application/x-ndjson")
        takes |= media({**_TEXT, "description": "The first line names the fields."}, "text/csv")
        key = asked(
            _KEY, "A body with a key that was taken before is answered as then.", "header", maxLength=longest[_KEY]
        )
        return Operation(
            "Say the truth about predictions.",
            media(scene.of(answer)),
            takes,
            asks=(MODEL, key),
            refuses=(404, 409, 503),
        )

    return describe


_EXAMPLE: Final = {"subject": "person-1", "label": 1, "occurred_at": "2026-03-01T12:00:00Z", "label_id": "label-1"}


def _label(scene: Scene, longest: Mapping[str, int]) -> Schema:
    """Return the schema of a label: about a prediction, or about a subject."""
    label = {"type": ["integer", "number", "string", "boolean"], "description": "0 or 1, a class, or a number"}
    also = {
        "label": label,
        "observed_at": _WHEN,
        "label_id": {"type": ["string", "null"], "maxLength": longest["label_id"]},
    }
    free = ["observed_at", "label_id"]
    by_key = closed({"prediction_id": {**_TEXT, "pattern": "^[0-9A-HJKMNP-TV-Z]{26}$"}, **also}, optional=free)
    subject = {**_TEXT, "minLength": 1, "maxLength": longest["subject"]}
    by_subject = closed({"subject": subject, **also, "occurred_at": _WHEN}, optional=[*free, "occurred_at"])
    return scene.put("Label", {"anyOf": [by_key, by_subject]})

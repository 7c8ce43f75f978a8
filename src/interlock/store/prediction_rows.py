"""Predictions as records, as the payload of a block, and the facts by which files and blocks are skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Scalar = str | int | float | bool | None
Int64 = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]


class Prediction(msgspec.Struct, frozen=True, kw_only=True, gc=False):  # no cycle can go through it
    """One answer of a deployment, with what it was made from.

    Attributes:
        id: its ULID, unique for ever.
        at: when it was answered (server time), in microseconds since 1970 UTC.
        occurred_at: when the event it is about happened, where the caller says so, else `at`.
        deployment: who answered.
        model: the reference of the model version, such as `model:credit@7`.
        bundle: the digest of the bundle that was loaded.
        revision: the deployment's revision.
        request_id: the request it was part of.
        row: its row in that request, from 0.
        subject: whom it is about, or "".
        inputs: the value of each input column.
        score: what the model said, such as the chance (0-1) of the positive class.
        label: the class it decided for.
        route: which route of the deployment answered: `champion`, `challenger` ...
    """

    id: str
    at: Int64
    occurred_at: Int64
    deployment: str
    model: str
    bundle: str
    revision: Int64
    request_id: str
    row: Int64
    subject: str
    inputs: dict[str, Scalar]
    score: float
    label: Int64
    route: str


class Filter(msgspec.Struct, frozen=True):
    """Which predictions are wanted; what is not said does not matter.

    Attributes:
        deployment: who answered, or "" for all.
        since: the first `occurred_at`, in microseconds.
        until: the first `occurred_at` that is too late.
        id: the id.
        subject: whom they are about.
    """

    deployment: str = ""
    since: int | None = None
    until: int | None = None
    id: str | None = None
    subject: str | None = None

    def matches(self, row: Prediction) -> bool:
        """Return whether a prediction is wanted."""
        return (
            (not self.deployment or row.deployment == self.deployment)
            and (self.since is None or row.occurred_at >= self.since)
            and (self.until is None or row.occurred_at < self.until)
            and (self.id is None or row.id == self.id)
            and (self.subject is None or row.subject == self.subject)
        )


class Span(msgspec.Struct, frozen=True):
    """The rows of one deployment in a file or block: how many, and their first and last `occurred_at`."""

    rows: int
    first: int
    last: int


class Facts(msgspec.Struct, frozen=True):
    """What a file or block holds, so that a search may skip it: first and last id, and each deployment's span."""

    first_id: str
    last_id: str
    spans: dict[str, Span]

    def may_match(self, wanted: Filter) -> bool:
        """Return whether a row of it may pass a filter."""
        if wanted.id is not None and not self.first_id <= wanted.id <= self.last_id:
            return False
        return any(
            (wanted.since is None or span.last >= wanted.since) and (wanted.until is None or span.first < wanted.until)
            for name, span in self.spans.items()
            if wanted.deployment in {"", name}
        )

    def watermark(self, deployment: str) -> int | None:
        """Return the last `occurred_at` of a deployment ("" for all), or None."""
        return max((span.last for name, span in self.spans.items() if deployment in {"", name}), default=None)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Prediction])


def encode(rows: Sequence[Prediction]) -> bytes:
    """Return predictions as the payload of a block, tried: what is returned can be read again.

    Raises:
        ValueError: a field or an input holds what it may not.

    Cost: about 1 us a row, most of it for the trial: a row that cannot be read would take its whole block with it.
    """
    try:
        payload = _encoder.encode(rows)
    except (OverflowError, TypeError) as error:
        raise ValueError(str(error)) from None
    _decoder.decode(payload)  # a msgspec.ValidationError is a ValueError
    return payload


def decode(payload: bytes) -> list[Prediction]:
    """Return the predictions of a block.

    Raises:
        ValueError: it holds none.
    """
    return _decoder.decode(payload)


def facts_of(rows: Iterable[Prediction]) -> Facts:
    """Return the facts of some predictions."""
    times: dict[str, list[int]] = {}
    first = last = ""
    for row in rows:
        times.setdefault(row.deployment, []).append(row.occurred_at)
        first = row.id if not last or row.id < first else first
        last = max(last, row.id)
    return Facts(first, last, {name: Span(len(found), min(found), max(found)) for name, found in times.items()})

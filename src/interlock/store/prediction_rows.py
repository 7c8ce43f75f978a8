"""Predictions as records, as the payload of a block, and the facts by which files and blocks are skipped.

A server logs by the request: an `Answered` has its rows by column and names what they share once. A block is msgpack,
`[headers, answered]`, where those of one model share a header. Blocks of single rows, as they were written before, are
read too.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
        caller: who asked: the address, or whom a proxy named; "" where it was not recorded.
        latency_s: how long the answer took, from the whole request to the hand-over here; 0.0 where not recorded.
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
    caller: str = ""
    latency_s: float = 0.0


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


class Source(msgspec.Struct, frozen=True, array_like=True):
    """What answers of one route share: see `Prediction`; `names` are those of the input columns, in order."""

    deployment: str
    model: str
    bundle: str
    revision: Int64
    route: str
    names: tuple[str, ...]


class Answered(msgspec.Struct, array_like=True, gc=False):  # no cycle can go through it
    """What one route answered to one request.

    Attributes:
        source: who answered.
        ids: the prediction ids.
        at: when, in microseconds since 1970 UTC.
        request_id: the request.
        caller: who asked.
        latency_s: how long it took.
        columns: the values of each input column, in the order of `source.names`; many numbers as their bytes, float64
            in little-endian order, where NaN is a missing value.
        scores: what the model said, one a row.
        labels: the class it decided for, one a row.
        rows: the numbers of the rows in the request; empty means 0, 1, 2 ...
        subjects: whom each row is about; empty means nobody.
        occurred_at: when each row's case happened; empty means `at`.
    """

    source: Source
    ids: Sequence[str]
    at: int
    request_id: str
    caller: str
    latency_s: float
    columns: Sequence[Sequence[Any] | bytes]
    scores: Sequence[float]
    labels: Sequence[int]
    rows: Sequence[int] = ()
    subjects: Sequence[str] = ()
    occurred_at: Sequence[int] = ()

    def predictions(self) -> Iterator[Prediction]:
        """Yield its rows."""
        source = self.source
        columns = [_values(column) for column in self.columns]
        for place, (ident, score, label, *values) in enumerate(
            zip(self.ids, self.scores, self.labels, *columns, strict=True)
        ):
            yield Prediction(
                id=ident,
                at=self.at,
                occurred_at=self.occurred_at[place] if self.occurred_at else self.at,
                deployment=source.deployment,
                model=source.model,
                bundle=source.bundle,
                revision=source.revision,
                request_id=self.request_id,
                row=self.rows[place] if self.rows else place,
                subject=self.subjects[place] if self.subjects else "",
                inputs=dict(zip(source.names, values, strict=True)),
                score=score,
                label=label,
                route=source.route,
                caller=self.caller,
                latency_s=self.latency_s,
            )


class _Entry(msgspec.Struct, array_like=True, frozen=True):
    """An `Answered` as a block holds it: `source` is the number of its header there."""

    source: int
    ids: tuple[str, ...]
    at: Int64
    request_id: str
    caller: str
    latency_s: float
    columns: tuple[tuple[Scalar, ...] | bytes, ...]
    scores: tuple[float, ...]
    labels: tuple[Int64, ...]
    rows: tuple[Int64, ...] = ()
    subjects: tuple[str, ...] = ()
    occurred_at: tuple[Int64, ...] = ()


class _Block(msgspec.Struct, array_like=True, frozen=True):
    """The payload of a block."""

    sources: tuple[Source, ...]
    entries: tuple[_Entry, ...]


_encoder = msgspec.msgpack.Encoder()
_rows_decoder = msgspec.msgpack.Decoder(list[Prediction])
_block_decoder = msgspec.msgpack.Decoder(_Block)
_MAP: Final = (0x80, 0xDE)  # how a row begins: a small map, or a larger one


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
    _rows_decoder.decode(payload)  # a msgspec.ValidationError is a ValueError
    return payload


def encode_answered(answered: Sequence[Answered]) -> bytes:
    """Return answers as the payload of a block; their values are those that `InputColumns.prepare` lets through.

    Raises:
        ValueError: one holds what cannot be stored.

    Cost: 1.5 us, and 20 ns a value.
    """
    sources: dict[int, int] = {}
    heads: list[Source] = []
    entries: list[tuple[Any, ...]] = []
    for one in answered:
        number = sources.get(id(one.source))
        if number is None:
            number = sources[id(one.source)] = len(heads)
            heads.append(one.source)
        entries.append(
            (
                number,
                one.ids,
                one.at,
                one.request_id,
                one.caller,
                one.latency_s,
                one.columns,
                one.scores,
                one.labels,
                one.rows,
                one.subjects,
                one.occurred_at,
            )
        )
    try:
        return _encoder.encode((heads, entries))
    except (OverflowError, TypeError, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from None


def decode(payload: bytes) -> list[Prediction]:
    """Return the predictions of a block.

    Raises:
        ValueError: it holds none.
    """
    if _is_of_rows(payload):
        return _rows_decoder.decode(payload)
    block = _block_decoder.decode(payload)
    found: list[Prediction] = []
    for entry in block.entries:
        if not 0 <= entry.source < len(block.sources):
            raise ValueError(f"a row of header {entry.source}, of which there are {len(block.sources)}")
        found += Answered(
            block.sources[entry.source],
            entry.ids,
            entry.at,
            entry.request_id,
            entry.caller,
            entry.latency_s,
            entry.columns,
            entry.scores,
            entry.labels,
            entry.rows,
            entry.subjects,
            entry.occurred_at,
        ).predictions()
    return found


def _is_of_rows(payload: bytes) -> bool:
    """Return whether a payload is an array of rows, each a map; what is not is two arrays."""
    first = payload[:1]
    skip = {0xDC: 3, 0xDD: 5}.get(first[0], 1) if first else 0
    kind = payload[skip] if len(payload) > skip else 0x80
    return kind & 0xF0 == _MAP[0] or kind == _MAP[1]


def _values(column: Sequence[Any] | bytes) -> Sequence[Any]:
    """Return the values of a column, however it is held."""
    if not isinstance(column, bytes):
        return column
    numbers = array("d", column)
    if sys.byteorder == "big":
        numbers.byteswap()
    return [None if number != number else number for number in numbers]  # noqa: PLR0124 - NaN is what differs from itself


def facts_of(rows: Iterable[Prediction]) -> Facts:
    """Return the facts of some predictions."""
    times: dict[str, list[int]] = {}
    first = last = ""
    for row in rows:
        times.setdefault(row.deployment, []).append(row.occurred_at)
        first = row.id if not last or row.id < first else first
        last = max(last, row.id)
    return Facts(first, last, {name: Span(len(found), min(found), max(found)) for name, found in times.items()})

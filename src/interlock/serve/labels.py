"""`POST /labels`: the truth about predictions, whenever it comes. What a label is, and which counts: `store/labels.py`.

A body is JSON (one label or `{"labels": [...]}`), JSON lines (`application/x-ndjson`), or CSV with a header row:

    {"labels": [{"prediction_id": "01...", "label": 1, "observed_at": "2026-09-01T12:00:00Z"},
                {"subject": "p1", "label": 0, "occurred_at": "2026-03-01", "label_id": "crm-7"}]}

What is a truth depends on the model (`serve/truths.py`): 0 or 1, one of more classes, or a number.

The answer, `{"counts": {...}, "statuses": [...], "refused": [{"row": 3, "reason": ...}], "replayed": false}`, leaves
once all that is new is on disk. One wrong label refuses the body, by row numbers (from 0); no value is quoted.
"""

from __future__ import annotations

import asyncio
import csv
import difflib
import io
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.actor import acting_as
from interlock.core.clock import to_micros
from interlock.core.errors import Invalid, Unavailable
from interlock.core.ids import is_ulid
from interlock.serve import openapi_pages as pages
from interlock.serve.engine import deployment_of
from interlock.serve.http import UNREADABLE, Endpoint, Response, refusal, to_json, unreadable
from interlock.serve.metadata import LONGEST_SUBJECT
from interlock.serve.truths import DEFAULT, readings
from interlock.store.label_times import DAY, parse_case, parse_observed
from interlock.store.labels import ALWAYS, PREDICTION, REFUSALS, STATUSES, SUBJECT, Body, Label
from interlock.store.labels import Labels as Book

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interlock.core.ports import Transaction
    from interlock.serve.engine import Engine
    from interlock.serve.http import Request
    from interlock.serve.truths import Reading
    from interlock.store import Store
    from interlock.store.labels import Taken

MAX_LABELS: Final = 100_000
MAX_BODY_BYTES: Final = 16_000_000
MAX_UNDER_WAY: Final = 16
_FIELDS: Final = frozenset({"prediction_id", "subject", "label", "observed_at", "occurred_at", "label_id"})
_LONGEST: Final = {"subject": LONGEST_SUBJECT, "label_id": 200}
_LONGEST_KEY: Final = 200
_SHOWN: Final = 10
_FORM: Final = 'A body is {"labels": [{"prediction_id": "...", "label": 1}, ...]}; see the reference, "Labels".'


class Refused(msgspec.Struct, frozen=True):
    """A label that was not kept, and why."""

    row: int
    reason: str


class LabelAnswer(msgspec.Struct, frozen=True):
    """What became of a body's labels.

    Attributes:
        counts: how many have each status.
        statuses: one a label, in the order of the body.
        refused: those that were not kept.
        replayed: whether this body was taken before, and this is the answer from then.
    """

    counts: dict[str, int]
    statuses: list[str]
    refused: list[Refused]
    replayed: bool


class Labels:
    """The endpoint over a server's engines. `?model=NAME` says whose the labels by subject are; else the first one's.

    Args:
        engine: whose deployment the labels are of, and those of its fleet.
        store: where they are kept.
    """

    def __init__(self, engine: Engine, store: Store) -> None:
        self._engine = engine
        self._store = store
        self._book = Book(store)
        self._under_way = 0
        self._readings: dict[str, Reading] = {}

    def routes(self) -> list[Endpoint]:
        """Return the endpoint."""
        say = pages.labels(LabelAnswer, MAX_LABELS, {**_LONGEST, "Idempotency-Key": _LONGEST_KEY})
        return [Endpoint("POST", "/labels", self._label, body_bytes=MAX_BODY_BYTES, describe=say)]

    async def _label(self, request: Request) -> Response:
        if self._under_way >= MAX_UNDER_WAY:
            raise Unavailable("The server has labels enough for now.", about="labels", hint="Come back in a second.")
        self._under_way += 1
        try:  # not in the pool of the models: whoever waits for the database keeps no prediction waiting
            return Response(await asyncio.to_thread(self._take, request))
        finally:
            self._under_way -= 1

    def _take(self, request: Request) -> bytes:
        key = request.header(b"idempotency-key")
        if len(key) > _LONGEST_KEY:
            raise Invalid(f"The Idempotency-Key has more than {_LONGEST_KEY} characters.", about="labels")
        rows = read_rows(request)
        name = self._home(request)
        owners = self._store.predictions.owners(_asked(rows))
        known = self._readings = readings(self._engine.all(), self._readings)
        labels = read_labels(
            rows,
            to_micros(self._store.clock.now()),
            lambda prediction: known.get(owners.get(prediction, name), DEFAULT),
        )
        others = frozenset(known) - {name}
        caller_key = f"key:{key}" if key else ""
        body = Body(name, labels, caller_key, source=_source(request), owners=owners, others=others)

        def then(tx: Transaction, taken: Taken) -> None:
            data = {"digest": taken.digest, "rows": len(labels), "kept": taken.kept}
            corrections = taken.counts["correction"]
            self._store.ledger.append(tx, "labels.received", f"deployment:{name}", {**data, "corrections": corrections})

        with acting_as(f"server:{name}"):
            return to_json(_answer(self._book.take(body, then), labels, owners))

    def _home(self, request: Request) -> str:
        """Return the deployment that labels are of which name no prediction on record."""
        if named := request.asked("model"):
            return self._engine.named(named)[1].deployment
        engines = self._engine.all()
        return deployment_of(engines[0]) if engines else self._engine.name


def _asked(rows: Sequence[object]) -> set[str]:
    """Return the predictions that rows name."""
    named = [row.get("prediction_id") for row in rows if isinstance(row, dict)]
    return {value for value in named if isinstance(value, str) and is_ulid(value)}


def _source(request: Request) -> str:
    return f"request:{request.id}" + (f" from {request.peer}" if request.peer else "")


def _answer(taken: Taken, labels: Sequence[Label], owners: dict[str, str]) -> LabelAnswer:
    refused = []
    for row, letter in enumerate(taken.answer):
        if letter in REFUSALS:
            owner = owners.get(labels[row].about.removeprefix(PREDICTION), "") if letter == "o" else ""
            refused.append(Refused(row, REFUSALS[letter] + (f", {owner!r}" if owner else "")))
    return LabelAnswer(taken.counts, [STATUSES[letter] for letter in taken.answer], refused, taken.replayed)


def read_rows(request: Request) -> list[object]:
    """Return the rows of a request's body.

    Raises:
        Invalid: it is not what its Content-Type says, or has no rows or too many.
    """
    kind = request.header(b"content-type").partition(";")[0].strip().lower()
    read = _READERS.get(kind)
    if read is None:
        raise refusal(415, "Labels are application/json, application/x-ndjson or text/csv.", hint=_FORM)
    try:
        rows = read(request.body)
    except UNREADABLE as error:
        raise unreadable(error, hint=_FORM) from None
    if not rows:
        raise Invalid("There are no labels in the body.", about="labels", hint=_FORM)
    if len(rows) > MAX_LABELS:
        raise Invalid(
            f"There are more than {MAX_LABELS} labels in the body.", about="labels", hint="Send them in parts."
        )
    return rows


def read_labels(rows: Sequence[object], now: int, reading: Callable[[str], Reading]) -> list[Label]:
    """Return the labels that rows say.

    Args:
        rows: the rows.
        now: the present instant, in microseconds.
        reading: how labels of a prediction are read; of "", those by subject.

    Raises:
        Invalid: some are wrong: by row numbers.
    """
    labels: list[Label] = []
    wrong: list[str] = []
    for number, row in enumerate(rows):
        try:
            labels.append(_label(row, number, now, reading))
        except ValueError as error:
            wrong.append(f"Row {number}: {error}.")
    if wrong:
        told = " ".join(wrong[:_SHOWN])
        more = f" And {len(wrong) - _SHOWN} more." if len(wrong) > _SHOWN else ""
        raise Invalid(f"{len(wrong)} of {len(rows)} labels are wrong; none is kept. {told}{more}", about="labels")
    return labels


def _label(row: object, number: int, now: int, reading: Callable[[str], Reading]) -> Label:
    """Return the label that a row says.

    Raises:
        ValueError: it says none; the message names the field.
    """
    if not isinstance(row, dict):
        raise ValueError("it is no object")  # noqa: TRY004 - one kind of error for all that is wrong in a row
    if not _FIELDS.issuperset(row):
        near = [one for name in row if name not in _FIELDS for one in difflib.get_close_matches(name, _FIELDS, 1)]
        meant = f"; one is nearly {near[0]}" if near else ""
        raise ValueError(f"it has a field beside {', '.join(sorted(_FIELDS))}{meant}")
    prediction, subject = _text(row, "prediction_id"), _text(row, "subject")
    if bool(prediction) == bool(subject):
        raise ValueError("it needs either prediction_id or subject")
    if prediction and not is_ulid(prediction):
        raise ValueError("prediction_id is no id of a prediction")
    case, observed = _text(row, "occurred_at"), _text(row, "observed_at")
    if prediction and case:
        raise ValueError("occurred_at is for labels by subject; a prediction has its own")
    since, until = _instant("occurred_at", case, parse_case) if case else ALWAYS
    at = _instant("observed_at", observed, parse_observed) if observed else None
    if at is not None and at > now + DAY:
        raise ValueError("observed_at lies ahead")
    about = PREDICTION + prediction if prediction else SUBJECT + subject
    return Label(about, reading(prediction).truth(row.get("label")), at, since, until, _text(row, "label_id"), number)


def _text(row: dict[str, Any], name: str) -> str:
    """Return a field that holds a text, or "" when it is not said."""
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text")  # noqa: TRY004 - as above
    if len(value) > _LONGEST.get(name, _LONGEST_KEY):
        raise ValueError(f"{name} is longer than {_LONGEST.get(name, _LONGEST_KEY)} characters")
    return value


def _instant(name: str, text: str, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(text)
    except ValueError:
        raise ValueError(f"{name} is no instant such as 2026-03-01T12:00:00Z") from None


def _from_json(body: bytes) -> list[object]:
    found = msgspec.json.decode(body)
    if isinstance(found, dict) and "labels" in found:
        labels = found["labels"]
        if len(found) > 1 or not isinstance(labels, list):
            raise Invalid("`labels` is a list, and nothing stands beside it.", about="labels", hint=_FORM)
        return labels
    return [found]


def _from_lines(body: bytes) -> list[object]:
    return msgspec.json.Decoder().decode_lines(body)


def _from_csv(body: bytes) -> list[object]:
    reader = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
    try:
        names = next(reader, [])
        lines = [line for line in reader if line]
    except csv.Error:
        raise Invalid(f"The body is no CSV from line {reader.line_num} on.", about="labels") from None
    if "label" not in names or len({*names}) < len(names) or not _FIELDS.issuperset(names):
        raise Invalid(
            "The header row is not that of labels.",
            about="labels",
            hint=f"Columns are {', '.join(sorted(_FIELDS))}; label, and prediction_id or subject, are needed.",
        )
    width = len(names)
    # A line of another length is no object, and is refused by its number with the others.
    return [dict(zip(names, line, strict=True)) if len(line) == width else None for line in lines]


_READERS: Final[dict[str, Callable[[bytes], list[object]]]] = {
    "": _from_json,
    "application/json": _from_json,
    "application/x-ndjson": _from_lines,
    "application/jsonl": _from_lines,
    "text/csv": _from_csv,
}

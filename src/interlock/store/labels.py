"""Labels: the truth about predictions, whenever it comes; each once, and every correction kept.

A label is about one *thing*: a prediction, or a subject in a span of time. All labels of a thing stay on record; the
one observed last counts, of several such the one received last. The data plane and the monitor take labels here. What a
truth is depends on the model: see `store/label_truths.py`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.actor import current_actor
from interlock.core.clock import from_micros, to_micros
from interlock.core.errors import Conflict
from interlock.store.label_truths import Truth, columns_of, shown, truth_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from interlock.core.ports import Reader, Row, Transaction
    from interlock.store import Store

PREDICTION: Final = "prediction:"
SUBJECT: Final = "subject:"
ALWAYS: Final = (-(1 << 63), (1 << 63) - 1)
"""The span of a label that says no time: every case up to the instant at which its truth was observed."""
STATUSES: Final = {
    "a": "accepted",
    "d": "duplicate",
    "c": "correction",
    "s": "superseded",
    "u": "unknown_prediction",
    "i": "refused",
    "o": "refused",
}
REFUSALS: Final = {
    "i": "its label_id was used for another label before",
    "o": "its prediction was made by another deployment",
}
_PAGE: Final = 100  # the cost of a statement grows with the square of its named values
_INSERT: Final = (
    "INSERT INTO labels (body, position, deployment, about, since, until, kind, label, number, class, observed_at,"
    " dated, label_id, counts) VALUES (:body, :position, :deployment, :about, :since, :until, :kind, :label, :number,"
    " :class, :observed_at, :dated, :label_id, :counts)"
)
_INSERT_BODY: Final = (
    "INSERT INTO label_bodies (id, deployment, caller_key, digest, file, rows, kept, received_at, actor, source,"
    " answer) VALUES (:id, :deployment, :key, :digest, :file, :rows, :kept, :at, :actor, :source, :answer)"
)


class Label(msgspec.Struct, frozen=True, gc=False):
    """A label as somebody says it.

    Attributes:
        about: `prediction:ID` or `subject:TEXT`.
        label: the truth: of two classes 0 or 1.
        observed_at: when it was observed, in microseconds, or None: when it is received.
        since: the first instant of the cases it is about.
        until: the last one.
        label_id: what the caller calls it, or "".
        position: its row in the body.
    """

    about: str
    label: Truth
    observed_at: int | None = None
    since: int = ALWAYS[0]
    until: int = ALWAYS[1]
    label_id: str = ""
    position: int = 0


class Body(msgspec.Struct, frozen=True):
    """Labels that come at once; all are on disk after that, or none is.

    Attributes:
        deployment: whose predictions they are about.
        labels: the labels, by position.
        key: what names the body, so that it is taken once, or "".
        file: the object with the further columns of its rows, or "".
        source: the request or monitor that they came by.
        further: whether rows have further columns, so that a row which repeats a truth is kept for them.
        owners: who answered those predictions that are on record; None where that was not looked up.
        others: further deployments of the same server; a label of a prediction of theirs is kept as theirs.
        received_at: when it came, in microseconds, where that was before.
    """

    deployment: str
    labels: Sequence[Label]
    key: str = ""
    file: str = ""
    source: str = ""
    further: bool = False
    owners: Mapping[str, str] | None = None
    received_at: int | None = None
    others: frozenset[str] = frozenset()


class Taken(msgspec.Struct, frozen=True):
    """What became of a body.

    Attributes:
        answer: a letter of `STATUSES` for each label.
        digest: the digest of its labels.
        kept: how many are on record by it.
        received_at: when it was received first, in microseconds.
        replayed: whether it was taken before, and this is the answer from then.
    """

    answer: str
    digest: str
    kept: int
    received_at: int
    replayed: bool = False

    @property
    def counts(self) -> dict[str, int]:
        """How many labels have each status."""
        found = dict.fromkeys(STATUSES.values(), 0)
        for letter, count in Counter(self.answer).items():
            found[STATUSES[letter]] += count
        return found


class KeptLabel(msgspec.Struct, frozen=True, kw_only=True):
    """A label on record.

    Attributes:
        about: the prediction or subject.
        label: the truth that was said: of two classes 0 or 1, of more the class, of a regression the number.
        counts: whether it is the newest of what it is about.
        observed_at: when the truth was observed; when it was received, where nobody said.
        received_at: when it came.
        actor: who brought it.
        source: the request or monitor that it came by.
        since: the first instant of the cases it is about, or None.
        until: the last one, or None.
    """

    about: str
    label: int | float | str
    counts: bool
    observed_at: datetime
    received_at: datetime
    actor: str
    source: str
    deployment: str
    since: datetime | None
    until: datetime | None
    label_id: str = ""


class Labels:
    """The labels of a workspace. Any process may take some and any may read.

    Args:
        store: the workspace.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def take(self, body: Body, then: Callable[[Transaction, Taken], None]) -> Taken:
        """Return what became of labels, once that is on disk.

        A label is a *duplicate*, and changes nothing, when its label_id is on record; without one, when the same truth
        of the same thing is, observed at the same instant; without an instant either, when the same truth of the same
        thing is on record, which was said without an instant. In a body with a key only a truth that counts
        already is repeated: such a body is taken once, so what it says anew is meant.

        Args:
            body: the labels.
            then: called in the same transaction when any was kept; it writes the event.

        Raises:
            Conflict: its key was used for another body.

        Cost: 5 us a label and a look-up of its thing; one transaction.
        """
        digest = digest_of(body.labels)
        return self._store.database.write(lambda tx: self._take(tx, body, digest, then))

    def said(self, about: str) -> list[KeptLabel]:
        """Return all labels of a prediction or subject (`prediction:ID`, `subject:TEXT`), in the order of receipt."""
        rows = self._store.database.all(
            "SELECT l.*, b.received_at, b.actor, b.source FROM labels l JOIN label_bodies b ON b.id = l.body"
            " WHERE l.about = :about ORDER BY l.body, l.position",
            {"about": about},
        )
        return [_kept(row) for row in rows]

    def current(self, deployment: str, first: str, last: str) -> list[Row]:
        """Return the labels that count of things whose name is between two, as rows with the body's file; oldest first.

        Cost: through an index; 3 us a label.
        """
        return self._store.database.all(
            "SELECT l.about, l.since, l.until, l.kind, l.label, l.number, l.class, l.observed_at, l.body, l.position,"
            " b.file FROM labels l JOIN label_bodies b ON b.id = l.body WHERE l.deployment = :deployment"
            " AND l.about >= :first AND l.about <= :last AND l.counts = 1 ORDER BY l.observed_at, l.body, l.position",
            {"deployment": deployment, "first": first, "last": last},
        )

    def _take(self, tx: Transaction, body: Body, digest: str, then: Callable[[Transaction, Taken], None]) -> Taken:
        if body.key and (held := _held(tx, body, digest)):
            return held
        newest = tx.one("SELECT id, received_at FROM label_bodies ORDER BY id DESC LIMIT 1")
        at = body.received_at
        if at is None:  # a clock that was set back does not turn the order round
            at = max(to_micros(self._store.clock.now()), newest["received_at"] if newest else ALWAYS[0])
        number = newest["id"] + 1 if newest else 1
        intake = _Intake(tx, body, number, at)
        answer = "".join([intake.add(label) for label in body.labels])
        taken = Taken(answer, digest, len(intake.added), at)
        if intake.added or body.key:
            values = {"id": number, "deployment": body.deployment, "key": body.key, "digest": digest, "file": body.file}
            values |= {"rows": len(body.labels), "kept": taken.kept, "at": at, "actor": current_actor()}
            tx.run(_INSERT_BODY, values | {"source": body.source, "answer": answer if body.key else ""})
            intake.write()
        if intake.added:
            then(tx, taken)
        return taken


def digest_of(labels: Iterable[Label]) -> str:
    """Return the digest of labels: that of their fields as JSON, one a line."""
    found = hashlib.sha256()
    encode = msgspec.json.Encoder().encode
    for label in labels:
        found.update(encode(label))
        found.update(b"\n")
    return found.hexdigest()


class _Intake:
    """A body on its way into the tables: what is on record of its things, and what it adds."""

    def __init__(self, tx: Transaction, body: Body, number: int, at: int) -> None:
        self._tx, self._body, self._number, self._at = tx, body, number, at
        self.added: list[Row] = []
        self._beaten: list[Row] = []
        self._things: dict[tuple[str, str, int, int], list[Row]] = {}
        self._ids: dict[tuple[str, str], Row] = {}
        homes: dict[str, list[Label]] = {}
        for label in body.labels:
            homes.setdefault(self._home(label), []).append(label)
        for home, labels in homes.items():
            for row in _pages(tx, home, "about", {label.about for label in labels}):
                self._things.setdefault((home, row["about"], row["since"], row["until"]), []).append(row)
            for row in _pages(tx, home, "label_id", {label.label_id for label in labels} - {""}):
                self._ids[home, row["label_id"]] = row

    def add(self, label: Label) -> str:
        """Return the letter of what becomes of a label."""
        owners, name = self._body.owners, label.about.removeprefix(PREDICTION)
        about_prediction = owners is not None and label.about.startswith(PREDICTION)
        owner = owners.get(name, "") if owners is not None and about_prediction else ""
        home = self._home(label)
        if owner and owner != home:
            return "o"
        if label.label_id and (held := self._ids.get((home, label.label_id))):
            return "d" if _same(held, label) else "i"
        thing = self._things.setdefault((home, label.about, label.since, label.until), [])
        counting = next((row for row in thing if row["counts"]), None)
        if not label.label_id and self._is_known(label, thing, counting):
            return "d"
        row = self._row(label)
        wins = counting is None or row["observed_at"] >= counting["observed_at"]
        row["counts"] = int(wins)
        thing.append(row)
        self.added.append(row)
        if label.label_id:
            self._ids[home, label.label_id] = row
        if counting is None:
            return "u" if about_prediction and not owner else "a"
        if wins:
            counting["counts"] = 0
            if counting["body"] != self._number:
                self._beaten.append(counting)
        if truth_of(counting) == label.label:
            return "a"
        return "c" if wins else "s"

    def write(self) -> None:
        """Write what was added, and take the count from those that it beats."""
        self._tx.run_many("UPDATE labels SET counts = 0 WHERE body = :body AND position = :position", self._places())
        self._tx.run_many(_INSERT, self.added)

    def _places(self) -> Iterator[Row]:
        return ({"body": row["body"], "position": row["position"]} for row in self._beaten)

    def _is_known(self, label: Label, thing: list[Row], counting: Row | None) -> bool:
        if label.observed_at is not None:
            key = (label.label, label.observed_at, 1)
            return any((truth_of(row), row["observed_at"], row["dated"]) == key for row in thing)
        if self._body.key:
            return counting is not None and truth_of(counting) == label.label and not self._body.further
        return any(truth_of(row) == label.label and not row["dated"] for row in thing)

    def _home(self, label: Label) -> str:
        """Return the deployment that a label is kept for."""
        body = self._body
        if not body.others or body.owners is None or not label.about.startswith(PREDICTION):
            return body.deployment
        owner = body.owners.get(label.about.removeprefix(PREDICTION), "")
        return owner if owner in body.others else body.deployment

    def _row(self, label: Label) -> Row:
        return {
            "body": self._number,
            "position": label.position,
            "deployment": self._home(label),
            "about": label.about,
            "since": label.since,
            "until": label.until,
            **columns_of(label.label),
            "observed_at": self._at if label.observed_at is None else label.observed_at,
            "dated": int(label.observed_at is not None),
            "label_id": label.label_id,
        }


def _held(tx: Transaction, body: Body, digest: str) -> Taken | None:
    """Return the answer that a body of this key was given, or None."""
    row = tx.one(
        "SELECT digest, kept, received_at, answer FROM label_bodies WHERE deployment = :d AND caller_key = :key",
        {"d": body.deployment, "key": body.key},
    )
    if row is None:
        return None
    if row["digest"] != digest:
        raise Conflict(
            "This Idempotency-Key was used for other labels before.",
            about="labels",
            hint="Give each body a key of its own, and send a body again as it was.",
        )
    return Taken(row["answer"], row["digest"], row["kept"], row["received_at"], replayed=True)


def _pages(tx: Reader, deployment: str, column: str, names: Iterable[str]) -> Iterator[Row]:
    """Yield the labels on record whose column has one of these values."""
    wanted = sorted(names)
    for start in range(0, len(wanted), _PAGE):
        values = {f"v{number}": name for number, name in enumerate(wanted[start : start + _PAGE])}
        places = ", ".join(f":{name}" for name in values)
        more = " AND label_id <> ''" if column == "label_id" else ""  # that is what its index is of
        yield from tx.all(
            "SELECT about, since, until, kind, label, number, class, observed_at, dated, label_id, counts, body,"  # noqa: S608 - names of ours
            f" position FROM labels WHERE deployment = :deployment AND {column} IN ({places}){more}",
            {"deployment": deployment, **values},
        )


def _same(row: Row, label: Label) -> bool:
    """Return whether a label on record says what this one says."""
    mine = (label.about, label.since, label.until, label.label, int(label.observed_at is not None))
    instant = label.observed_at in {None, row["observed_at"]}
    return instant and mine == (row["about"], row["since"], row["until"], truth_of(row), row["dated"])


def _kept(row: Row) -> KeptLabel:
    return KeptLabel(
        about=row["about"],
        label=shown(truth_of(row)),
        counts=bool(row["counts"]),
        observed_at=from_micros(row["observed_at"]),
        received_at=from_micros(row["received_at"]),
        actor=row["actor"],
        source=row["source"],
        deployment=row["deployment"],
        since=None if row["since"] == ALWAYS[0] else from_micros(row["since"]),
        until=None if row["until"] == ALWAYS[1] else from_micros(row["until"]),
        label_id=row["label_id"],
    )

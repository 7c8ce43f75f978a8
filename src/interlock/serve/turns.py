"""One request on its way through the models: which route answers which rows, and what the log keeps of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from interlock.core.errors import Invalid, NotFound
from interlock.serve.casts import cast_text
from interlock.serve.columns import Value
from interlock.serve.guard import Warned, header_of
from interlock.serve.http import LONGEST_ID
from interlock.serve.model import Scores
from interlock.serve.prepared import Prepared
from interlock.serve.revision import LiveRoute, Revision, View
from interlock.serve.row_ids import row_ids
from interlock.store.predictions import Answered

MAX_ROWS: Final = 100_000


class Ask(msgspec.Struct):
    """A request for predictions, whatever protocol it came by.

    Attributes:
        columns: one list of values a column.
        rows: how many rows there are.
        subjects: whom each row is about; empty when nobody said.
        occurred_at: when each row's case happened, in microseconds; empty means now.
        extras: whether columns that no model knows are dropped or refused.
        text: whether all values are text that is to be read as the columns' types.
        even: whether the values of each column are of one type.
        typed: the rows in the model's order, where a reader of the view's has checked their types; then `columns` is
            empty.
        by_column: whether `typed` has a list a column instead.
        caller: who asks.
    """

    columns: Mapping[str, Sequence[Value]]
    rows: int
    subjects: Sequence[str] = ()
    occurred_at: Sequence[int] = ()
    extras: Literal["drop", "refuse"] = "drop"
    text: bool = False
    even: bool = False
    typed: Sequence[Sequence[Value]] = ()
    by_column: bool = False
    caller: str = ""


class Answer(msgspec.Struct):
    """What came out, one a row, and who answered.

    Attributes:
        ids: prediction ids, in the order of the rows.
        scores: probabilities of the positive class, or of the chosen one of several; values of a regression.
        labels: classes; None of a regression.
        target: the column that is predicted.
        routes: the routes that answered at least one row.
        headers: model, revision, configuration and warnings, as response headers.
        warned: what is strange about the answers, and of which route.
        parts: the rows of each route.
        found: all that their models answered, in the same order.
    """

    ids: list[str]
    scores: list[float]
    labels: list[Any]
    target: str
    routes: list[LiveRoute]
    headers: tuple[tuple[bytes, bytes], ...]
    warned: Sequence[tuple[LiveRoute, Warned]] = ()
    parts: Sequence[Part] = ()
    found: Sequence[Scores] = ()

    @property
    def model(self) -> str:
        """The versions that answered, as one text."""
        return self.routes[0].route.model if len(self.routes) == 1 else ", ".join(r.route.model for r in self.routes)

    @property
    def regression(self) -> bool:
        """Whether the scores are values."""
        return self.routes[0].model.bundle.task == "regression"

    @property
    def values(self) -> list[Any]:
        """What is predicted, one a row: classes, or the values of a regression."""
        return self.scores if self.regression else self.labels


class Part(msgspec.Struct):
    """The rows of a request that one route answers: their numbers, or None for all; and as its model takes them."""

    live: LiveRoute
    rows: Sequence[int] | None
    prepared: Prepared


class Turn(msgspec.Struct):
    """One request: what was asked of whom, and when, in microseconds."""

    ask: Ask
    revision: Revision
    view: View
    request_id: str
    at: int

    def parts(self) -> list[Part]:
        """Return the rows by route, checked and as arrays.

        Raises:
            Invalid: the models do not take them.
        """
        view = self.view
        if len(self.request_id) > LONGEST_ID:
            raise Invalid(f"The request's id has more than {LONGEST_ID} characters.")
        self._check_names()
        shared = self._shared()
        groups = self._split()
        if len(groups) == 1:
            live = view.routes[next(iter(groups))]
            return [Part(live, None, shared if shared is not None else self._prepare(live))]
        # All rows are prepared for each route: what is refused does not depend on the routing.
        every = {index: shared if shared is not None else self._prepare(view.routes[index]) for index in groups}
        return [Part(view.routes[index], rows, every[index].take(rows)) for index, rows in groups.items()]

    def answer(self, parts: Sequence[Part], found: Sequence[Scores]) -> tuple[Answer, list[Answered]]:
        """Return the answer, and what the prediction log keeps of it.

        Args:
            parts: what `parts` gave.
            found: what the models answered, in the same order.

        Raises:
            Invalid: rows are outside of what training saw, which this deployment does not answer.
            Unavailable: values are, which it does not give.
        """
        ask, revision = self.ask, self.revision
        ids = row_ids(self.at // 1000, ask.rows)
        headers = revision.headers(tuple([part.live.route.model for part in parts]))
        if len(parts) == 1:
            part, scores = parts[0], found[0]
            given = Answer(ids, scores.scores, scores.labels, self.view.target, [part.live], headers, (), parts, found)
            if (strange := part.live.guard.look(part.prepared, scores)) is not None:
                given.warned, given.headers = ((part.live, strange),), (*headers, header_of((strange,)))
            return given, [self._answered(part, scores, ids)]
        values, labels = [0.0] * ask.rows, [None] * ask.rows
        for part, scores in zip(parts, found, strict=True):
            for row, value, label in zip(part.rows or (), scores.scores, scores.labels, strict=True):
                values[row], labels[row] = value, label
        looked = [
            (part.live, part.live.guard.look(part.prepared, scores)) for part, scores in zip(parts, found, strict=True)
        ]
        warned = [(live, strange) for live, strange in looked if strange is not None]
        if warned:
            headers = (*headers, header_of([strange for _, strange in warned]))
        given = Answer(ids, values, labels, self.view.target, [part.live for part in parts], headers, warned)
        given.parts, given.found = parts, found
        return given, [self._answered(part, scores, ids) for part, scores in zip(parts, found, strict=True)]

    def _answered(self, part: Part, found: Scores, ids: list[str]) -> Answered:
        ask, rows = self.ask, part.rows
        kept = Answered(
            source=self.revision.sources[id(part.live)],
            ids=ids,
            at=self.at,
            request_id=self.request_id,
            caller=ask.caller,
            latency_s=0.0,
            columns=part.prepared.kept(),
            scores=found.scores,
            labels=found.codes,
            subjects=ask.subjects,
            occurred_at=ask.occurred_at,
        )
        if rows is not None:
            kept.ids, kept.rows = [ids[row] for row in rows], rows
            kept.subjects = [ask.subjects[row] for row in rows] if ask.subjects else ()
            kept.occurred_at = [ask.occurred_at[row] for row in rows] if ask.occurred_at else ()
        return kept

    def _shared(self) -> Prepared | None:
        """Return the rows as all models of the view take them, or None where they differ."""
        view, typed = self.view, self.ask.typed
        if view.one is None:
            return None
        if not typed:
            return self._prepare(view.routes[0])
        return view.one.inputs.typed_columns(typed) if self.ask.by_column else view.one.inputs.typed(typed)

    def _prepare(self, live: LiveRoute) -> Prepared:
        """Return the rows as one model takes them."""
        ask = self.ask
        columns = cast_text(self.view.columns, ask.columns) if ask.text else ask.columns
        prepared = live.model.inputs.prepare(columns, even=ask.even)
        if prepared.rows != ask.rows:
            raise Invalid("Subjects, instants and columns have different numbers of rows.")
        return prepared

    def _split(self) -> dict[int, Sequence[int]]:
        """Return the rows that each route answers."""
        ask, view = self.ask, self.view
        if view.router is None or not ask.subjects:
            return {view.pick(self.request_id): range(ask.rows)}
        groups: dict[int, list[int]] = {}
        for row, subject in enumerate(ask.subjects):
            groups.setdefault(view.pick(subject or self.request_id), []).append(row)
        return dict(groups)

    def _check_names(self) -> None:
        ask, view = self.ask, self.view
        if ask.rows > MAX_ROWS:
            raise Invalid(f"There are {ask.rows} rows.", hint=f"Send at most {MAX_ROWS} at a time, or score a file.")
        if ask.extras == "refuse" and (extra := self.extra):
            names = [column.name for column in view.columns]
            listed = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            raise Invalid(NotFound.named("input", min(extra), view.names).args[0], hint=f"Inputs: {listed}.")

    @property
    def extra(self) -> set[str]:
        """The columns that no model knows; a reader of the view's lets none through."""
        return set() if self.ask.typed else self.ask.columns.keys() - self.view.names

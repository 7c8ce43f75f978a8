"""The engine between protocols and models: picks the routes of a request's rows, scores them, records them, answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal, TypeVar

import msgspec

from interlock.core.clock import to_micros
from interlock.core.errors import Finding, Invalid, NotFound, Unavailable
from interlock.serve.casts import cast_text
from interlock.serve.columns import Value
from interlock.serve.golden import check_golden
from interlock.serve.metrics import Metrics
from interlock.serve.revision import LiveRoute, Revision, View
from interlock.serve.row_ids import row_ids
from interlock.store.predictions import Answered

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from interlock.core.clock import Clock
    from interlock.serve.columns import Prepared
    from interlock.serve.journal import Record
    from interlock.serve.model import Scores

T = TypeVar("T")
MAX_ROWS: Final = 100_000
_INLINE_S: Final = 0.001
_INLINE_BYTES: Final = 64 * 1024
_INLINE_VALUES: Final = 8192
_LONGEST_ID: Final = 200
_GOLDEN_ROWS: Final = 8


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
        scores: probabilities of the positive class.
        labels: labels.
        target: the column that is predicted.
        routes: the routes that answered at least one row.
        headers: model and revision, as response headers.
    """

    ids: list[str]
    scores: list[float]
    labels: list[int]
    target: str
    routes: list[LiveRoute]
    headers: tuple[tuple[bytes, bytes], ...]

    @property
    def model(self) -> str:
        """The versions that answered, as one text."""
        return self.routes[0].route.model if len(self.routes) == 1 else ", ".join(r.route.model for r in self.routes)


class Engine:
    """Serves one deployment.

    Args:
        name: the deployment's name.
        journal: the way to the prediction log.
        clock: the time.
        pool: where slow work runs, so that the event loop stays free.

    Attributes:
        revision: what is served, or None. To swap is to assign: requests keep the one they began with.
        metrics: the counters.
        under_way: requests for predictions that were begun and not yet answered.
    """

    def __init__(self, name: str, journal: Record, clock: Clock, pool: Executor) -> None:
        self.name = name
        self.journal = journal
        self.clock = clock
        self.revision: Revision | None = None
        self.metrics = Metrics()
        self.under_way = 0
        self._pool = pool

    def current(self) -> Revision:
        """Return what is served now.

        Raises:
            Unavailable: nothing is, yet.
        """
        if self.revision is None:
            raise Unavailable(
                f"Deployment {self.name!r} has no model loaded.", about="deployment", hint="See /-/status."
            )
        return self.revision

    def check(self) -> list[Finding]:
        """Return why it is not ready: each route is asked some golden rows now; nothing when all agree."""
        if self.revision is None:
            return [Finding("not_loaded", f"Deployment {self.name!r} has no model loaded.")]
        models = {live.route.bundle: live.model for live in self.revision.routes}
        return [found for m in models.values() for found in check_golden(m, m.golden, _GOLDEN_ROWS)]

    async def work(self, size_bytes: int, function: Callable[..., T], *arguments: object) -> T:
        """Return what a function returns, run beside the event loop when the body it reads is large."""
        if size_bytes <= _INLINE_BYTES:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)

    async def predict(self, ask: Ask, revision: Revision, view: View, request_id: str) -> Answer:
        """Return the answers to a request; when it returns, they are in the prediction log.

        Args:
            ask: the rows.
            revision: what was served when the request began.
            view: those of its routes that the caller named.
            request_id: the request's id, which also picks the route of rows without a subject.

        Raises:
            Invalid: the models do not take these rows.
            Unavailable: no sound answer, or it could not be recorded.
        """
        return await self.answer(0, lambda: (ask, request_id), revision, view)

    async def answer(
        self, size_bytes: int, read: Callable[[], tuple[Ask, str]], revision: Revision, view: View
    ) -> Answer:
        """Return the answers to a request that has still to be read; a large one is read and scored beside the loop.

        Args:
            size_bytes: how large the body is.
            read: makes the rows of it, and the request's id.
            revision: what was served when the request began.
            view: those of its routes that the caller named.

        Raises:
            Invalid: the body is none, or the models do not take these rows.
            Unavailable: no sound answer, or it could not be recorded.
        """
        began = self.clock.monotonic()
        try:
            if size_bytes > _INLINE_BYTES:
                answer, answered = await self._beside(lambda: self._score(*read(), revision, view))
            else:
                ask, request_id = read()
                if view.call_s > _INLINE_S or ask.rows * len(view.columns) > _INLINE_VALUES:
                    answer, answered = await self._beside(lambda: self._score(ask, request_id, revision, view))
                else:
                    answer, answered = self._score(ask, request_id, revision, view)
            seconds = self.clock.monotonic() - began
            for part in answered:
                part.latency_s = seconds
            if (recorded := self.journal.record(answered)) is not None:
                await recorded
        except Unavailable as error:
            self._count_failure(error, view.routes)
            raise
        now = answered[0].at / 1e6
        for live, part in zip(answer.routes, answered, strict=True):
            tally = self.metrics.models[live.route.model]
            tally.requests += 1
            tally.rows += len(part.ids)
            tally.busy_s += seconds
            tally.last_at = now
        return answer

    async def _beside(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)

    def _score(self, ask: Ask, request_id: str, revision: Revision, view: View) -> tuple[Answer, list[Answered]]:
        self._extras(ask, view)
        if len(request_id) > _LONGEST_ID:
            raise Invalid(f"The request's id has more than {_LONGEST_ID} characters.")
        turn = _Turn(ask, revision, view, request_id, to_micros(self.clock.now()))
        ids = row_ids(turn.at // 1000, ask.rows)
        shared = turn.shared()
        groups = _split(ask, view, request_id)
        if len(groups) == 1:
            live = view.routes[next(iter(groups))]
            prepared = shared if shared is not None else turn.prepare(live)
            found = live.model.run(prepared)
            headers = revision.headers((live.route.model,))
            answer = Answer(ids, found.scores, found.labels, view.target, [live], headers)
            return answer, [turn.answered(live, prepared, found, ids)]
        scores, labels = [0.0] * ask.rows, [0] * ask.rows
        parts: list[Answered] = []
        for index, rows in groups.items():
            live = view.routes[index]
            # All rows are prepared: what is refused does not depend on the routing.
            prepared = (shared if shared is not None else turn.prepare(live)).take(rows)
            found = live.model.run(prepared)
            part = turn.answered(live, prepared, found, [ids[row] for row in rows])
            part.rows = rows
            part.subjects = [ask.subjects[row] for row in rows] if ask.subjects else ()
            part.occurred_at = [ask.occurred_at[row] for row in rows] if ask.occurred_at else ()
            parts.append(part)
            for row, score, label in zip(rows, found.scores, found.labels, strict=True):
                scores[row], labels[row] = score, label
        used = [view.routes[index] for index in groups]
        headers = revision.headers(tuple(live.route.model for live in used))
        return Answer(ids, scores, labels, view.target, used, headers), parts

    def _extras(self, ask: Ask, view: View) -> None:
        if ask.rows > MAX_ROWS:
            raise Invalid(f"There are {ask.rows} rows.", hint=f"Send at most {MAX_ROWS} at a time, or score a file.")
        if ask.typed:
            return  # a reader lets nothing else through
        extra = ask.columns.keys() - view.names
        if extra and ask.extras == "refuse":
            name = min(extra)
            raise Invalid(NotFound.named("input", name, view.names).args[0], hint=f"Inputs: {_listed(view)}.")
        self.metrics.dropped += len(extra)

    def _count_failure(self, error: Unavailable, routes: Sequence[LiveRoute]) -> None:
        for live in routes:
            if error.facts.get("model") == live.model.digest:
                tally = self.metrics.models[live.route.model]
                tally.failures += 1
                tally.garbage += 1
                return


class _Turn(msgspec.Struct):
    """One request on its way through the models: what was asked of whom, and when, in microseconds."""

    ask: Ask
    revision: Revision
    view: View
    request_id: str
    at: int

    def shared(self) -> Prepared | None:
        """Return the rows as all models of the view take them, or None where they differ."""
        view, typed = self.view, self.ask.typed
        if view.one is None:
            return None
        if not typed:
            return self.prepare(view.routes[0])
        return view.one.inputs.typed_columns(typed) if self.ask.by_column else view.one.inputs.typed(typed)

    def prepare(self, live: LiveRoute) -> Prepared:
        """Return the rows as one model takes them."""
        ask = self.ask
        columns = cast_text(self.view.columns, ask.columns) if ask.text else ask.columns
        prepared = live.model.inputs.prepare(columns, even=ask.even)
        if prepared.rows != ask.rows:
            raise Invalid("Subjects, instants and columns have different numbers of rows.")
        return prepared

    def answered(self, live: LiveRoute, prepared: Prepared, found: Scores, ids: list[str]) -> Answered:
        """Return what the prediction log keeps of one route's answers."""
        ask = self.ask
        return Answered(
            source=self.revision.sources[id(live)],
            ids=ids,
            at=self.at,
            request_id=self.request_id,
            caller=ask.caller,
            latency_s=0.0,
            columns=prepared.kept(),
            scores=found.scores,
            labels=found.labels,
            subjects=ask.subjects,
            occurred_at=ask.occurred_at,
        )


def _split(ask: Ask, view: View, request_id: str) -> dict[int, Sequence[int]]:
    """Return the rows that each route answers."""
    if view.router is None or not ask.subjects:
        return {view.pick(request_id): range(ask.rows)}
    groups: dict[int, list[int]] = {}
    for row, subject in enumerate(ask.subjects):
        groups.setdefault(view.pick(subject or request_id), []).append(row)
    return dict(groups)


def _listed(view: View) -> str:
    names = [column.name for column in view.columns]
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")

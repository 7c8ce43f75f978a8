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
from interlock.serve.http import Headers
from interlock.serve.metrics import Metrics
from interlock.serve.revision import LiveRoute, Revision, View
from interlock.serve.row_ids import row_ids
from interlock.store.predictions import Prediction

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from interlock.core.clock import Clock
    from interlock.serve.journal import Journal

T = TypeVar("T")
MAX_ROWS: Final = 100_000
_INLINE_S: Final = 0.001
_INLINE_BYTES: Final = 64 * 1024
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
    """

    columns: Mapping[str, Sequence[Value]]
    rows: int
    subjects: Sequence[str] = ()
    occurred_at: Sequence[int] = ()
    extras: Literal["drop", "refuse"] = "drop"
    text: bool = False


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
    headers: Headers

    @property
    def model(self) -> str:
        """The versions that answered, as one text."""
        return ", ".join(live.route.model for live in self.routes)


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

    def __init__(self, name: str, journal: Journal, clock: Clock, pool: Executor) -> None:
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
        routes = view.routes
        self._extras(ask, view)
        if len(request_id) > _LONGEST_ID:
            raise Invalid(f"The request's id has more than {_LONGEST_ID} characters.")
        slow = max(live.model.call_s for live in routes) * min(ask.rows, 64)
        began = self.clock.monotonic()
        try:
            if slow > _INLINE_S or ask.rows * len(ask.columns) > _INLINE_BYTES // 8:
                call = asyncio.get_running_loop().run_in_executor(
                    self._pool, self._score, ask, revision, view, request_id
                )
                answer, records = await call
            else:
                answer, records = self._score(ask, revision, view, request_id)
            await self.journal.write(records)
        except Unavailable as error:
            self._count_failure(error, routes)
            raise
        seconds, now = self.clock.monotonic() - began, records[0].at / 1e6
        for live in answer.routes:
            tally = self.metrics.models[live.route.model]
            tally.requests += 1
            tally.rows += ask.rows if len(answer.routes) == 1 else sum(r.model == live.route.model for r in records)
            tally.busy_s += seconds
            tally.last_at = now
        return answer

    def _score(self, ask: Ask, revision: Revision, view: View, request_id: str) -> tuple[Answer, list[Prediction]]:
        columns = cast_text(view.columns, ask.columns) if ask.text else ask.columns
        groups = _split(ask, view, request_id)
        at = to_micros(self.clock.now())
        ids = row_ids(at // 1000, ask.rows)
        scores, labels = [0.0] * ask.rows, [0] * ask.rows
        records: list[Prediction] = []
        for index, rows in groups.items():
            live = view.routes[index]
            prepared = live.model.prepare(columns)  # all rows: what is refused does not depend on the routing
            if prepared.rows != ask.rows:
                raise Invalid("Subjects, instants and columns have different numbers of rows.")
            chosen = prepared if len(groups) == 1 else prepared.take(rows)
            found = live.model.run(chosen)
            names = live.model.inputs.names
            for at_row, row, values in zip(range(len(rows)), rows, zip(*chosen.values, strict=True), strict=True):
                scores[row], labels[row] = found.scores[at_row], found.labels[at_row]
                records.append(
                    Prediction(
                        id=ids[row],
                        at=at,
                        occurred_at=ask.occurred_at[row] if ask.occurred_at else at,
                        deployment=revision.deployment,
                        model=live.route.model,
                        bundle=live.route.bundle,
                        revision=revision.number,
                        request_id=request_id,
                        row=row,
                        subject=ask.subjects[row] if ask.subjects else "",
                        inputs=dict(zip(names, values, strict=True)),
                        score=scores[row],
                        label=labels[row],
                        route=live.route.role,
                    )
                )
        used = [view.routes[index] for index in groups]
        headers = revision.headers([live.route.model for live in used])
        return Answer(ids, scores, labels, view.target, used, headers), records

    def _extras(self, ask: Ask, view: View) -> None:
        if ask.rows > MAX_ROWS:
            raise Invalid(f"There are {ask.rows} rows.", hint=f"Send at most {MAX_ROWS} at a time, or score a file.")
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

"""The engine between protocols and models: picks the routes of a request's rows, scores them, records them, answers."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar
from weakref import WeakKeyDictionary

from interlock.core.clock import to_micros
from interlock.core.errors import Finding, Unavailable
from interlock.serve.batching import MOST_ROWS, Batcher
from interlock.serve.golden import check_golden
from interlock.serve.metrics import Metrics
from interlock.serve.policy import Rules
from interlock.serve.selfcheck import SelfCheck
from interlock.serve.sizes import BATCHED_S, LONG_S, SMALL
from interlock.serve.turns import Answer, Ask, Part, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interlock.core.clock import Clock
    from interlock.serve.hands import Hands
    from interlock.serve.journal import Record
    from interlock.serve.model import LoadedModel, Scores
    from interlock.serve.revision import LiveRoute, Revision, View
    from interlock.store.predictions import Answered

__all__ = ["Answer", "Ask", "Engine", "Fleet", "Report", "deployment_of"]

T = TypeVar("T")
_GOLDEN_ROWS: Final = 8
_FRESH_S: Final = 1.0  # so old may be what a model said to its golden rows


class Report(NamedTuple):
    """What became of a model of a server.

    Attributes:
        name: what the server calls it.
        engine: what answers.
        errors: why what is wanted is not served; nothing while it loads, and when it is.
    """

    name: str
    engine: Engine
    errors: tuple[str, ...]


class Fleet(Protocol):
    """All the engines of a server, by name; `interlock.serve.repository` has the real one.

    Attributes:
        explicit: whether callers may load and unload.
        limits: what the server takes on.
    """

    explicit: bool
    limits: Any

    def find(self, name: str, version: str = "") -> Engine:
        """Return the engine that answers to a name; the server's first one where none does, which then says so."""
        ...

    def engines(self) -> list[Engine]:
        """Return the engines that answer now."""
        ...

    def reports(self) -> list[Report]:
        """Return what became of each model that answers, or should since the start."""
        ...

    def index(self) -> list[dict[str, str]]:
        """Return every name with its version, state, reason, and where it was loaded from."""
        ...

    async def load(self, name: str, place: str = "", *, anew: bool = True) -> None:
        """Load a model and let it answer.

        Args:
            name: the name to answer to.
            place: a reference, or a folder; "" for a name that is a reference itself.
            anew: whether one that answers already is loaded again, and not refused.
        """
        ...

    async def unload(self, name: str) -> None:
        """Let a name answer no more; return when all that it began is finished."""
        ...


class Engine:
    """Serves one deployment.

    Args:
        name: the deployment's name.
        journal: the way to the prediction log.
        clock: the time.
        hands: where its work is done.

    Attributes:
        revision: what is served, or None. To swap is to assign: requests keep the one they began with.
        metrics: the counters.
        under_way: requests for predictions that were begun and not yet answered.
        answering: those of them that this engine reads, scores or records now.
        fleet: the engines of the same server, or None where this is the only one.
        alias: what the fleet calls it, where that is nothing that its revision knows.
        rules: what it goes by where a spec says nothing, and who follows what one says.
        selfcheck: asks the models their golden rows, on the way that requests take.
    """

    def __init__(self, name: str, journal: Record, clock: Clock, hands: Hands) -> None:
        self.name = name
        self.journal = journal
        self.clock = clock
        self.revision: Revision | None = None
        self.metrics = Metrics()
        self.under_way = 0
        self.answering = 0
        self.fleet: Fleet | None = None
        self.alias = ""
        self.rules = Rules()
        self.selfcheck = SelfCheck(clock.monotonic)
        self.hands = hands
        self._batchers: WeakKeyDictionary[LoadedModel, tuple[int, Batcher]] = WeakKeyDictionary()
        self._said: WeakKeyDictionary[LoadedModel, tuple[float, list[Finding]]] = WeakKeyDictionary()
        self._asking: WeakKeyDictionary[LoadedModel, asyncio.Future[list[Finding]]] = WeakKeyDictionary()

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

    def find(self, name: str, version: str = "") -> Engine:
        """Return the engine of this server that answers to a name."""
        return self if self.fleet is None else self.fleet.find(name, version)

    def beside(self, name: str) -> Engine:
        """Return another engine of the same server: one log, one pool of threads, one set of counters."""
        found = Engine(name, self.journal, self.clock, self.hands)
        found.metrics, found.fleet, found.rules = self.metrics, self.fleet, self.rules.beside()
        found.selfcheck = self.selfcheck
        return found

    def adopt(self, revision: Revision) -> None:
        """Answer by another revision from now on; first, who follows the rules learns how it answers.

        Raises:
            Unavailable: it cannot be followed, such as when no log can be opened; then nothing has changed.
        """
        for follow in self.rules.followers:
            follow(revision.serving)
        revision.grow(self.clock.now())
        self.revision = revision  # one assignment: a request has the old revision or the new one

    def named(self, name: str, version: str = "") -> tuple[Engine, Revision, View]:
        """Return who answers to a name, what it serves, and which of its routes are meant.

        Raises:
            NotFound: nothing here has this name.
            Unavailable: its model is not loaded yet.
        """
        engine = self.find(name, version)
        revision = engine.current()
        return engine, revision, revision.view(revision.deployment if name and name == engine.alias else name, version)

    def all(self) -> list[Engine]:
        """Return the engines of this server that answer now."""
        return [self] if self.fleet is None else self.fleet.engines()

    async def verdict_all(self) -> list[Finding]:
        """Return why the server is not ready: the `verdict` of each of its engines."""
        found = await asyncio.gather(*(engine.verdict() for engine in self.all()))
        return [finding for findings in found for finding in findings]

    async def verdict(self) -> list[Finding]:
        """Return what `check` says, or said within a second; models whose calls take long are asked beside the loop."""
        if self.revision is None:
            return self.check()
        models = {live.route.bundle: live.model for live in self.revision.routes}
        found = [found for model in models.values() for found in await self._verdict(model)]
        return found + self.selfcheck.findings(self.revision)

    def check(self) -> list[Finding]:
        """Return why it is not ready: each route is asked some golden rows now; nothing when all agree.

        Cost: a call of each model, which of an original may take 10 s: not for an event loop.
        """
        if self.revision is None:
            return [Finding("not_loaded", f"Deployment {self.name!r} has no model loaded.")]
        models = {live.route.bundle: live.model for live in self.revision.routes}
        found = [found for m in models.values() for found in check_golden(m, m.golden, _GOLDEN_ROWS)]
        return found + self.selfcheck.findings(self.revision)

    async def _verdict(self, model: LoadedModel) -> list[Finding]:
        """Return what is wrong with a model; however many wait for that, it is asked once."""
        at, findings = self._said.get(model, (float("-inf"), []))
        if self.clock.monotonic() - at < _FRESH_S:
            return findings
        if model.call_s <= LONG_S and model.engine.name != "worker":
            findings = check_golden(model, model.golden, _GOLDEN_ROWS)
        else:
            asking = self._asking.get(model)
            if asking is None or asking.done():
                loop = asyncio.get_running_loop()
                asking = loop.run_in_executor(self.hands.of(model), check_golden, model, model.golden, _GOLDEN_ROWS)
                self._asking[model] = asking
            findings = await asyncio.shield(asking)  # who asks may go; others wait for the same
        self._said[model] = self.clock.monotonic(), findings
        return findings

    def soon(self, model: LoadedModel, function: Callable[[], None]) -> None:
        """Run a function where calls of a model run; any thread may ask for it."""
        self.hands.of(model).submit(function)

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
        if size_bytes <= SMALL:
            self.hands.pace.small_at = time.perf_counter()
        self.answering += 1
        try:
            if not self.hands.read_here(size_bytes):
                answer, answered = await self._beside(view, lambda: self._score(self._turn(*read(), revision, view)))
            else:
                turn = self._turn(*read(), revision, view)
                if view.call_s > LONG_S and turn.ask.rows * view.row_s <= BATCHED_S:
                    answer, answered = await self._gathered(turn)
                elif view.call_s <= LONG_S and self.hands.score_here(turn):
                    answer, answered = self._score(turn)
                else:
                    answer, answered = await self._beside(view, lambda: self._score(turn))
            seconds = self.clock.monotonic() - began
            for part in answered:
                part.latency_s = seconds
            recorded = self.journal.record(answered, self.hands.recorder(len(answer.ids) * len(view.columns)))
            if recorded is not None:
                await recorded
        except Unavailable as error:
            self._count_failure(error, view.routes)
            raise
        finally:
            self.answering -= 1
        self._count(answer, answered, seconds)
        return answer

    def _count(self, answer: Answer, answered: Sequence[Answered], seconds: float) -> None:
        now = answered[0].at / 1e6
        for live, part in zip(answer.routes, answered, strict=True):
            tally = self.metrics.models[live.route.model]
            tally.requests += 1
            tally.rows += len(part.ids)
            tally.busy_s += seconds
            tally.last_at = now
        for live, strange in answer.warned:
            self.metrics.models[live.route.model].warn(strange)

    async def _beside(self, view: View, function: Callable[[], T]) -> T:
        return await self.hands.beside([live.model for live in view.routes], function)

    def _turn(self, ask: Ask, request_id: str, revision: Revision, view: View) -> Turn:
        turn = Turn(ask, revision, view, request_id, to_micros(self.clock.now()))
        if ask.extras == "drop" and not ask.typed:
            self.metrics.dropped += len(turn.extra)
        return turn

    def _score(self, turn: Turn) -> tuple[Answer, list[Answered]]:
        parts = turn.parts()
        try:
            found = [part.live.model.run(part.prepared) for part in parts]
        except Unavailable as error:
            found = _as_is(parts, error)
        return turn.answer(parts, found)

    async def _gathered(self, turn: Turn) -> tuple[Answer, list[Answered]]:
        """Answer by models whose calls take long: rows of several requests share one."""
        parts, most = turn.parts(), turn.revision.serving.batch_rows or MOST_ROWS
        try:
            found = await asyncio.gather(*(self._batcher(part.live.model, most).run(part.prepared) for part in parts))
        except Unavailable as error:
            refused = error
            if not any(part.live.guard.gives_garbage for part in parts):
                raise  # to ask them all once more would say the same
            found = await self._beside(turn.view, lambda: _as_is(parts, refused))
        return turn.answer(parts, found)

    def _batcher(self, model: LoadedModel, most: int) -> Batcher:
        held, found = self._batchers.get(model) or (0, None)
        if found is None or held != most:  # those who wait in one with another bound still get their answers
            found = Batcher(model, self.hands.of(model), most)
            self._batchers[model] = most, found
        return found

    def _count_failure(self, error: Unavailable, routes: Sequence[LiveRoute]) -> None:
        for live in routes:
            if error.facts.get("model") == live.model.digest:
                tally = self.metrics.models[live.route.model]
                tally.failures += 1
                tally.garbage += 1
                return


def deployment_of(engine: Engine) -> str:
    """Return the deployment that an engine's predictions are recorded under."""
    return engine.name if engine.revision is None else engine.revision.deployment


def _as_is(parts: Sequence[Part], error: Unavailable) -> list[Scores]:
    """Return scores that are no probabilities, where the deployment gives such; else raise what the model raised."""
    if not any(part.live.guard.gives_garbage for part in parts):
        raise error
    found: list[Scores] = []
    for part in parts:
        try:
            found.append(part.live.model.run(part.prepared))
        except Unavailable:
            if (given := part.live.guard.as_is(part.prepared)) is None:
                raise error from None
            found.append(given)
    return found

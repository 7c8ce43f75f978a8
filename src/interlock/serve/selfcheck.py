"""Asks a server's own models golden rows, again and again, on the way that requests take.

A request's way is its reader, the model's input columns, the engine. Each part may come to differ from training without
anybody's request failing. So rows whose scores are known, from training or else from when the model was opened, go that
way, as the bytes of a request, some every few seconds; neither the prediction log nor the counters of requests see
them. Where a score is another one, the column at which it began is named (`interlock.serve.skew`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

import msgspec

from interlock.core.errors import Finding
from interlock.serve.skew import Way, words_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.serve.model import LoadedModel
    from interlock.serve.revision import LiveRoute, Revision

EVERY_S: Final = 5.0
_LATEST_S: Final = 30.0
_SHARE: Final = 500  # it rests so many times as long as it worked: 0.2 % of a core
_ROWS: Final = 16
_SLOW_S: Final = 0.001


class Checked(msgspec.Struct, eq=False):
    """What came of asking a model.

    Attributes:
        rows: rows that it was asked since it is served.
        failed: those whose answer was wrong.
        due: when it is asked next.
        at: the number of the golden row that comes next.
        wrong: what was wrong, by the number of the first row of those that were asked together.
        effects: what a column does to the score, as it was at first; None before.
        busy: whether it is being asked.
    """

    rows: int = 0
    failed: int = 0
    due: float = 0.0
    at: int = 0
    wrong: dict[int, list[Finding]] = {}
    effects: dict[str, list[float]] | None = None
    busy: bool = False

    @property
    def findings(self) -> list[Finding]:
        """What is wrong now."""
        return [found for findings in [*self.wrong.values()] for found in findings]


class SelfCheck:
    """Asks the models of one engine.

    Args:
        monotonic: the time in seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._checked: WeakKeyDictionary[LoadedModel, Checked] = WeakKeyDictionary()

    def of(self, model: LoadedModel) -> Checked:
        """Return what came of asking a model until now."""
        return self._checked.get(model) or Checked()

    def findings(self, revision: Revision) -> list[Finding]:
        """Return what is wrong with the models of a revision, as they last answered golden rows."""
        models = {live.route.bundle: live.model for live in revision.routes}
        return [found for model in models.values() for found in self.of(model).findings]

    def tick(self, revision: Revision, soon: Callable[[LoadedModel, Callable[[], None]], object]) -> None:
        """Let each model that is due be asked; for a thread beside the event loop.

        Args:
            revision: what is served.
            soon: runs a function where calls of a model run; what it raises is raised.

        Cost: nothing but a look at the clock; the asking takes 0.2 % of a core, and of a model that takes longer than
            60 ms for a row a call every 30 s.
        """
        now = self._monotonic()
        for live in {live.route.bundle: live for live in revision.routes}.values():
            checked = self._checked.get(live.model)
            if checked is None:
                checked = self._checked[live.model] = Checked()
            if now >= checked.due and not checked.busy and live.model.golden.rows:
                checked.busy = True
                try:
                    soon(live.model, lambda live=live, checked=checked: self._ask(revision, live, checked))  # type: ignore[misc]
                except BaseException:
                    checked.busy = False  # nobody asks it, so it is due still
                    raise

    def _ask(self, revision: Revision, live: LiveRoute, checked: Checked) -> None:
        """Ask a model some rows, and keep what is wrong."""
        began = time.thread_time()
        model, first = live.model, checked.at
        slow = model.call_s >= _SLOW_S
        last = first + (1 if slow else _ROWS)
        size = len(model.golden.rows[first:last])
        try:
            way = Way(revision, live)  # not kept: what hangs on a model would keep it in memory
            found = way.wrong(first, last)
            if found and not any(finding.column for finding in found):
                found += way.moved(checked.effects or {})
            elif not found and checked.effects is None:
                checked.effects = {} if slow else way.effects()
        except Exception as error:  # noqa: BLE001 - the border of a thread: it is told, and asked again
            found = [Finding("self_check_failed", f"{words_of(model).rows} are not answered: {type(error).__name__}.")]
        checked.rows += size
        checked.failed += size if found else 0
        wrong = {at: why for at, why in checked.wrong.items() if at != first}
        checked.wrong = {**wrong, first: found} if found else wrong
        checked.at = 0 if last >= len(model.golden.rows) else last
        rest_s = _SHARE * max(time.thread_time() - began, model.call_s if slow else 0.0)
        checked.due = self._monotonic() + min(max(rest_s, EVERY_S), _LATEST_S)
        checked.busy = False

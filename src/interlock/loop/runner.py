"""Turn after turn, until told to stop: what `interlock up` keeps running."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from interlock.core.errors import Error, NotFound
from interlock.loop.apply import applied_text
from interlock.loop.project import parse_project
from interlock.loop.turn import take_turn
from interlock.store.predictions import Compactor

if TYPE_CHECKING:
    import threading

    from interlock.store import Store

PAUSE_S: Final = 2.0
COMPACT_BYTES: Final = 8_000_000
_log = logging.getLogger(__name__)


def run_forever(store: Store, stop: threading.Event, pause_s: float = PAUSE_S) -> None:
    """Take a turn, pause, and again, until `stop` is set; the prediction log is compacted beside it.

    What goes wrong is logged once and tried again: it may be mended meanwhile.

    Args:
        store: the workspace.
        stop: ends it after the present turn.
        pause_s: seconds between turns.
    """
    compactor = Compactor(store.predictions.folder, min_bytes=COMPACT_BYTES)
    told: dict[str, str] = {}
    try:
        while not stop.is_set():
            wrong = _turn(store)
            for what, why in wrong.items():
                if what not in told:
                    _log.warning("%s: %s", what, why)
            told = wrong
            stop.wait(pause_s)
    finally:
        compactor.stop()


def _turn(store: Store) -> dict[str, str]:
    """Return what went wrong in one turn, and why; why may be worded anew each time, such as by a log's name."""
    try:
        project = parse_project(applied_text(store))
        turn = take_turn(store, project, store.clock.now())
    except NotFound as error:
        return {} if error.about == "project" else {f"the loop's turn failed, {error.code}": str(error)}
    except Error as error:
        return {f"the loop's turn failed, {error.code}": str(error)}
    except Exception as error:  # noqa: BLE001 - the border of the background loop: the next turn tries again
        return {f"the loop's turn failed, {type(error).__name__}": str(error)}
    return {what: why for what, _, why in (line.partition(": ") for line in turn.wrong)}

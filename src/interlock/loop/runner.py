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

    A turn that fails is logged and tried again: what is wrong may be mended meanwhile.

    Args:
        store: the workspace.
        stop: ends it after the present turn.
        pause_s: seconds between turns.
    """
    compactor = Compactor(store.predictions.folder, min_bytes=COMPACT_BYTES)
    told = ""
    try:
        while not stop.is_set():
            said = _turn(store)
            if said and said != told:
                _log.warning("%s", said)
            told = said
            stop.wait(pause_s)
    finally:
        compactor.stop()


def _turn(store: Store) -> str:
    """Return what went wrong in one turn, or ""."""
    try:
        project = parse_project(applied_text(store))
    except NotFound:
        return ""  # nothing is applied yet: there is nothing to turn
    try:
        take_turn(store, project, store.clock.now())
    except Error as error:
        return f"the loop's turn failed: {error}"
    except Exception as error:  # noqa: BLE001 - the border of the background loop: the next turn tries again
        return f"the loop's turn failed: {type(error).__name__}: {error}"
    return ""

"""Follows what shall be served and swaps revisions; a new one gives its golden answers before it takes traffic."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from interlock.core.errors import Error
from interlock.serve.revision import load_revision
from interlock.serve.sources import Wanted

if TYPE_CHECKING:
    from interlock.serve.engine import Engine
    from interlock.serve.revision import Revision
    from interlock.serve.sources import Source

_LOOK_S: Final = 60.0
_RETRY_S: Final = 5.0
_log: Final = logging.getLogger("interlock.serve")


class Watcher:
    """Keeps an engine at the revision that is wanted.

    Args:
        engine: what serves.
        source: says what is wanted, also to a thread of ours.

    Attributes:
        wanted: what it said last, or None.
        error: why that is not served, or None.
    """

    def __init__(self, engine: Engine, source: Source) -> None:
        self.wanted: Wanted | None = None
        self.error: Error | None = None
        self._engine = engine
        self._source = source
        self._lock = threading.Lock()
        self._retry_after = 0.0
        self._looked_at = 0.0
        self._unasked = ""

    def read(self) -> Wanted:
        """Return what is wanted now.

        Raises:
            NotFound: there is nothing of this name.
            Unavailable: the database cannot be read.
        """
        return self._source.wanted()

    def check(self, force: bool = True) -> None:
        """Serve what is wanted, if it can be; otherwise keep what is served, and say why in `error`.

        Args:
            force: try a revision that failed before once more.
        """
        with self._lock:
            try:
                wanted = self.read()
                tried = wanted == self.wanted and self.error is not None and not force
                self.wanted = wanted
                if wanted == self._served():
                    self.error = None
                elif not tried:
                    self._swap(wanted)
            except Error as error:
                self._refuse(error)
            except Exception as error:  # noqa: BLE001 - the border of the background loop: it must go on
                self._refuse(Error(f"Loading failed: {type(error).__name__}.", about="deployment"))

    def tick(self) -> None:
        """Look once more; a revision that failed because something was away for a moment is tried again by itself.

        Once a minute, look how old the versions that answer are; and let them be asked golden rows that are due.
        """
        engine = self._engine
        now = engine.clock.monotonic()
        later = now >= self._retry_after
        if now - self._looked_at >= _LOOK_S and engine.revision is not None:
            self._looked_at = now
            engine.revision.grow(engine.clock.now())
        self.check(force=self.error is not None and self.error.transient and later)
        if engine.revision is not None:
            self._self_check(engine.revision)

    def _self_check(self, revision: Revision) -> None:
        try:
            self._engine.selfcheck.tick(revision, self._engine.soon)
        except RuntimeError as error:  # no thread takes it: none can be started, or the server ends
            ending = self._engine.revision is not revision or not threading.main_thread().is_alive()
            if not ending and str(error) != self._unasked:
                _log.warning("%s is not asked its golden rows: %s", self._engine.name, error)
            self._unasked = str(error)
        else:
            self._unasked = ""

    def _served(self) -> Wanted | None:
        revision = self._engine.revision
        return None if revision is None else Wanted(revision.number, revision.spec)

    def _swap(self, wanted: Wanted) -> None:
        engine = self._engine
        loaded = {} if engine.revision is None else {live.route.bundle: live.model for live in engine.revision.routes}
        engine.adopt(load_revision(self._source, wanted, loaded, engine.rules))
        self.error = None
        engine.metrics.swaps["served"] += 1

    def _refuse(self, error: Error) -> None:
        if self.error != error:
            self._engine.metrics.swaps["refused"] += 1
        self.error = _alone(error)
        self._retry_after = self._engine.clock.monotonic() + _RETRY_S


def reasons(error: Error | None) -> tuple[str, ...]:
    """Return an error in sentences, one for each of its findings besides; none for no error."""
    return () if error is None else (str(error), *(found.message for found in error.findings))


def _alone(error: Error) -> Error:
    """Return an error that is kept, without the frames that it came through: they hold the model that was refused."""
    error.__context__ = None
    error.__cause__ = None
    return error.with_traceback(None)

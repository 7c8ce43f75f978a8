"""The runs that go on in this process, and what happens to them when the process ends: by itself, an error or a signal.

Handlers are put in place when the first run begins and taken away after the last. What was there before is called too.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

_SIGNALS: Final = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_GRACE_S: Final = 5.0  # whoever sent the signal soon sends a harder one


class Living(Protocol):
    """A run that goes on."""

    id: str
    resumed: bool
    push: Callable[[Any], None]

    @property
    def location(self) -> str:
        """The workspace that it is recorded in."""
        ...

    def printed(self, stream: str, text: str, at_ns: int) -> None:
        """Take what the process printed."""
        ...

    def again(self) -> Any:
        """Return the entry with which a child process begins to add to it."""
        ...

    def finish(self, status: str = "finished", reason: str = "", *, timeout_s: float = ...) -> Any:
        """End it."""
        ...

    def flush(self, timeout_s: float = ...) -> bool:
        """Write what it said."""
        ...

    def disown(self) -> None:
        """Forget in a forked child what is the parent's."""
        ...


_runs: list[Any] = []
_current: ContextVar[Any] = ContextVar("interlock_run", default=None)
_lock = threading.RLock()
_main: set[str] = set()
_expected: dict[str, tuple[str, str]] = {}
_handlers: dict[int, Any] = {}
_hook: list[Any] = []
_uncaught: list[BaseException] = []
_registered: list[int] = []


def begin(run: Living) -> Any:
    """Remember a run, which is the current one from now on; return what `end` wants."""
    with _lock:
        if not _registered:
            _registered.append(os.getpid())
            atexit.register(_at_exit)
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=_in_child)
        if not _runs:
            _listen()
        _runs.append(run)
        if threading.current_thread() is threading.main_thread():
            _main.add(run.id)
    return _current.set(run)


def end(run: Living, token: Any) -> None:
    """Forget a run that is over."""
    with _lock:
        if run in _runs:
            _runs.remove(run)
        _main.discard(run.id)
        if not _runs:
            _stop_listening()
    if token is not None:
        try:
            _current.reset(token)
        except ValueError:  # ended in another context than it began in
            if _current.get() is run:
                _current.set(None)


def current() -> Any:
    """Return the run that this code belongs to, or None.

    It is the innermost one of this context; in other threads and notebook cells the newest one of the main thread.
    """
    run = _current.get()
    if run is not None and run in _runs:
        return run
    return next((known for known in reversed(_runs) if known.id in _main), None)


def expect(run: Living, status: str, reason: str) -> None:
    """Say how a run will have ended when the process does: threads and exit handlers of the script come before."""
    _expected[run.id] = (status, reason)


def going_on() -> list[Any]:
    """Return the runs that go on, outer ones first."""
    return list(_runs)


def _at_exit() -> None:
    status, reason = ("failed", told(_uncaught[-1])) if _uncaught else ("finished", "")
    for run in reversed(list(_runs)):
        with contextlib.suppress(Exception):
            run.finish(*_expected.get(run.id, (status, reason)))


def _in_child() -> None:
    for run in tuple(_runs):
        run.disown()


def told(error: BaseException) -> str:
    """Return an error as the reason of a run's end."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return text[:2000]


def _listen() -> None:
    _hook[:] = [sys.excepthook]
    sys.excepthook = _on_uncaught
    if threading.current_thread() is not threading.main_thread():
        return
    for number in _SIGNALS:
        held = signal.getsignal(number)
        if held not in {signal.SIG_IGN, None, _on_signal}:
            _handlers[number] = held
            signal.signal(number, _on_signal)


def _stop_listening() -> None:
    if _hook and sys.excepthook is _on_uncaught:
        sys.excepthook = _hook[0]
    if threading.current_thread() is not threading.main_thread():
        return
    for number, held in list(_handlers.items()):
        if signal.getsignal(number) is _on_signal:
            signal.signal(number, held)
        del _handlers[number]


def _on_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not hasattr(sys, "ps1"):  # at a prompt the process goes on
        _uncaught.append(error)
    (_hook[0] if _hook else sys.__excepthook__)(kind, error, trace)


def _on_signal(number: int, frame: FrameType | None) -> None:
    """End runs as killed where the signal ends the process; where somebody handles it, write and let them decide."""
    held = _handlers.get(number, signal.SIG_DFL)
    if callable(held):
        for run in tuple(_runs):
            with contextlib.suppress(Exception):
                run.flush(_GRACE_S)
        held(number, frame)
        return
    for run in reversed(list(_runs)):
        with contextlib.suppress(Exception):
            run.finish("killed", signal.Signals(number).name, timeout_s=_GRACE_S)
            run.flush(_GRACE_S)  # of a run that was ending when the signal came
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)

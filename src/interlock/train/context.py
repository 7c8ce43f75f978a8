"""What a step says about its run: `log_param`, `log_metric`, `log_artifact`.

Whatever a step logs is kept beside its result, and logged again when the result is taken from the cache. Outside of
steps it goes to the run that `interlock.run` began; outside of runs one line warns, and a step stays a plain function.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from interlock.core.errors import Invalid
from interlock.core.refs import is_safe_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Scalar = str | int | float | bool
Said = tuple[Any, ...]


class Recorder(Protocol):
    """Where a run's params, metrics and artifacts go. Calls never overlap."""

    def params(self, values: dict[str, Scalar]) -> None:
        """Record parameters by name."""
        ...

    def metric(self, key: str, step: int, value: float) -> None:
        """Record one point of a metric."""
        ...

    def artifact(self, path: str, content: bytes) -> None:
        """Record a file under a relative path."""
        ...


class Silence:
    """A recorder that keeps nothing."""

    def params(self, values: dict[str, Scalar]) -> None:
        """Forget parameters."""

    def metric(self, key: str, step: int, value: float) -> None:
        """Forget a point."""

    def artifact(self, path: str, content: bytes) -> None:
        """Forget a file."""


class Scope:
    """What one step (or the pipeline around the steps) logs: handed on at once, and remembered.

    Args:
        recorder: where it goes.
        lock: held while the recorder is called; the scopes of one run share it.
    """

    def __init__(self, recorder: Recorder, lock: threading.Lock | None = None) -> None:
        self.said: list[Said] = []
        self._recorder = recorder
        self._lock = lock or threading.Lock()
        self._next: dict[str, int] = {}

    def say(self, *event: Any) -> None:
        """Hand on one event: ("param", name, value), ("metric", name, step, value) or ("artifact", path, content)."""
        with self._lock:
            if event[0] == "metric":
                _, name, step, value = event
                step = self._next.get(name, 0) if step is None else step
                self._next[name] = step + 1
                event = ("metric", name, step, value)
            self.said.append(event)
            deliver(self._recorder, [event])


def deliver(recorder: Recorder, events: Iterable[Said]) -> None:
    """Tell a recorder what a scope remembered."""
    for kind, *rest in events:
        if kind == "param":
            recorder.params({rest[0]: rest[1]})
        elif kind == "metric":
            recorder.metric(rest[0], rest[1], rest[2])
        else:
            recorder.artifact(rest[0], rest[1])


listeners: list[Callable[..., bool]] = []
"""Asked in turn to take what is said outside of steps, until one returns true: see `Scope.say` for what they get."""
_warned: list[str] = []
_scope: ContextVar[Scope | None] = ContextVar("interlock_scope", default=None)


@contextlib.contextmanager
def speaking_to(scope: Scope | None) -> Iterator[None]:
    """Let what is logged inside the block go to `scope`."""
    token = _scope.set(scope)
    try:
        yield
    finally:
        _scope.reset(token)


def log_param(name: str, value: Scalar) -> None:
    """Record a parameter of the run.

    Args:
        name: what it is called.
        value: a text, number or truth value.

    Raises:
        Invalid: the name is empty or the value is something else.
    """
    if type(value) not in {str, int, float, bool}:
        value = _plain(value, name)
    _say("param", _named(name, "param"), value)


def log_metric(name: str, value: float, step: int | None = None) -> None:
    """Record one point of a metric.

    Args:
        name: what it is called.
        value: the number.
        step: its place in the series; without it, the next one.

    Raises:
        Invalid: the name is empty or the value is no number.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise Invalid(f"Metric {name!r} got {value!r}, which is no number.", about="metric") from None
    _say("metric", _named(name, "metric"), step if step is None else int(step), number)


def log_artifact(path: str, content: bytes | str | Path) -> None:
    """Record a file of the run.

    Args:
        path: its relative path in the run, such as `plots/roc.svg`.
        content: its bytes, its text, or a `Path` whose file is read now.

    Raises:
        Invalid: the path leaves the run's folder.
    """
    if not path or not is_safe_path(path):
        raise Invalid(f"{path!r} is no path inside a run.", about="artifact", hint="Use a path like plots/roc.svg.")
    if isinstance(content, Path):
        content = content.read_bytes()
    _say("artifact", path, content.encode() if isinstance(content, str) else bytes(content))


def _say(*event: Any) -> None:
    scope = _scope.get()
    if scope is not None:
        scope.say(*event)
    elif not any(take(*event) for take in listeners) and not _warned:
        _warned.append(event[1])
        with contextlib.suppress(Exception):  # a closed stderr is no reason to fail
            sys.stderr.write(f"interlock: {event[0]} {event[1]!r} is recorded nowhere: no run goes on here.\n")


def _named(name: Any, about: str) -> str:
    if not isinstance(name, str) or not name.strip():
        raise Invalid(f"{name!r} cannot name a {about}.", about=about)
    return name


def _plain(value: Any, name: str) -> Scalar:
    plain = value.item() if hasattr(value, "item") else value  # NumPy's numbers
    if not isinstance(plain, str | int | float | bool):
        raise Invalid(f"Param {name!r} got a {type(value).__name__}; a text or number is wanted.", about="param")
    return plain

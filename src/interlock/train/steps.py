"""`@step` and `@pipeline`: plain functions that a run may cache, record, retry and send elsewhere.

Outside of a run they are what they wrap, so a debugger, a notebook and pytest see ordinary calls. Inside one, a step's
call goes through the run's conductor and still returns the step's value; only `.submit` returns a future. Threads that
a pipeline starts by itself are outside of its run.
"""

from __future__ import annotations

import contextlib
import functools
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, overload

from interlock.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
# Flags of code objects whose calls return no value but a generator or a coroutine.
_SUSPENDED = 0x20 | 0x80 | 0x200


class StepFuture(Generic[R_co]):
    """The value that a submitted step will have. Given to another step, it makes that step wait for it."""

    def __init__(self, future: Future[Any], load: Callable[[Any], R_co]) -> None:
        self.future = future
        self._load = load

    def result(self) -> R_co:
        """Return the step's value as soon as there is one, or raise what the step raised."""
        return self._load(self.future.result())

    def done(self) -> bool:
        """Return whether the step has ended."""
        return self.future.done()


class Conductor(Protocol):
    """What runs the steps of one pipeline run."""

    def call(self, step: Step[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Return the step's value: computed, from the journal, or from the cache."""
        ...

    def submit(self, step: Step[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> StepFuture[Any]:
        """Start the step beside others and return its future."""
        ...


_conductor: ContextVar[Conductor | None] = ContextVar("interlock_conductor", default=None)


@contextlib.contextmanager
def conducted_by(conductor: Conductor | None) -> Iterator[None]:
    """Let `conductor` run the steps that are called inside the block; None makes them plain functions."""
    token = _conductor.set(conductor)
    try:
        yield
    finally:
        _conductor.reset(token)


class Step(Generic[P, R]):
    """A function that runs remember.

    Attributes:
        function: the function itself.
        cache: whether an earlier result may stand for a call with the same code and inputs.
        retries: how often it is tried again when it raises.
        reads: patterns of files below the project that it reads; their contents belong to its key.
        environ: environment variables that it reads; their values belong to its key.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        cache: bool = True,
        retries: int = 0,
        reads: Sequence[str] = (),
        environ: Sequence[str] = (),
    ) -> None:
        _check_plain(function, "step")
        if isinstance(reads, str) or isinstance(environ, str):
            raise Invalid("reads and environ are lists of texts.", about="step", hint='Write reads=["data/*.csv"].')
        if any(pattern.startswith("/") or ".." in pattern.split("/") for pattern in reads):
            raise Invalid("reads names files below the project only.", about="step", hint='Write reads=["data/*.csv"].')
        if retries < 0:
            raise Invalid(f"retries is {retries}; it cannot be negative.", about="step")
        self.function = function
        self.cache = cache
        self.retries = retries
        self.reads = tuple(reads)
        self.environ = tuple(environ)
        functools.update_wrapper(self, function)

    @property
    def name(self) -> str:
        """Its full name: `module.function`."""
        return f"{self.function.__module__}.{self.function.__qualname__}"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the step's value; inside a run it may come from the journal or the cache."""
        conductor = _conductor.get()
        if conductor is None:
            return self.function(*args, **kwargs)
        value: R = conductor.call(self, args, kwargs)
        return value

    def submit(self, *args: Any, **kwargs: Any) -> StepFuture[R]:
        """Return a future for this call, which runs beside others; outside of a run it has ended already.

        Args:
            args: the step's arguments; futures of other steps are waited for.
            kwargs: the same, by name.
        """
        conductor = _conductor.get()
        if conductor is not None:
            return conductor.submit(self, args, kwargs)
        from concurrent.futures import Future

        done: Future[R] = Future()
        named = {name: settle(value) for name, value in kwargs.items()}
        done.set_result(self.function(*[settle(value) for value in args], **named))
        return StepFuture(done, lambda value: value)

    def __repr__(self) -> str:
        return f"<step {self.name}>"

    def __reduce__(self) -> str:
        return self.function.__qualname__  # pickled by name, as functions are


class Pipeline(Generic[P, R]):
    """A function that calls steps. `if`, `for` and `max` in it are Python's own.

    What it does between its steps must come out the same when it is replayed.
    """

    def __init__(self, function: Callable[P, R]) -> None:
        _check_plain(function, "pipeline")
        self.function = function
        functools.update_wrapper(self, function)

    @property
    def name(self) -> str:
        """Its full name: `module.function`."""
        return f"{self.function.__module__}.{self.function.__qualname__}"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the pipeline's value."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<pipeline {self.name}>"

    def __reduce__(self) -> str:
        return self.function.__qualname__


@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(
    *, cache: bool = True, retries: int = 0, reads: Sequence[str] = (), environ: Sequence[str] = ()
) -> Callable[[Callable[P, R]], Step[P, R]]: ...
def step(
    function: Callable[P, R] | None = None,
    /,
    *,
    cache: bool = True,
    retries: int = 0,
    reads: Sequence[str] = (),
    environ: Sequence[str] = (),
) -> Step[P, R] | Callable[[Callable[P, R]], Step[P, R]]:
    """Return the function as a step: `@step`, or `@step(cache=False, retries=2, reads=["data/*.csv"])`.

    Args:
        function: the function, when used without brackets.
        cache: whether an earlier result may stand for a call with the same code and inputs.
        retries: how often it is tried again when it raises.
        reads: patterns of files below the project that it reads; their contents belong to its key.
        environ: environment variables that it reads; their values belong to its key.

    Raises:
        Invalid: it is a generator, a coroutine or no function at all.
    """
    if function is not None:
        return Step(function)
    return lambda found: Step(found, cache=cache, retries=retries, reads=reads, environ=environ)


@overload
def pipeline(function: Callable[P, R], /) -> Pipeline[P, R]: ...
@overload
def pipeline() -> Callable[[Callable[P, R]], Pipeline[P, R]]: ...
def pipeline(function: Callable[P, R] | None = None, /) -> Pipeline[P, R] | Callable[[Callable[P, R]], Pipeline[P, R]]:
    """Return the function as a pipeline: `@pipeline`, or `@pipeline()`.

    Args:
        function: the function, when used without brackets.

    Raises:
        Invalid: it is a generator, a coroutine or no function at all.
    """
    return Pipeline if function is None else Pipeline(function)


def settle(value: Any, load: Callable[[StepFuture[Any]], Any] = StepFuture.result) -> Any:
    """Return a value with futures replaced by what `load` makes of them, also inside lists, tuples and dicts."""
    if isinstance(value, StepFuture):
        return load(value)
    if type(value) is list:
        return [settle(item, load) for item in value] if any(map(_may_wait, value)) else value
    if type(value) is tuple:
        return tuple(settle(item, load) for item in value) if any(map(_may_wait, value)) else value
    if type(value) is dict:
        waits = any(map(_may_wait, value.values()))
        return {key: settle(item, load) for key, item in value.items()} if waits else value
    return value


def _may_wait(value: Any) -> bool:
    return isinstance(value, StepFuture) or type(value) in {list, tuple, dict}


def _check_plain(function: Any, about: str) -> None:
    if isinstance(function, Step | Pipeline) or not hasattr(function, "__code__"):
        raise Invalid(
            f"@{about} stands on {function!r}, which is not a plain function.",
            about=about,
            hint=f"Write @{about} directly above a `def`.",
        )
    if function.__code__.co_flags & _SUSPENDED:
        raise Invalid(
            f"{function.__qualname__} is a generator or a coroutine; its value could not be kept.",
            about=about,
            hint="Return a list, or run the coroutine inside the function.",
        )

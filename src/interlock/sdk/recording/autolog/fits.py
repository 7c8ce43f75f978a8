"""What a fit leaves in the run: params, scores, curves, signature, example, model. Only the outermost one of a nest."""

from __future__ import annotations

import contextlib
import functools
import inspect
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from interlock.sdk.recording import live, rows, words
from interlock.sdk.recording.autolog.curves import curves_of, found_params, search_results
from interlock.sdk.recording.autolog.scoring import MOST_ROWS, score
from interlock.sdk.recording.models import files_of
from interlock.sdk.recording.outbox import warn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

FULL: Final = 10
"""So many fits of a run are logged with all that belongs to them; later ones with params and scores alone."""
MOST: Final = 100
"""Of so many fits anything is logged; the others are counted."""
LONGEST_S: Final = 30.0
"""When we have spent so much on a run's fits, later ones are logged without their models."""
_LONGEST: Final = 1000

_outer: ContextVar[Any] = ContextVar("interlock_fit", default=None)
_INSIDE: Final = object()  # in a part of something larger
_OURS: Final = object()  # in what we do ourselves to log a fit


class Tally:
    """How often was fitted in one run."""

    def __init__(self) -> None:
        self.fits = 0
        self.inner = 0
        self.spent_s = 0.0
        self.labels: dict[str, int] = {}

    def label(self, kind: str) -> str:
        """Return a name for a fit: its class, with a number from the second one on."""
        self.labels[kind] = count = self.labels.get(kind, 0) + 1
        return kind if count == 1 else f"{kind}-{count}"


_tallies: dict[str, Tally] = {}
_warned: set[str] = set()


def listening() -> bool:
    """Return whether a fit that begins here is logged: a run goes on, and it is part of no other fit."""
    return live.current() is not None and _outer.get() is None


@contextlib.contextmanager
def inner() -> Iterator[None]:
    """Count the fits of the block as parts of something larger."""
    token = _outer.set(_outer.get() or _INSIDE)
    try:
        yield
    finally:
        _outer.reset(token)


def around_fit(fit: Callable[..., Any], estimator: Any, args: Any, kwargs: Any) -> Any:
    """Return what `fit` returns, logged when it is the outermost one."""

    def log(run: Any, label: str, result: Any, full: bool) -> None:  # noqa: ARG001 - the signature of all logs
        given = _given(fit, estimator, args, kwargs)
        log_estimator(run, label, estimator, given, full=full)

    return around(estimator, type(estimator).__name__, functools.partial(fit, estimator, *args, **kwargs), log)


def around(owner: Any, kind: str, call: Callable[[], Any], log: Callable[[Any, str, Any, bool], None]) -> Any:
    """Return what a call returns, logged when it is the outermost one of a nest.

    Args:
        owner: what is fitted.
        kind: what to call it.
        call: the fit.
        log: logs it: takes the run, a name for the fit, what it returned, and whether there is room for all of it.
    """
    run = live.current()
    around_it = _outer.get()
    if run is None or around_it is not None:
        if run is not None and around_it is not owner and around_it is not _OURS:
            _tally(run).inner += 1
        return call()
    token = _outer.set(owner)
    began = time.perf_counter()
    try:
        result = call()
    finally:
        _outer.reset(token)
    ended = time.perf_counter()
    token = _outer.set(_OURS)
    with harmless(kind):
        tally = _tally(run)
        tally.fits += 1
        if tally.fits <= MOST:
            label = tally.label(kind)
            run.metrics({f"{label}.fit_s": ended - began})
            log(run, label, result, tally.fits <= FULL and tally.spent_s < LONGEST_S)
        tally.spent_s += time.perf_counter() - ended
        run.tags({"autolog.fits": tally.fits, "autolog.inner_fits": tally.inner})
    _outer.reset(token)
    return result


def log_estimator(run: Any, label: str, estimator: Any, given: Mapping[str, Any], *, full: bool) -> None:
    """Log a fitted estimator: each part by itself, so that one that fails leaves the others."""
    with harmless(f"{label}'s params"):
        log_params(run, label, {**estimator.get_params(deep=True), **found_params(estimator)})
    inputs, truth = given.get("X"), given.get("y")
    if inputs is not None and truth is not None:
        with harmless(f"{label}'s scores"):
            seen = score(estimator, rows.part(inputs, MOST_ROWS), rows.part(truth, MOST_ROWS))
            run.metrics({f"{label}.training_{name}": value for name, value in seen.items()})
    with harmless(f"{label}'s curves"):
        log_curves(run, label, curves_of(estimator))
        values, table = search_results(estimator)
        run.metrics({f"{label}.{name}": value for name, value in values.items()})
        if table:
            run.table(table, f"models/{label}/search.csv")
    if full:
        log_model(run, label, estimator, inputs)


def log_params(run: Any, label: str, params: Mapping[str, Any]) -> None:
    """Log params under a fit's name; estimators among them are told by their class."""
    told = {name: _param(value) for name, value in params.items()}
    run.params({f"{label}.{name}": value[:_LONGEST] for name, value in told.items()})


def log_curves(run: Any, label: str, curves: Mapping[str, list[float]]) -> None:
    """Log learning curves, a point an iteration."""
    for name, values in curves.items():
        for step, value in enumerate(values):
            run.metrics({f"{label}.{name}": value}, step=step)


def log_model(run: Any, label: str, estimator: Any, inputs: Any) -> None:
    """Log signature, example and model as files of the run.

    Args:
        run: the run.
        label: the fit's name.
        estimator: what was fitted.
        inputs: the rows that it was fitted on, or None.
    """
    if inputs is not None:
        with harmless(f"{label}'s signature"):
            run.write(f"models/{label}/signature.json", rows.encoded(rows.signature(estimator, inputs)))
    log_files(run, label, estimator, inputs)


def log_files(run: Any, label: str, estimator: Any, inputs: Any) -> None:
    """Log an example and the model's files: its original, its ONNX twin, and the record of how far both agree."""
    folder = f"models/{label}"
    with harmless(f"{label}'s example"):
        if inputs is not None and (first := rows.example(inputs)) is not None:
            run.write(f"{folder}/example.json", rows.encoded(first))
    with harmless(f"{label}'s model"):
        files, why = files_of(estimator, None if inputs is None else rows.head(inputs), inputs)
        for name, content in files.items():
            run.write(f"{folder}/{name}", content)
        if why:
            run.log(f"{label} has no ONNX form: {why}")


def _tally(run: Any) -> Tally:
    return _tallies.setdefault(run.id, Tally())


def _given(fit: Callable[..., Any], estimator: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """Return the arguments of a fit by name."""
    try:
        bound = inspect.signature(fit).bind(estimator, *args, **kwargs)
    except TypeError:
        return {}
    return {**bound.arguments, **bound.arguments.get("kwargs", {})}


def _param(value: Any) -> str:
    if hasattr(value, "get_params"):
        return type(value).__name__
    if isinstance(value, list | tuple) and any(hasattr(item, "get_params") for item in _flat(value)):
        return ", ".join(_param(item) if hasattr(item, "get_params") else str(item) for item in _flat(value))
    return words.text(value)


def _flat(value: Any) -> list[Any]:
    return [part for item in value for part in (_flat(item) if isinstance(item, list | tuple) else [item])]


@contextlib.contextmanager
def harmless(what: str) -> Iterator[None]:
    """Turn an error of ours into one line; the same kind of thing is told once."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the border: the script goes on
        if what not in _warned:
            _warned.add(what)
            warn(f"{what}: not logged: {type(error).__name__}: {error!s:.300}")

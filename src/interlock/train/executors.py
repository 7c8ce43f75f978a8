"""Where steps run. `Local` runs them in this process; `workers.Processes` in processes of their own.

An executor is asked for one thing: run this call and return its value. Order, keys, the journal and retries are the
engine's business, so an engine elsewhere has only that to do.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from interlock.train.capture import LineWriter, captured
from interlock.train.context import Scope, speaking_to
from interlock.train.contracts import check_output
from interlock.train.keys import spread
from interlock.train.steps import Step, conducted_by

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.train.values import Values


class Call(msgspec.Struct, frozen=True):
    """One call of a step that is to be run.

    Attributes:
        step: the step.
        inputs: its arguments by name; where the executor works apart, stored values may stand for themselves.
        label: what the call is named in the log, such as `train#3`.
        parts: the parts of its key.
        scope: takes what it logs.
        log: takes what it prints.
    """

    step: Step[..., Any]
    inputs: dict[str, Any]
    label: str
    parts: dict[str, str]
    scope: Scope
    log: LineWriter


class Executor(Protocol):
    """Runs steps.

    Attributes:
        width: how many calls it runs at the same time.
        apart: whether it takes stored values (`Kept`) for inputs and returns one.
    """

    width: int
    apart: bool

    def run(self, call: Call) -> Any:
        """Return the value of a call, or the stored value; raise what the step raised.

        Raises:
            Unavailable: (about `worker`) whoever ran it is gone; the call may be run again.
        """
        ...

    def close(self) -> None:
        """Stop what still runs."""
        ...


class Local:
    """Runs steps in this process: calls where they stand, submitted ones in threads.

    Args:
        values: copies inputs, so that a step changes only what is its own, as in a process of its own.
        width: how many submitted steps run at once.
    """

    apart = False

    def __init__(self, values: Values, width: int = 0) -> None:
        self.width = width or min(8, os.cpu_count() or 1)
        self._values = values

    def run(self, call: Call) -> Any:
        """Return the value of a call; raise what the step raised."""
        inputs = {name: self._values.copy(value) for name, value in call.inputs.items()}
        with captured(call.log):
            return perform(call.step, inputs, call.scope)

    def close(self) -> None:
        """Do nothing: threads end with their steps."""


def perform(step: Step[..., Any], inputs: Mapping[str, Any], scope: Scope) -> Any:
    """Return what a step's function returns, checked against its hint; steps that it calls are plain functions."""
    args, kwargs = spread(step.function, inputs)
    with conducted_by(None), speaking_to(scope):
        value = step.function(*args, **kwargs)
    check_output(step, value)
    return value

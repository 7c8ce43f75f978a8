"""What `interlock.log_metric` and its like say outside of steps: it is of the run that goes on."""

from __future__ import annotations

from typing import Any

from interlock.sdk.recording import live
from interlock.train import context


def hear() -> None:
    """Let the current run take what is said outside of steps, from now on."""
    if take not in context.listeners:
        context.listeners.append(take)


def take(kind: str, name: str, *rest: Any) -> bool:
    """Return whether a run goes on, which was told then.

    Args:
        kind: `param`, `metric` or `artifact`.
        name: the param, metric or path.
        rest: the value, the step and the value, or the bytes.

    Raises:
        Conflict: the param has another value already.
    """
    run = live.current()
    if run is None:
        return False
    if kind == "param":
        run.params({name: rest[0]})
    elif kind == "metric":
        run.metrics({name: rest[1]}, step=rest[0])
    else:
        run.write(name, rest[0])
    return True

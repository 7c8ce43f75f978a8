"""Who is acting: a value that travels with the call, so that every event can name its author."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import getpass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_actor: contextvars.ContextVar[str] = contextvars.ContextVar("interlock_actor", default="")


def current_actor() -> str:
    """Return who is acting here: `user:NAME` unless `acting_as` says otherwise."""
    return _actor.get() or f"user:{_login()}"


@functools.cache  # nobody becomes another user while a process runs
def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return "unknown"


@contextlib.contextmanager
def acting_as(actor: str) -> Iterator[None]:
    """Let `actor` be the author of everything done inside the block."""
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)

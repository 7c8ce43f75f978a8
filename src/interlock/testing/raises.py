"""Expecting an error, without a test framework."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.core.errors import Error


def raises(kind: type[Error], call: Callable[[], object]) -> None:
    """Accept a call that raises this error.

    Raises:
        AssertionError: it raises none.
    """
    try:
        call()
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised")

"""Deadlines that callers set: a header says how many milliseconds an answer is worth waiting for."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

from interlock.core.errors import Invalid
from interlock.serve.http import count_of, refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from interlock.serve.http import Request

DEADLINE: Final = b"interlock-timeout-ms"
MOST_MS: Final = 24 * 3600 * 1000


def left_s(request: Request) -> float | None:
    """Return how many seconds are left for an answer, counted from when the request was begun; None for no deadline.

    Raises:
        Invalid: the header is no number of milliseconds; or, with its status, the time is over.
    """
    if DEADLINE not in request.headers:
        return None
    text = request.header(DEADLINE)
    if not 0 < count_of(text) <= MOST_MS:
        raise Invalid(f"{DEADLINE.decode()} is no number of milliseconds.", hint="Send one such as 250.")
    left = int(text) / 1000 - (time.perf_counter() - request.began)
    if left <= 0:
        raise _late(text)
    return left


@contextlib.asynccontextmanager
async def in_time(request: Request) -> AsyncIterator[None]:
    """Give up what runs in the block, in a task, when the caller would; the answer is a 504 then.

    Raises:
        Invalid: as `left_s`.
    """
    try:
        async with asyncio.timeout(left_s(request)):
            yield
    except TimeoutError:
        raise _late(request.header(DEADLINE)) from None


def _late(text: str) -> Invalid:
    return refusal(504, f"There was no answer within {text} ms.", hint="Ask again with more time.")

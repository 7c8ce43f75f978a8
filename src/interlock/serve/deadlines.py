"""Deadlines that callers set: a header says how many milliseconds an answer is worth waiting for."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from interlock.core.errors import Invalid
from interlock.serve.http import count_of, refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from interlock.serve.http import Request

DEADLINE: Final = b"interlock-timeout-ms"
_MOST_MS: Final = 24 * 3600 * 1000


@contextlib.asynccontextmanager
async def in_time(request: Request) -> AsyncIterator[None]:
    """Give up what runs in the block when the caller would; the answer is a 504 then.

    Raises:
        Invalid: the header is no number of milliseconds; or, with its status, the time is over.
    """
    text = request.header(DEADLINE)
    if not 0 < count_of(text) <= _MOST_MS:
        raise Invalid(f"{DEADLINE.decode()} is no number of milliseconds.", hint="Send one such as 250.")
    try:
        async with asyncio.timeout(int(text) / 1000):
            yield
    except TimeoutError:
        raise refusal(504, f"There was no answer within {text} ms.", hint="Ask again with more time.") from None

"""Request bodies, with an end: read into memory, or handed on as a stream."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from interlock.core.errors import Invalid, Unavailable
from interlock.server.problems import Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from concurrent.futures import Future

    from starlette.requests import Request

JSON: Final = "application/json"
MSGPACK: Final = "application/msgpack"
_PIECE: Final = 1 << 20
_SILENCE_S: Final = 60.0


async def read(request: Request, most: int) -> bytes:
    """Return a request's body.

    Args:
        request: whose body it is.
        most: the largest size that is taken, in bytes.

    Raises:
        Refusal: it is larger.
    """
    check_length(request, most)
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > most:
            raise too_large(most)
    return bytes(body)


def form(request: Request) -> str:
    """Return which of the two forms a request's body has.

    No HTML form can send either, so a browser asks first before it sends one to another site.

    Raises:
        Refusal: it has neither.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in {JSON, MSGPACK}:
        error = Invalid(
            f"The content type {given!r} is not read here.", about="request", hint=f"Send {JSON} (or {MSGPACK})."
        )
        raise Refusal(415, error, {"Accept": f"{JSON}, {MSGPACK}"})
    return given


def decode(body: bytes, form: str) -> dict[str, Any]:
    """Return the arguments that a body holds; nothing at all stands for none.

    Raises:
        Refusal: it is no object of names and values.
    """
    if not body:
        return {}
    decoder = msgspec.json if form == JSON else msgspec.msgpack
    try:
        plain: dict[str, Any] = decoder.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        wrong = Invalid(f"The body is no object of arguments: {reason}.", about="request")
        raise Refusal(400, wrong) from None
    return plain


def check_length(request: Request, most: int) -> None:
    """Accept a request that does not announce more than `most` bytes.

    Raises:
        Refusal: it does.
    """
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > most:
        raise too_large(most)


def too_large(most: int) -> Refusal:
    """Return the refusal of a body above `most` bytes."""
    error = Invalid(f"The body is larger than {most} bytes.", about="request", hint="Send data as files.", most=most)
    return Refusal(413, error, {"Connection": "close"})


class Streaming(Protocol):
    """A request whose body comes in pieces."""

    def stream(self) -> AsyncIterator[bytes]:
        """Yield the pieces."""
        ...


class BodyStream(io.RawIOBase):
    """A request's body as a file that a worker thread reads while the event loop receives it.

    Args:
        request: whose body it is.
        most: the largest size that is taken, in bytes.
        loop: where it is received; None for the loop that runs here.
    """

    def __init__(self, request: Streaming, most: int, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._pieces = request.stream()
        self._loop = loop or asyncio.get_running_loop()
        self._most = most
        self._taken = 0
        self._ahead: Future[bytes] | None = None

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, _: int = -1) -> bytes:
        """Return the next piece of about one megabyte, or nothing at the end.

        Raises:
            Refusal: the body is too large.
            Unavailable: nothing came for a minute.
        """
        waiting = self._ahead or asyncio.run_coroutine_threadsafe(self._gather(), self._loop)
        try:
            piece = waiting.result(_SILENCE_S)
        except TimeoutError:
            waiting.cancel()
            raise Unavailable(f"Nothing came for {_SILENCE_S:g} seconds.", about="request") from None
        # The next piece is received while this one is hashed and written.
        self._ahead = asyncio.run_coroutine_threadsafe(self._gather(), self._loop) if piece else None
        self._taken += len(piece)
        if self._taken > self._most:
            raise too_large(self._most)
        return piece

    async def _gather(self) -> bytes:
        """Return several pieces at once: each trip between the threads costs more than the copy."""
        gathered = bytearray()
        async for piece in self._pieces:
            gathered += piece
            if len(gathered) >= _PIECE:
                break
        return bytes(gathered)

"""Request bodies, with an end: read into memory, or handed on as a stream."""

from __future__ import annotations

import asyncio
import io
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.errors import Invalid, Unavailable
from interlock.server.problems import Refusal
from interlock.server.resources import Share

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from concurrent.futures import Future

    from starlette.requests import Request

    from interlock.server.resources import Resources

JSON: Final = "application/json"
MSGPACK: Final = "application/msgpack"
SMALL: Final = 64 << 10  # bytes of a body, that need no room of their own
_PIECE: Final = 1 << 20
_CRUMB: Final = 4 << 10
_SILENCE_S: Final = 60.0
_IMPATIENCE_S: Final = 5.0  # with who sends less than a fair share in it while others wait for a thread
_FAIR: Final = 64 << 10  # a byte now and then is as good as silence to those who wait
_LOOK_S: Final = 1.0


async def read(request: Request, most: int, share: Share) -> bytes:
    """Return a request's body.

    Args:
        request: whose body it is.
        most: the largest size that is taken, in bytes.
        share: where room for it is made, until the request is answered.

    Raises:
        Refusal: it is larger.
        Unavailable: there is no room for it now.
    """
    check_length(request, most)
    return await gather(request.stream(), most, share)


async def gather(pieces: AsyncIterator[bytes], most: int, share: Share) -> bytes:
    """Return pieces in one.

    Raises:
        Refusal: they are larger than `most`.
        Unavailable: there is no room for them now, or they come so slowly that others wait for the room.
    """
    clock = asyncio.get_running_loop().time
    began, body = clock(), b""
    more = bytearray()  # not a list: a client may send byte by byte, and each would be an object
    async for piece in pieces:
        if not body:
            body = piece
        else:
            more = more or bytearray(body)
            more += piece
        size = len(more or body)
        if size > most:
            raise too_large(most)
        if size > SMALL:  # as much lies in the buffers of any connection
            share.hold(size)
            spent = clock() - began
            if spent > _SILENCE_S and size < spent * _FAIR / _IMPATIENCE_S:
                raise Unavailable(f"{size} bytes came in {spent:.0f} seconds: too few.", about="request")
    return bytes(more) if more else body


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


class BodyStream(io.RawIOBase):
    """A request's body as a file that a worker thread reads while the event loop receives it.

    Args:
        pieces: the body.
        most: the largest size that is taken, in bytes.
        resources: where room for its beginning is made, and who else sends files.
    """

    def __init__(self, pieces: AsyncIterator[bytes], most: int, resources: Resources) -> None:
        self.most = most
        self._pieces = pieces
        self._loop = asyncio.get_running_loop()
        self._crowd = resources.crowd
        self._share = Share(resources.room)
        self._here: deque[bytes | bytearray] = deque()
        self._taken = 0
        self._ended = False  # in the event loop, which may be ahead
        self._more = True  # for who reads
        self._heard = self._moved = self._loop.time()
        self._since_moved = 0  # bytes
        self._ahead: Future[list[bytes | bytearray]] | None = None

    async def begin(self) -> None:
        """Receive about the first megabyte, or all, before any thread is asked to do something with it.

        Raises:
            Unavailable: there is no room for it now.
        """
        self._here.extend(await self._gather(self._share))
        self._more = not self._ended

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, _: int = -1) -> bytes:
        """Return the next piece, as it came, or nothing at the end.

        Raises:
            Refusal: the body is too large.
            Unavailable: nothing came for a minute, or too little for some seconds while others wait for the thread.
        """
        if not self._here and self._more:
            self._wait()
        piece = self._here.popleft() if self._here else b""
        self._taken += len(piece)
        if self._taken > self.most:
            raise too_large(self.most)
        return piece  # type: ignore[return-value]

    def close(self) -> None:
        """Give back the room of what nobody read."""
        self._share.close()
        super().close()

    def _wait(self) -> None:
        """Take the next pieces, and let those after them be received while these are hashed and written."""
        self._share.close()
        waiting = self._ahead or asyncio.run_coroutine_threadsafe(self._gather(), self._loop)
        while True:
            try:
                self._here.extend(waiting.result(_LOOK_S))
                break
            except TimeoutError:
                if wrong := self._too_slow():
                    waiting.cancel()
                    raise wrong from None
        self._more = not self._ended  # nothing is received now, so that this is about what was taken
        self._ahead = asyncio.run_coroutine_threadsafe(self._gather(), self._loop) if self._more else None

    def _too_slow(self) -> Unavailable | None:
        """Return why this body holds its thread no longer, if so: silence, or too little while others wait."""
        now, came = self._loop.time(), self._since_moved
        silent_s, slow_s = now - self._heard, now - self._moved
        if silent_s > _SILENCE_S or (silent_s > _IMPATIENCE_S and self._crowd.waits):
            return Unavailable(f"Nothing came for {silent_s:.0f} seconds.", about="request")
        if slow_s > _IMPATIENCE_S and self._crowd.waits:
            return Unavailable(
                f"Only {came} bytes came in {slow_s:.0f} seconds, and others wait.",
                about="request",
                hint=f"Send {_FAIR} bytes in {_IMPATIENCE_S:g} seconds, or come again when there is less to do.",
            )
        return None

    async def _gather(self, share: Share | None = None) -> list[bytes | bytearray]:
        """Return several pieces at once, about a megabyte: each trip between the threads costs more than a piece."""
        gathered: list[bytes | bytearray] = []
        size, self._since_moved = 0, 0
        self._heard = self._moved = self._loop.time()  # before it was asked, nobody was silent
        async for piece in self._pieces:
            self._heard = self._loop.time()
            self._since_moved += len(piece)
            if self._since_moved >= _FAIR:
                self._moved, self._since_moved = self._heard, 0
            size += len(piece)
            if share is not None and size > SMALL:
                share.hold(size)
            if len(piece) >= _CRUMB:
                gathered.append(piece)
            elif gathered and isinstance(gathered[-1], bytearray):
                gathered[-1] += piece  # a client may send byte by byte, and each would be an object
            elif piece:
                gathered.append(bytearray(piece))
            if size >= _PIECE:
                return gathered
        self._ended = True
        return gathered

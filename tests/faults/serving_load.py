"""Callers who never stop asking a server of predictions, each over a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from typing import Any, NamedTuple


class Got(NamedTuple):
    """An answer: when it came, after how long, its status, headers and body."""

    at: float
    seconds: float
    status: int
    headers: dict[str, str]
    body: bytes

    def ids(self) -> list[str]:
        """Return the ids of its predictions."""
        return [one["prediction_id"] for one in json.loads(self.body)["predictions"]]


class Load:
    """Asks until it is stopped, or until a connection breaks; runs in a thread.

    Args:
        url: the server's.
        body: what is asked.
        callers: how many ask at once.
        pause_s: how long each rests between two requests.

    Attributes:
        answers: what came.
        broken: when connections broke, and why.
    """

    def __init__(self, url: str, body: Any, callers: int, *, pause_s: float = 0.0, path: str = "/invocations") -> None:
        self.answers: list[Got] = []
        self.broken: list[tuple[float, str]] = []
        self._host, self._port = url.removeprefix("http://").split(":")
        raw = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        self._request = head.encode() + b"Content-Length: %d\r\n\r\n" % len(raw) + raw
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all(callers)))
        self._thread.start()

    def stop(self) -> Load:
        """Return when nobody asks any more; what was begun is answered."""
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "a request is not answered"
        return self

    def wait(self, more: int) -> None:
        """Return when so many more answers have come."""
        wanted, until = len(self.answers) + more, time.monotonic() + 60
        while len(self.answers) < wanted:
            assert time.monotonic() < until, f"{len(self.answers)} of {wanted} answers came"
            assert self._thread.is_alive(), self.broken
            time.sleep(0.005)

    async def _all(self, callers: int) -> None:
        await asyncio.gather(*(self._ask() for _ in range(callers)))

    async def _ask(self) -> None:
        writer = None
        try:
            reader, writer = await asyncio.open_connection(self._host, int(self._port))
            while not self._stop.is_set():
                began = time.monotonic()
                writer.write(self._request)
                status, headers, body = await asyncio.wait_for(read_answer(reader), 30)
                now = time.monotonic()
                self.answers.append(Got(now, now - began, status, headers, body))
                await asyncio.sleep(self._pause_s)
        except (OSError, EOFError, TimeoutError) as error:
            self.broken.append((time.monotonic(), repr(error)))
        finally:
            if writer is not None:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of the next answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))

"""One request to a webhook: signed, to an address that was judged, without redirects, with an end.

The signature is that of Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`, as `v1,` and base64. MLflow's headers
carry the same under other names.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.bridges.webhooks.reach import Reach, Target

CONNECT_S: Final = 10.0
WHOLE_S: Final = 30.0
_READ: Final = 64 << 10
_AGENT: Final = "Interlock-Webhooks/1"


class Message(msgspec.Struct, frozen=True):
    """What is sent.

    Attributes:
        id: the delivery's id.
        body: the bytes.
        media_type: what they are.
        headers: the names of the headers for id, timestamp and signature.
    """

    id: str
    body: bytes
    media_type: str
    headers: tuple[str, str, str]


class Outcome(msgspec.Struct, frozen=True):
    """What came of a request.

    Attributes:
        status: the answer's status; 0 when none came.
        error: what was wrong; "" when it was taken.
        body: the beginning of the answer's body.
        took_ms: how long it took.
        wait_s: how long the receiver wants to be left alone, 0 where it did not say.
    """

    status: int
    error: str
    body: bytes = b""
    took_ms: int = 0
    wait_s: float = 0.0


class Brake:
    """Breaks requests off that are under way, and those that begin later."""

    def __init__(self) -> None:
        self.pulled = False
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def pull(self) -> None:
        """Break off."""
        with self._lock:
            self.pulled = True
            for sock in self._open:
                _shut(sock)

    def hold(self, sock: socket.socket) -> None:
        """Let a connection be one that may be broken off."""
        with self._lock:
            self._open.add(sock)
            if self.pulled:
                _shut(sock)

    def let_go(self, sock: socket.socket) -> None:
        """Forget a connection."""
        with self._lock:
            self._open.discard(sock)


def signature(secret: bytes, delivery: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a request."""
    signed = hmac.digest(secret, f"{delivery}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(signed).decode()


def post(
    reach: Reach, url: str, message: Message, secret: bytes | None, now: float, brake: Brake | None = None
) -> Outcome:
    """Return what came of sending a message; never raises for what the other side or the network does.

    Args:
        reach: where it may go.
        url: where it shall go.
        message: what is sent.
        secret: signs it; None for no signature.
        now: seconds since 1970, which the receiver checks against replays.
        brake: breaks it off.
    """
    began = time.monotonic()
    try:
        target = reach.target(url)
        found = _send(target, reach.resolve(target), message, _headers(message, secret, now), brake or Brake())
    except Invalid as error:
        found = Outcome(0, error.message)
    except ssl.SSLError as error:
        found = Outcome(0, f"The secure connection failed: {error.reason or error}.")
    except TimeoutError:
        found = Outcome(0, "No answer came in time.")
    except http.client.HTTPException as error:
        found = Outcome(0, f"The answer is no HTTP ({type(error).__name__}).")
    except (OSError, ValueError) as error:
        found = Outcome(0, f"The request failed: {getattr(error, 'strerror', None) or error}.")
    return msgspec.structs.replace(found, took_ms=round((time.monotonic() - began) * 1000))


def _headers(message: Message, secret: bytes | None, now: float) -> dict[str, str]:
    timestamp = str(int(now))
    id_name, time_name, signature_name = message.headers
    headers = {
        "Content-Type": message.media_type,
        "User-Agent": _AGENT,
        "Connection": "close",
        id_name: message.id,
        time_name: timestamp,
    }
    if secret is not None:
        headers[signature_name] = signature(secret, message.id, timestamp, message.body)
    return headers


def _send(target: Target, addresses: list[str], message: Message, headers: dict[str, str], brake: Brake) -> Outcome:
    with _connected(target, addresses) as raw, _ended(raw, brake) as late:
        try:
            sock = _secured(raw, target)
            connection = http.client.HTTPConnection(target.host, target.port)
            connection.default_port = 443 if target.scheme == "https" else 80  # so that Host leaves it out
            connection.sock = sock
            try:
                connection.request("POST", target.path, message.body, headers)
                answer = connection.getresponse()
                body = answer.read(_READ)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError):
            if late.is_set():
                raise TimeoutError from None
            raise
        if late.is_set():
            raise TimeoutError
        return Outcome(answer.status, _judged(answer.status), body, wait_s=_wait(answer.getheader("Retry-After")))


def _connected(target: Target, addresses: list[str]) -> socket.socket:
    """Return a connection to the first of the judged addresses that answers."""
    for place, address in enumerate(addresses):
        try:
            return socket.create_connection((address, target.port), timeout=CONNECT_S)
        except OSError:
            if place == len(addresses) - 1:
                raise
    raise OSError("no address")


def _secured(raw: socket.socket, target: Target) -> socket.socket:
    if target.scheme == "http":
        return raw
    return ssl.create_default_context().wrap_socket(raw, server_hostname=target.host)


@contextlib.contextmanager
def _ended(sock: socket.socket, brake: Brake) -> Iterator[threading.Event]:
    """Break the connection off when the whole takes too long, whatever the other side drips meanwhile."""
    late = threading.Event()
    duplicate = sock.dup()  # wrapping in TLS takes the handle away from the first object

    def end() -> None:
        late.set()
        _shut(duplicate)

    timer = threading.Timer(WHOLE_S, end)
    timer.daemon = True
    timer.start()
    brake.hold(duplicate)
    try:
        yield late
    finally:
        timer.cancel()
        brake.let_go(duplicate)
        duplicate.close()


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _judged(status: int) -> str:
    if 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        return f"The answer has status {status}; redirects are not followed."
    return f"The answer has status {status}."


def _wait(header: str | None) -> float:
    return float(header) if header and header.isascii() and header.isdigit() and len(header) < 10 else 0.0

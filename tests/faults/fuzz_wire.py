"""Requests as bytes on a socket, right or broken, and the answers to them."""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
from typing import Any, Final, NamedTuple

PATIENCE_S: Final = 30.0
BROKEN: Final = (  # ways to frame a request after which a connection is of no more use
    "short",
    "bad chunk",
    "open chunk",
    "length and chunks",
    "two lengths",
    "length that is none",
    "huge length",
    "no host",
    "two hosts",
    "other host",
    "raw bytes in the target",
    "raw bytes in a header",
    "bad header",
    "no such version",
    "upgrade",
    "line feeds",
)

UNFINISHED: Final = frozenset({"short", "open chunk", "huge length", "line feeds"})  # servers wait for the rest


class Shot(NamedTuple):
    """A request before it becomes bytes.

    Attributes:
        method: the verb.
        target: path and query, quoted as they shall be.
        headers: names and values beyond host and length.
        body: the body.
        framing: "length", "chunked", "expect", or one of `BROKEN`.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    framing: str = "length"

    def raw(self, host: str) -> bytes:
        """Return the request's bytes."""
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        hosts = {"no host": [], "two hosts": [host, host], "other host": ["example.invalid"]}.get(self.framing, [host])
        lines += [f"Host: {name}" for name in hosts]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines += self._lengths()
        head = "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n"
        if self.framing == "raw bytes in the target":
            head = head.replace(b" HTTP/1.1", b"?\xff\x01\x7f\xc3 HTTP/1.1", 1)
        elif self.framing == "raw bytes in a header":
            head = head.replace(b"\r\n", b"\r\nX-Odd: \xff\xfe\x80\x9c\r\nInterlock-Actor: \xff:\xfe\r\n", 1)
        elif self.framing == "bad header":
            head = head.replace(b"\r\n", b"\r\nno colon here\r\n", 1)
        elif self.framing == "no such version":
            head = head.replace(b"HTTP/1.1", b"HTTP/9.9", 1)
        elif self.framing == "line feeds":
            head = head.replace(b"\r\n", b"\n")
        return head + self._framed()

    def _lengths(self) -> list[str]:
        length = f"Content-Length: {len(self.body)}"
        return {
            "chunked": ["Transfer-Encoding: chunked"],
            "bad chunk": ["Transfer-Encoding: chunked"],
            "open chunk": ["Transfer-Encoding: chunked"],
            "short": [f"Content-Length: {len(self.body) + 1000}"],
            "length and chunks": [length, "Transfer-Encoding: chunked"],
            "two lengths": [length, "Content-Length: 7"],
            "length that is none": ["Content-Length: -5x"],
            "huge length": [f"Content-Length: {10**30}"],
            "expect": [length, "Expect: 100-continue"],
            "upgrade": [length, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"],
        }.get(self.framing, [length])

    def _framed(self) -> bytes:
        if self.framing == "bad chunk":
            return b"zz\r\n" + self.body + b"\r\n0\r\n\r\n"
        if self.framing not in {"chunked", "open chunk", "length and chunks"}:
            return self.body
        size = max(1, len(self.body) // 3)
        pieces = [self.body[start : start + size] for start in range(0, len(self.body), size)]
        framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        return framed + (b"" if self.framing == "open chunk" else b"0\r\n\r\n")


class Reply(NamedTuple):
    """What came back; `status` 0 is a connection that was closed without an answer."""

    status: int
    headers: dict[str, str]
    body: bytes


class Line:
    """One connection to a server, opened again when it was closed.

    Args:
        host: where it is, with the port.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        name, _, port = host.rpartition(":")
        self._address = (name, int(port))
        self._socket: socket.socket | None = None

    def ask(self, shot: Shot) -> Reply:
        """Return the answer to a request.

        Raises:
            TimeoutError: none came.
        """
        broken = shot.framing in BROKEN
        if broken:
            self.close()
        raw = shot.raw(self.host)
        for last in (False, True):  # a connection that was kept may have been closed meanwhile
            fresh = self._socket is None
            reply = self._exchange(shot, raw)
            if reply.status or broken or fresh or last:
                break
        if broken:
            self.close()
        return reply

    def _exchange(self, shot: Shot, raw: bytes) -> Reply:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=PATIENCE_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(raw)
        if shot.framing in UNFINISHED:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)  # nothing more will come, so nobody may wait for it
        try:
            response = http.client.HTTPResponse(self._socket, method=shot.method)
            with contextlib.closing(response):
                response.begin()
                body = response.read()
                headers = {name.lower(): value for name, value in response.getheaders()}
                if response.will_close:
                    self.close()
                return Reply(response.status, headers, body)
        except TimeoutError:
            self.close()
            raise
        except (http.client.HTTPException, OSError):
            self.close()
            return Reply(0, {}, b"")

    def close(self) -> None:
        """Close it."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def reframed(shot: Shot, chance: random.Random) -> Shot:
    """Return a request of which the wire is odd: its framing, its content type, its other headers."""
    what = chance.random()
    if what < 0.35:
        return shot._replace(framing=chance.choice([*BROKEN, "chunked", "expect"]))
    if what < 0.65:
        given = chance.choice(_CONTENT_TYPES)
        rest = tuple(header for header in shot.headers if header[0].lower() != "content-type")
        return shot._replace(headers=(*rest, ("Content-Type", given)) if given else rest)
    if what < 0.9:
        return shot._replace(headers=(*shot.headers, chance.choice(_HEADERS)))
    return shot._replace(method=chance.choice(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]))


_CONTENT_TYPES: Final = [
    "",
    "text/plain",
    "application/json; charset=utf-16",
    "application/json; charset=latin-1",
    "application/json; charset=no-such",
    'application/json; charset="',
    "APPLICATION/JSON",
    "application/msgpack",
    "application/x-protobuf",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "application/" + "x" * 5000,
    ";;;",
]
_HEADERS: Final = [
    ("Content-Encoding", "gzip"),
    ("Content-Encoding", "br"),
    ("Content-Encoding", "no-such"),
    ("Accept", "application/msgpack"),
    ("Accept", "x" * 4000),
    ("Accept-Encoding", "*;q=x"),
    ("Range", "bytes=5-1"),
    ("Range", "bytes=-" + "9" * 400),
    ("If-None-Match", "*"),
    ("Interlock-Actor", "nobody"),
    ("Interlock-Actor", "user:%00%ff"),
    ("Interlock-Actor", "user:" + "x" * 5000),
    ("Interlock-Call", "../../etc"),
    ("Interlock-Call", "0" * 26),
    ("Interlock-Call", ""),
    ("Origin", "http://elsewhere.invalid"),
    ("Origin", "null"),
    ("Sec-Fetch-Site", "cross-site"),
    ("X-Forwarded-Proto", "gopher"),
    ("X-Mlflow-Workspace", "other"),
    ("Cookie", "a=" + "b" * 4000),
    ("Connection", "close"),
    ("Trailer", "Expires"),
    ("Max-Forwards", "x"),
]


def shown(value: Any, most: int = 1500) -> str:
    """Return a value as it may stand in a message."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"

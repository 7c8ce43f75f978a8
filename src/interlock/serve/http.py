"""The little HTTP that the data plane needs, on raw ASGI: requests, responses, and the table of endpoints.

A framework's router and request objects cost as much as the whole rest of a prediction; these are dictionaries.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote

import msgspec

from interlock.core.errors import Error, Invalid
from interlock.serve.openapi_parts import Operation
from interlock.serve.openapi_scene import Scene
from interlock.serve.row_ids import row_ids

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON: Final = b"application/json"
_REMEMBERED: Final = 1000  # paths of which we know what answers
_NOBODY: Final = ("", 0)
LONGEST_ID: Final = 200
_DIGITS: Final = 18
_WINDOW_BITS: Final = {b"gzip": 31, b"deflate": 15}


class Request:
    """A request whose body has been read.

    Attributes:
        method: the verb.
        path: the decoded path.
        params: what stood in the braces of the endpoint's pattern.
        headers: by lower-case name; of several, the last.
        body: the bytes.
        route: the pattern of the endpoint that answers, or `none`.
        began: when it was begun, on the clock of `time.perf_counter`.
        whole: whether `body` has been set by who read it, as it came.
        peer: the address it came from, or "".
        query: what stood behind the question mark, as it came.
    """

    __slots__ = ("_id", "began", "body", "headers", "method", "params", "path", "peer", "query", "route", "whole")

    def __init__(self, scope: Scope, id: str = "") -> None:
        self._id = id
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope.get("query_string", b"")
        self.params: tuple[str, ...] = ()
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.body = b""
        self.whole = False
        self.began = 0.0
        self.route = "none"
        self.peer: str = (scope.get("client") or _NOBODY)[0]

    @property
    def id(self) -> str:
        """The caller's `X-Request-Id`, or one of our own."""
        if not self._id:
            given = self.headers.get(b"x-request-id", b"")
            self._id = given.decode() if 0 < len(given) <= LONGEST_ID and given.isascii() else own_id()
        return self._id

    def asked(self, name: str) -> str:
        """Return what the query says under a name, or "".

        Raises:
            Invalid: it says something else besides, or several.
        """
        if not self.query:
            return ""
        try:
            found = parse_qsl(self.query.decode(), keep_blank_values=True, max_num_fields=10, errors="strict")
        except ValueError:  # also what is no UTF-8
            raise Invalid("The query of the address cannot be read.") from None
        if [key for key, _ in found] != [name]:
            raise Invalid(f"The query of the address says more than {name!r}.", hint=f"Ask {self.path}?{name}=...")
        return found[0][1]

    def header(self, name: bytes) -> str:
        """Return a header as text, or "".

        Raises:
            Invalid: it is not UTF-8.
        """
        try:
            return self.headers.get(name, b"").decode()
        except UnicodeDecodeError:
            raise Invalid(f"Header {name.decode()} is not UTF-8.") from None


class Response(msgspec.Struct):
    """What goes back.

    Attributes:
        body: the bytes.
        status: the HTTP status.
        media: the content type.
        headers: further headers, names in lower case.
        model: the versions that answered, for the metrics.
    """

    body: bytes = b""
    status: int = 200
    media: bytes = JSON
    headers: Headers | tuple[tuple[bytes, bytes], ...] = ()
    model: str = ""

    def heads(self, request_id: str) -> list[tuple[bytes, bytes]]:
        """Return all its headers."""
        return [
            (b"content-type", self.media),
            (b"content-length", b"%d" % len(self.body)),
            (b"interlock-request-id", request_id.encode()),
            *self.headers,
        ]

    async def send(self, send: Send, request_id: str) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.heads(request_id)})
        await send({"type": "http.response.body", "body": self.body})


Handler = Callable[[Request], Awaitable[Response]]
Refuse = Callable[[int, Error], Response]


class Endpoint(msgspec.Struct, frozen=True):
    """One way in.

    Attributes:
        method: GET or POST.
        path: a pattern such as `/v2/models/{name}/infer`; a pair of braces takes one segment.
        handler: what answers.
        predicts: whether it is counted, limited and may carry a large body.
        body_bytes: the largest body of one that does not; 0 for a few thousand bytes.
        describe: says what it takes and gives, over what is served now; None says nothing.
    """

    method: str
    path: str
    handler: Handler
    predicts: bool = False
    body_bytes: int = 0
    describe: Callable[[Scene], Operation] | None = None


class Found(NamedTuple):
    """The endpoints of one path, by method, and what stood in the braces."""

    endpoints: dict[str, Endpoint]
    params: tuple[str, ...]


class _Ids:
    """Ids for requests that brought none: unique and in order, and cheaper than ULIDs."""

    def __init__(self) -> None:
        self._start = row_ids(time.time_ns() // 1_000_000, 1)[0][:16]
        self._count = 0

    def __call__(self) -> str:
        """Return the next."""
        self._count = count = self._count + 1
        return f"{self._start}{count:010d}"


own_id: Final = _Ids()


class Table:
    """Endpoints by path: plain paths in a dictionary, patterns by their number of segments."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._plain: dict[str, dict[str, Endpoint]] = {}
        self._seen: dict[str, Found] = {}
        self._patterns: dict[int, list[tuple[tuple[str, ...], dict[str, Endpoint]]]] = {}
        for endpoint in endpoints:
            self._row(endpoint.path)[endpoint.method] = endpoint
        self._seen = {path: Found(row, ()) for path, row in self._plain.items()}

    def find(self, path: str) -> Found | None:
        """Return the endpoints of a path, or None."""
        found = self._seen.get(path)
        if found is None:
            found = self._look(path)
            if found is not None and len(self._seen) < _REMEMBERED:
                self._seen[path] = found
        return found

    def _look(self, path: str) -> Found | None:
        parts = path.split("/")
        for pattern, row in self._patterns.get(len(parts), ()):
            params = _match(pattern, parts)
            if params is not None:
                return Found(row, params)
        return None

    def _row(self, path: str) -> dict[str, Endpoint]:
        if "{" not in path:
            return self._plain.setdefault(path, {})
        parts = tuple(path.split("/"))
        rows = self._patterns.setdefault(len(parts), [])
        for pattern, row in rows:
            if pattern == parts:
                return row
        rows.append((parts, {}))
        return rows[-1][1]


async def read_body(request: Request, receive: Receive, limit: int) -> None:
    """Read a request's body into it, as it came.

    Args:
        request: the request.
        receive: ASGI's.
        limit: the most bytes.

    Raises:
        Invalid: there are more.
        Gone: the caller went away.
    """
    if not 0 <= count_of(request.headers.get(b"content-length", b"0")) <= limit:
        raise _too_large(limit)
    data = request.body if request.whole else await _collect(receive, limit)
    if len(data) > limit:
        raise _too_large(limit)
    request.body = data


def unpack(request: Request, limit: int) -> None:
    """Unpack a request's body, if it came packed.

    Args:
        request: the request.
        limit: the most bytes that it may unpack to.

    Raises:
        Invalid: there are more, or their encoding is not known, or it is not what they are.

    Cost: some 2 ms for each million bytes: not for an event loop, if they are many.
    """
    encoding = request.headers.get(b"content-encoding")
    if encoding is not None and encoding != b"identity":
        request.body = _decompress(request.body, encoding, limit)


def count_of(text: str | bytes) -> int:
    """Return the number that some digits are; -1 for anything else, and where there are more than 18 of them.

    Python itself refuses to read a number of some thousand digits, and takes digits of all scripts.
    """
    return int(text) if len(text) <= _DIGITS and text.isascii() and text.isdigit() else -1


def refusal(status: int, message: str, *, hint: str = "", allow: str = "") -> Invalid:
    """Return the error for a request that HTTP has its own status for; the status is one of its facts."""
    return Invalid(message, hint=hint, status=status, allow=allow)


class Gone(Exception):
    """The caller went away before the body was here."""


def header_text(text: str) -> bytes:
    """Return a text as a header may carry it: other than printable ASCII is percent-encoded."""
    return quote(text, safe=" !#$&'()*+,/:;=?@[]~").encode()


# What a JSON reader may raise.
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def to_json(value: object) -> bytes:
    """Return a value as JSON."""
    return msgspec.json.encode(value)


def unreadable(error: Exception, body: bytes = b"", *, hint: str = "") -> Invalid:
    """Return the error for a body that is not the JSON wanted, and a hint at what is.

    Args:
        error: what reading it raised.
        body: the body where it came as JSON, which is then looked at as a whole: a reader may have stopped before its
            end, at a name that it does not know.
        hint: what is wanted.
    """
    if body and isinstance(error, msgspec.ValidationError):
        try:
            msgspec.json.decode(body)
        except UNREADABLE as found:
            error = found
    if isinstance(error, RecursionError):
        return Invalid("The body is nested too deeply.")
    if isinstance(error, UnicodeDecodeError):
        return Invalid("The body is not UTF-8.")
    if isinstance(error, msgspec.DecodeError) and "truncated" in str(error):
        return Invalid("The body is no complete JSON: it ends too early.", hint=hint)
    return Invalid(f"The body cannot be read: {error}.", hint=hint)


def _too_large(limit: int) -> Invalid:
    return refusal(413, f"The body is larger than {limit} bytes.", hint="Send fewer rows at a time.")


async def _collect(receive: Receive, limit: int) -> bytes:
    message = await receive()  # a connection whose body does not come is ended by its protocol
    if message["type"] == "http.disconnect":
        raise Gone
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if len(body) > limit:
            raise _too_large(limit)
        return body
    chunks, size = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise _too_large(limit)
    return b"".join(chunks)


def _decompress(data: bytes, encoding: bytes, limit: int) -> bytes:
    bits = _WINDOW_BITS.get(encoding.strip().lower())
    if bits is None:
        raise refusal(415, "This Content-Encoding is not read here.", hint="Use gzip, deflate or none.")
    reader = zlib.decompressobj(bits)
    try:
        plain = reader.decompress(data, limit + 1)
    except zlib.error:
        raise Invalid("The body is not what its Content-Encoding says.") from None
    if len(plain) > limit:
        raise _too_large(limit)
    if not reader.eof:
        raise Invalid("The compressed body ends too early.")
    return plain


def _match(pattern: tuple[str, ...], parts: Sequence[str]) -> tuple[str, ...] | None:
    params = []
    for want, part in zip(pattern, parts, strict=True):
        if want.startswith("{"):
            if not part:
                return None
            params.append(part)
        elif want != part:
            return None
    return tuple(params)

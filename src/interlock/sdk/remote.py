"""A workspace behind an address: the same operations over HTTP, the same errors back."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.client
import os
import time
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from interlock.core.actor import current_actor
from interlock.core.errors import Corrupt, Error, Finding, Invalid, Unavailable
from interlock.core.files import StoredFile
from interlock.core.ids import new_id
from interlock.sdk import arguments as wire
from interlock.sdk.connections import Connections
from interlock.sdk.files import open_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from interlock.core.operations import Operation

T = TypeVar("T")
MSGPACK: Final = "application/msgpack"
CALL: Final = "Interlock-Call"  # the id that binds files to the operation that they are sent for
_PROBLEM: Final = "application/problem+json"
_PAUSES_S: Final = (0.1, 0.4)  # before the second and the third try of a reading call
_CHUNK: Final = 1 << 20
_TRY_LATER: Final = frozenset({429, 502, 503, 504})


class RemoteBackend:
    """Calls the services of a server.

    Args:
        address: the server's address.
        read_s: seconds that a reading call may take.
        write_s: seconds that any other call may take; a training run answers when it is done.
    """

    def __init__(self, address: str, *, read_s: float = 60.0, write_s: float = 3600.0) -> None:
        self._connections = Connections(address)
        self.location = self._connections.address
        self._read_s = read_s
        self._write_s = write_s

    def call(self, operation: Operation, arguments: Mapping[str, Any], call: str = "") -> Any:
        """Return what an operation returns."""
        body = wire.encode(operation, arguments)
        path = f"/api/v1/{operation.service}/{operation.name}"
        headers = {"Content-Type": MSGPACK, "Accept": MSGPACK, **({CALL: call} if call else {})}

        def ask(timeout_s: float) -> bytes:
            with self._answer("POST", path, body, headers, timeout_s) as response:
                return response.read()

        answer = self._repeated(ask) if operation.permission.reads_only else ask(self._write_s)
        try:
            return _decoder(operation.returns).decode(answer)
        except msgspec.MsgspecError as error:
            raise self._not_ours(f"an answer that is no result of {wire.title(operation)} ({error})") from None

    def put(self, path: Path, call: str) -> StoredFile:
        """Return a file of this machine, which waits at the server for its call."""
        with open_file(path) as source:
            size = os.fstat(source.fileno()).st_size
            reader = _Counting(source, size, path.name)
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size), CALL: call}
            target = "/api/v1/uploads?" + urlencode({"name": path.name})
            with self._answer("PUT", target, reader, headers, self._write_s) as response:  # type: ignore[arg-type]
                answer = response.read()
        try:
            stored = msgspec.json.decode(answer, type=StoredFile)
        except msgspec.MsgspecError as error:
            raise self._not_ours(f"an answer that is no stored file ({error})") from None
        if stored.digest != reader.checker.hexdigest():
            raise Corrupt(f"{path.name!r} changed on its way to the server.", about="file", hint="Send it again.")
        return stored

    def read(self, digest: str) -> bytes:
        """Return the bytes of an object, checked."""

        def ask(timeout_s: float) -> bytes:
            with self._answer("GET", _object(digest), b"", {}, timeout_s) as response:
                return response.read()

        data = self._repeated(ask)
        _check(hashlib.sha256(data).hexdigest(), digest)
        return data

    def save(self, digest: str, path: Path) -> None:
        """Write the bytes of an object to a file, which appears whole or not at all."""

        def ask(timeout_s: float) -> None:
            with self._answer("GET", _object(digest), b"", {}, timeout_s) as response:
                _receive(response, digest, path)

        self._repeated(ask)

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def _repeated(self, ask: Callable[[float], T]) -> T:
        """Return what a reading call answers, tried again while the server cannot be reached or says it is busy."""
        for pause in _PAUSES_S:
            try:
                return ask(self._read_s)
            except Unavailable:
                time.sleep(pause)
        return ask(self._read_s)

    @contextlib.contextmanager
    def _answer(
        self, method: str, path: str, body: bytes | BinaryIO, headers: Mapping[str, str], timeout_s: float
    ) -> Iterator[http.client.HTTPResponse]:
        """Give the response to a request, if it is no error.

        Raises:
            Error: what the server answered, in its own class.
            Unavailable: the server cannot be reached.
        """
        actor = quote(current_actor(), safe=":@ ")  # a header holds no letters beyond ASCII
        sent = {"User-Agent": "interlock", "Interlock-Actor": actor, **headers}
        try:
            with self._connections.exchange(method, path, body, sent, timeout_s) as response:
                if response.status != http.client.OK:
                    raise self._error(response.status, response.headers.get_content_type(), response.read())
                yield response
        except Error:  # some of ours are OSError too
            raise
        except TimeoutError:
            raise Unavailable(
                f"{self.location} did not answer within {timeout_s:g} seconds.",
                about="server",
                hint="It may still be at work on it: look at the state before you try again.",
            ) from None
        except (ConnectionError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        except OSError as error:
            if error.filename is not None:  # a file of the caller's, not the connection
                raise
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"{self.location} cannot be reached: {str(error) or type(error).__name__}.",
            about="server",
            hint="Is it running? `interlock up` starts one.",
        )

    def _error(self, status: int, content_type: str, body: bytes) -> Error:
        if content_type == _PROBLEM:
            with contextlib.suppress(msgspec.MsgspecError, TypeError):  # TypeError: facts of names that no error has
                return Error.from_problem(msgspec.to_builtins(msgspec.json.decode(body, type=_Problem)))
        if status in _TRY_LATER:
            return Unavailable(f"{self.location} answered {status}.", about="server", hint="Try again later.")
        return self._not_ours(f"status {status}")

    def _not_ours(self, what: str) -> Error:
        return Error(
            f"{self.location} answered with {what}.",
            about="server",
            hint="Is this the address of an Interlock server of the same version?",
        )


class _Problem(msgspec.Struct):
    """The members of a problem document that make an error."""

    code: str
    title: str
    hint: str = ""
    findings: list[Finding] = []
    facts: dict[str, Any] = {}


class _Counting:
    """A file that is hashed while it is read, no further than the length that was announced."""

    def __init__(self, source: BinaryIO, size: int, name: str) -> None:
        self._source = source
        self._left = size
        self._name = name
        self.checker = hashlib.sha256()

    def read(self, _: int = -1) -> bytes:
        """Return the next piece; the standard library's own are 8 KB, which costs ten times the calls."""
        chunk = self._source.read(min(self._left, _CHUNK))
        if self._left and not chunk:
            raise Invalid(f"{self._name!r} became shorter while it was sent.", about="file", hint="Send it again.")
        self._left -= len(chunk)
        self.checker.update(chunk)
        return chunk


def _receive(response: http.client.HTTPResponse, digest: str, path: Path) -> None:
    checker = hashlib.sha256()
    part = path.parent / f".interlock-{new_id()}"
    try:
        with part.open("xb") as sink:
            while chunk := response.read(_CHUNK):
                checker.update(chunk)
                _write(sink, chunk, path)
        _check_whole(response)
        _check(checker.hexdigest(), digest)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _write(sink: BinaryIO, chunk: bytes, path: Path) -> None:
    try:
        sink.write(chunk)
    except OSError as error:  # said here, where it cannot be taken for the connection's
        raise Invalid(f"{str(path)!r} cannot be written: {error.strerror}.", about="file") from None


@functools.lru_cache(maxsize=512)
def _decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind)


def _object(digest: str) -> str:
    return f"/api/v1/objects/{quote(digest, safe='')}"


def _check_whole(response: http.client.HTTPResponse) -> None:
    """Refuse a response that broke off, which `read` in pieces takes for the end."""
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)


def _check(found: str, digest: str) -> None:
    if found != digest:
        raise Corrupt(f"Object {digest} is not what its digest says.", about="object", digest=digest)

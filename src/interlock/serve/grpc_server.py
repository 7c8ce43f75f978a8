"""The Open Inference Protocol over gRPC: a server in the event loop of the HTTP one, over the same engine.

It is there when a gRPC port is asked for, and needs the extra `grpc`. An error is a status code with a sentence:
NOT_FOUND, INVALID_ARGUMENT, RESOURCE_EXHAUSTED (too many calls, or a message that is too large), UNAVAILABLE and
DEADLINE_EXCEEDED; INTERNAL is a fault of ours, never of the caller's.

All calls are unary, and registered as streams from the client: gRPC reads a unary message before it asks anybody, as
large as it comes and as long as it takes. `grpc_crowd.py` has the rules by which messages are read here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from interlock.core.errors import Conflict, Denied, Error, Invalid, MissingExtra, NotFound, Unavailable
from interlock.serve.grpc_calls import Call, Calls
from interlock.serve.grpc_crowd import Crowd
from interlock.serve.grpc_messages import SERVICE, messages

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from interlock.serve.app import Limits
    from interlock.serve.engine import Engine
    from interlock.serve.grpc_calls import Handler

    Answering = Callable[[Any, Call], Awaitable[bytes]]
    Reading = Callable[[Handler], Answering]

_log: Final = logging.getLogger("interlock.serve")
_CODES: Final[tuple[tuple[type[Error], str], ...]] = (
    (NotFound, "NOT_FOUND"),
    (Invalid, "INVALID_ARGUMENT"),
    (Conflict, "FAILED_PRECONDITION"),
    (Denied, "PERMISSION_DENIED"),
    (Unavailable, "UNAVAILABLE"),
    (MissingExtra, "UNIMPLEMENTED"),
)
# Errors that HTTP has a status of its own for.
_BY_STATUS: Final = {
    408: "DEADLINE_EXCEEDED",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    504: "DEADLINE_EXCEEDED",
}
_LATE: Final = 504
_BESIDE: Final = 64  # calls beside the predictions
_HEALTH: Final = frozenset({"ServerLive", "ServerReady"})  # a busy server answers them too; their messages are empty
_HEALTH_S: Final = 1.0  # for the message of such a call; then it is answered without
# Calls at once over a connection, at least. Well above all places: who sends more before he knows the bound is cut off,
# and not told why.
_STREAMS: Final = 1000
_WINDOW: Final = 1 << 16
_PING_MS: Final = 60_000
_PONG_MS: Final = 20_000
_LONGEST_DETAILS: Final = 2000  # bytes; a client gives up on metadata beyond 8 KiB, and some take three there


class GrpcServer:
    """A gRPC server that runs.

    Attributes:
        port: the port it listens on.
    """

    def __init__(self, server: Any, port: int) -> None:
        self._server = server
        self.port = port

    async def stop(self, grace_s: float) -> None:
        """Take no new calls, let those under way end, and cancel what is left after the grace.

        Args:
            grace_s: seconds that calls have.
        """
        await self._server.stop(grace_s)


async def start_grpc(engine: Engine, limits: Limits, host: str, port: int) -> GrpcServer:
    """Return a running server in the present event loop.

    Args:
        engine: what answers.
        limits: what it takes on, together with what comes over HTTP.
        host: the address it listens on.
        port: the port; 0 picks a free one.

    Raises:
        MissingExtra: the extra `grpc` is not installed.
        Unavailable: the address cannot be listened on.

    Cost: 50 ms and 25 MB for the library, the first time.
    """
    try:
        import grpc
        import grpc.aio
    except ImportError:
        raise MissingExtra.named("grpc", "grpc") from None
    calls = Calls(engine, limits, messages())
    server = grpc.aio.server(options=_options(limits))
    crowd = Crowd(limits.body_bytes)
    health, message = _health_messages(grpc), _messages(grpc, calls, crowd)
    rows = {
        name: grpc.stream_unary_rpc_method_handler(
            _bordered(grpc, engine, f"/{SERVICE}/{name}", (health if name in _HEALTH else message)(handler))
        )
        for name, handler in calls.handlers().items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, rows),))
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError:
        raise Unavailable(
            f"{address} cannot be listened on for gRPC.",
            about="address",
            hint="Name another --grpc-port, or 0 for a free one.",
        ) from None
    await server.start()
    return GrpcServer(server, bound)


def _options(limits: Limits) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", limits.body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),  # a port that is taken is an error, not a port shared with a stranger
        ("grpc.keepalive_time_ms", _PING_MS),  # half-open connections end
        ("grpc.keepalive_timeout_ms", _PONG_MS),
        ("grpc.max_concurrent_streams", max(_STREAMS, 2 * (limits.concurrent + _BESIDE))),
        # What comes before it is read: not more where the network would bear more.
        ("grpc.http2.lookahead_bytes", _WINDOW),
        ("grpc.http2.bdp_probe", 0),
    ]


def _messages(grpc: Any, calls: Calls, crowd: Crowd) -> Reading:
    """Return what lets handlers have their messages, as far as the crowd has places for them."""
    end = grpc.aio.EOF

    def reading(handler: Handler) -> Answering:
        async def answer(context: Any, call: Call) -> bytes:
            place = crowd.enter(call.peer, calls.most + _BESIDE)
            try:
                data = await crowd.read(place, context.read)
                if data is end:
                    raise Invalid("There is no message.", hint="A call has one, even where it is empty.")
                return await handler(data, call)
            finally:
                crowd.leave(place)

        return answer

    return reading


def _health_messages(grpc: Any) -> Reading:
    """Return the same for calls that are answered whether their messages come or not."""
    end, waiting = grpc.aio.EOF, 0

    async def message(context: Any) -> bytes:
        nonlocal waiting
        if waiting >= _BESIDE:
            return b""
        waiting += 1
        try:
            async with asyncio.timeout(_HEALTH_S):
                data: bytes = await context.read()
            return b"" if data is end else data
        except TimeoutError:
            return b""
        finally:
            waiting -= 1

    def reading(handler: Handler) -> Answering:
        async def answer(context: Any, call: Call) -> bytes:
            return await handler(await message(context), call)

        return answer

    return reading


def _bordered(grpc: Any, engine: Engine, path: str, answering: Answering) -> Callable[[object, Any], Awaitable[bytes]]:
    """Return a handler as gRPC calls it: errors become status codes, and every call is counted.

    It answers bytes and not a message, because gRPC calls bytes that are none an internal error.
    """

    async def answer(_: object, context: Any) -> bytes:
        began = time.perf_counter()
        call = Call(context.invocation_metadata() or (), context.peer())
        code = grpc.StatusCode.CANCELLED
        try:
            try:
                _check_deadline(context.time_remaining())
                found = await answering(context, call)
                context.set_trailing_metadata(call.trailing())
                code = grpc.StatusCode.OK
                return found
            except Error as error:  # only its words outlive it: its frames have the message
                code, details = getattr(grpc.StatusCode, code_of(error)), details_of(error)
            except Exception:  # noqa: BLE001 - the border of a call: callers learn nothing of our insides, the log all
                _log.exception("request %s failed", call.id)
                code = grpc.StatusCode.INTERNAL
                details = f"Something is wrong in the server. Its log names request {call.id}."
            await context.abort(code, details, call.trailing())
            return b""  # not reached: abort raises
        finally:
            engine.metrics.count(path, call.model, code.value[0], time.perf_counter() - began)

    return answer


def _check_deadline(left_s: float | None) -> None:
    if left_s is not None and left_s <= 0:
        raise Unavailable("The deadline was over before the work began.", about="deadline", status=_LATE)


def code_of(error: Error) -> str:
    """Return the name of an error's status code."""
    own = _BY_STATUS.get(error.facts.get("status", 0))
    return own or next((name for kind, name in _CODES if isinstance(error, kind)), "INTERNAL")


def details_of(error: Error) -> str:
    """Return an error's sentence, cut to what a status can carry."""
    text = str(error).encode()
    return text[:_LONGEST_DETAILS].decode(errors="ignore") + ("..." if len(text) > _LONGEST_DETAILS else "")

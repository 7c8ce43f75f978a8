"""A server that runs: bound first, announced when it answers, stopped without dropping what it has begun."""

from __future__ import annotations

import contextlib
import ipaddress
import signal
import socket
import threading
from typing import TYPE_CHECKING, Final

import uvicorn

from interlock.bridges.webhooks import Sender
from interlock.core.errors import Denied, Invalid, Unavailable
from interlock.server.app import create_app
from interlock.server.connections import BoundedProtocol
from interlock.server.guard import Access
from interlock.server.mlflow.webhooks import reach_of
from interlock.store.holder import ServerLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp

    from interlock.sdk.workspace import Workspace

_KEEP_ALIVE_S: Final = 75  # more than our client keeps an idle connection (30 s), so that the client lets go first
_GRACE_S: Final = 10
_LAST_PORT: Final = 65_535
_START_S: Final = 30.0


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers, which kill the process at a terminate signal before anything is closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Server:
    """An HTTP server over one workspace, bound to its address from the start.

    Args:
        workspace: a workspace on this machine; it stays open when the server stops.
        host: the address to listen on.
        port: the port; 0 picks a free one.
        insecure_no_auth: listen beyond this machine although nobody signs in.
        hosts: further names that the server answers to, such as a reverse proxy's.
        routes: further Starlette routes.

    Raises:
        Denied: the address is reachable from other machines, and `insecure_no_auth` was not said.
        Conflict: another process serves the workspace.
        Invalid: the address is none, or the workspace is one.
        Unavailable: the port is taken.
    """

    def __init__(
        self,
        workspace: Workspace,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        insecure_no_auth: bool = False,
        hosts: Sequence[str] = (),
        routes: Sequence[BaseRoute] = (),
    ) -> None:
        address, loopback = _address(host)
        if not loopback and not insecure_no_auth:
            raise Denied(
                f"{host} can be reached from other machines, and nobody signs in yet.",
                about="server",
                hint="Listen on 127.0.0.1, or say --insecure-no-auth if the network is yours alone.",
            )
        access, store = Access(loopback, tuple(hosts)), workspace.local.store
        with contextlib.ExitStack() as undo:
            self._lock = ServerLock(store.root, store.clock.now())
            undo.callback(self._lock.release)
            self._socket = undo.enter_context(_bound(address, port))
            self.port: int = self._socket.getsockname()[1]
            shown = f"[{address}]" if ":" in address else address
            self.address = f"http://{shown}:{self.port}"
            self._lock.announce(self.address)
            self._uvicorn = _configured(create_app(workspace, access=access, routes=routes))
            self._sender = Sender(store, reach_of(store, access))
            undo.pop_all()

    def run(self) -> None:
        """Serve until `stop` is called, and send meanwhile what webhooks are to be told."""
        self._sender.start()
        try:
            self._uvicorn.run(sockets=[self._socket])
        finally:
            self._sender.stop()
            self.close()

    def close(self) -> None:
        """Let go of the address and of the workspace; for a server that shall not run after all."""
        self._socket.close()
        self._lock.release()

    def stop(self) -> None:
        """Ask the server to finish what it has begun and to end; returns at once."""
        self._uvicorn.should_exit = True

    @property
    def answers(self) -> bool:
        """Whether it takes requests."""
        return self._uvicorn.started and not self._uvicorn.should_exit


def _configured(app: ASGIApp) -> _Uvicorn:
    return _Uvicorn(
        uvicorn.Config(
            app,
            http=BoundedProtocol,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_GRACE_S,
            ws="none",
        )
    )


def serve(
    workspace: Workspace,
    host: str = "127.0.0.1",
    port: int = 8230,
    *,
    insecure_no_auth: bool = False,
    hosts: Sequence[str] = (),
    announce: Callable[[str], None] = print,
) -> None:
    """Serve a workspace until the process is told to stop.

    Args:
        workspace: a workspace on this machine.
        host: the address to listen on.
        port: the port; 0 picks a free one.
        insecure_no_auth: listen beyond this machine although nobody signs in.
        hosts: further names that the server answers to.
        announce: is given the address, once the port is ours.

    Raises:
        Denied: the address is reachable from other machines, and `insecure_no_auth` was not said.
        Conflict: another process serves the workspace.
        Unavailable: the port is taken.
    """
    server = Server(workspace, host, port, insecure_no_auth=insecure_no_auth, hosts=hosts)
    announce(server.address)
    with stopping(server.stop):
        server.run()


@contextlib.contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at the first interrupt or terminate signal in the block; a second one has its usual effect.

    Outside the main thread, where no signals arrive, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def arrived(_: int, __: object) -> None:
        restore()
        stop()

    for number in before:
        signal.signal(number, arrived)
    try:
        yield
    finally:
        restore()


@contextlib.contextmanager
def serving(workspace: Workspace, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve a workspace from a thread while the block runs; gives the address.

    Raises:
        Conflict: another process serves the workspace, or this one does.
        Unavailable: it does not start.
    """
    server = Server(workspace, host, port)
    thread = threading.Thread(target=server.run, name="interlock-server", daemon=True)
    thread.start()
    try:
        _wait_until_it_answers(server, thread)
        yield server.address
    finally:
        server.stop()
        thread.join()


def _wait_until_it_answers(server: Server, thread: threading.Thread) -> None:
    pause = threading.Event()
    for _ in range(int(_START_S / 0.01)):
        if server.answers:
            return
        if not thread.is_alive():
            break
        pause.wait(0.01)
    raise Unavailable("The server did not start.", about="server")


def _address(host: str) -> tuple[str, bool]:
    """Return the address that a host has, and whether it is reachable from this machine alone."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Invalid(f"{host!r} is not an address of this machine: {error}.", about="server") from None
    addresses = sorted({str(entry[4][0]) for entry in found}, key=lambda text: ":" in text)
    return addresses[0], all(ipaddress.ip_address(text.partition("%")[0]).is_loopback for text in addresses)


def _bound(address: str, port: int) -> socket.socket:
    if not 0 <= port <= _LAST_PORT:
        raise Invalid(f"{port} is no port.", about="server", hint="Ports are 1 to 65535; 0 picks a free one.")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, backlog=2048)
    except OSError as error:
        raise Unavailable(
            f"Port {port} of {address} cannot be had: {error.strerror}.",
            about="server",
            hint="Another server may be using it; --port 0 picks a free one.",
            port=port,
        ) from None

"""The guard in front of every route: which hosts are ours, who may change things from a browser, which headers go out.

A page of another site can make a browser send requests to a server on loopback. So the Host must be one of our names
exactly (a rebound DNS name is not), and whatever may change something must come from our own origin or from no
browser at all, whatever its verb.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import msgspec

from interlock.core.actor import current_actor
from interlock.core.errors import Denied, Invalid
from interlock.core.ids import new_id
from interlock.server.problems import Refusal, respond

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
_READS: Final = frozenset({"GET", "HEAD"})
_POLICY: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_NAMES: Final = frozenset(name for name, _ in _HEADERS)
_TELLING: Final = frozenset({b"host", b"origin", b"sec-fetch-site"})  # the last two are sent by browsers only
_MISDIRECTED: Final = 421
_LONGEST_ACTOR: Final = 200


class Access(msgspec.Struct, frozen=True):
    """Who reaches the server.

    Attributes:
        loopback: only this machine does.
        hosts: further names that it answers to, such as that of a reverse proxy, with the port if it is no usual one.
    """

    loopback: bool = True
    hosts: tuple[str, ...] = ()

    def answers_to(self, host: str, port: int) -> bool:
        """Return whether a Host header names this server, listening on `port`.

        On loopback only three names and those of `hosts` do. Beyond it, literal addresses do too, which no DNS answer
        can forge, and the machine's own name.
        """
        host = host.lower()
        if host in {name.lower() for name in self.hosts}:
            return True
        name, given = _split(host)
        if given != port:
            return False
        return name in _LOOPBACK or (not self.loopback and (_is_literal(name) or name == socket.gethostname().lower()))

    def actor(self, claimed: str, peer: str) -> str:
        """Return who acts in a request.

        There is no sign-in yet. On loopback there is one user, the server's own, who may act as another by the header
        `Interlock-Actor` (a job, a test; a reverse proxy that signs people in sets it). Beyond loopback nobody is
        believed, and the ledger says so: `anonymous:ADDRESS`.

        Raises:
            Invalid: the claim is no `kind:name`.
        """
        if not self.loopback:
            return f"anonymous:{peer}"
        claimed = unquote(claimed)
        if not claimed:
            return current_actor()
        kind, colon, name = claimed.partition(":")
        if not (kind and colon and name and claimed.isprintable() and len(claimed) <= _LONGEST_ACTOR):
            raise Invalid("The header Interlock-Actor is not like 'user:ann'.", about="actor")
        return claimed


class Guard:
    """ASGI middleware that lets in what `Access` allows and dresses what goes out.

    Args:
        app: what it guards.
        access: who may come.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access
        self._known: tuple[bytes, bytes, int] = (b"", b"", 0)  # the Host header that was let in last, and the port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope["interlock.request_id"] = new_id()

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}  # lower case, as ASGI wants it
                plain = present.isdisjoint(_NAMES)
                added = _HEADERS if plain else [header for header in _HEADERS if header[0] not in present]
                message["headers"] = [*message["headers"], *added, (b"interlock-request-id", request_id.encode())]
            await send(message)

        refusal = self._refuse(scope)
        await (respond(refusal, request_id) if refusal else self._app)(scope, receive, dressed)

    def _refuse(self, scope: Scope) -> Refusal | None:
        port = (scope.get("server") or ("", 0))[1] or 0
        told = [header for header in scope["headers"] if header[0] in _TELLING]
        if len(told) == 1 and (*told[0], port) == self._known:  # the usual case: a program that came before
            return None
        return self._look(scope, port)

    def _look(self, scope: Scope, port: int) -> Refusal | None:
        hosts = _values(scope, b"host")
        if len(hosts) != 1 or not self._access.answers_to(hosts[0], port):
            error = Denied(
                f"This server does not answer to the host {', '.join(hosts)!r}.",
                about="host",
                hint=f"Use http://127.0.0.1:{port}, or start it with --allow-host.",
            )
            return Refusal(_MISDIRECTED, error)
        self._known = (b"host", hosts[0].encode("latin-1"), port)
        if scope["method"] in _READS:
            return None
        origins, sites = _values(scope, b"origin"), _values(scope, b"sec-fetch-site")
        own = {f"http://{hosts[0]}".lower(), f"https://{hosts[0]}".lower()}
        if any(origin.lower() not in own for origin in origins) or set(sites) - {"same-origin", "none"}:
            hint = "Only its own pages and programs outside a browser may."
            error = Denied("A page of another site may not change anything here.", about="origin", hint=hint)
            return Refusal(403, error)
        return None


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _split(host: str) -> tuple[str, int]:
    """Return the name and port of a Host header; -1 where the port is no number."""
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        return host, 80
    return name, int(port) if port.isascii() and port.isdigit() else -1


def _is_literal(name: str) -> bool:
    try:
        ipaddress.ip_address(name[1:-1] if name.startswith("[") and name.endswith("]") else name)
    except ValueError:
        return False
    return True

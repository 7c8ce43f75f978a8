"""Where webhooks may go: a server must not become the way into a network that its callers cannot reach themselves.

A host is resolved once, every address it has is judged, and the connection is made to an address that was judged; a
name that means another address a moment later changes nothing.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import msgspec

from interlock.core.errors import Invalid

if TYPE_CHECKING:
    from interlock.store import Store

_LONGEST: Final = 2000
_PORTS: Final = {"http": 80, "https": 443}
_NAT64: Final = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
_COMPATIBLE: Final = ipaddress.ip_network("::/96")  # IPv4-compatible addresses, long given up
_LOWEST: Final = (ipaddress.IPv6Address("::"), ipaddress.IPv6Address("::1"))
_CLOUD: Final = (ipaddress.IPv6Address("fd00:ec2::254"),)  # where a cloud answers with credentials
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Target(NamedTuple):
    """A webhook's address in its parts."""

    scheme: str
    host: str
    port: int
    path: str


class Reach(msgspec.Struct, frozen=True):
    """How far webhooks go.

    Attributes:
        private: also to this machine and to private networks, and by http://. So it is where only this machine reaches
            the server, or where the setting `webhooks_private` says so. Link-local addresses, where clouds answer with
            credentials, are never reached.
    """

    private: bool = False

    def target(self, url: str) -> Target:
        """Return the parts of a URL that a webhook may have; nothing is resolved.

        Raises:
            Invalid: it may not.
        """
        if len(url) > _LONGEST or not re.match(r"[!-~]+\Z", url):
            raise _refused("it must be plain ASCII without spaces, and not longer than 2000 characters")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise _refused(str(error)) from None
        if parts.scheme not in _PORTS or (parts.scheme == "http" and not self.private):
            allowed = "https:// and http://" if self.private else "https://"
            raise _refused(f"it must begin with {allowed}, not with {parts.scheme[:20]!r}")
        if not parts.hostname or port == 0:
            raise _refused("it must name a host")
        if "@" in parts.netloc:
            raise _refused("it must not hold a name or password; use a secret, which signs each request")
        host = parts.hostname.rstrip(".")
        if (literal := _literal(host)) is not None and not self.allows(literal):
            raise _refused(f"{host} is not a public address")
        if not host or (literal is None and not _is_name(host)):
            raise _refused("its host is none")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Target(parts.scheme, host, port or _PORTS[parts.scheme], path)

    def resolve(self, target: Target) -> list[str]:
        """Return the addresses of a target, all of which may be reached.

        Raises:
            Invalid: it has none, or one that may not be reached.
        """
        try:
            found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no name of a host"
            raise _refused(f"{target.host} cannot be resolved ({reason})") from None
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            literal = _literal(address.partition("%")[0])
            if literal is None or not self.allows(literal):
                raise _refused(f"{target.host} is {address}, which is not a public address")
        return addresses

    def allows(self, address: _Address) -> bool:
        """Return whether an address may be reached."""
        inner = _inner(address)
        if inner is not None:
            return self.allows(inner)
        if address.is_multicast or address.is_unspecified or address.is_link_local or address in _CLOUD:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.is_site_local:
            return self.private
        if address.is_loopback or not address.is_global:
            return self.private
        return True


_SERVED: Final[WeakKeyDictionary[Store, Reach]] = WeakKeyDictionary()


def serve(store: Store, reach: Reach) -> None:
    """Let operations on a store, which a server now calls for others, go no further than its callers could go.

    Args:
        store: the workspace that is served.
        reach: where the server's webhooks may go.
    """
    _SERVED[store] = reach


def reach_of(store: Store) -> Reach:
    """Return how far operations on a store go: as its server says, else wherever this process can go by itself."""
    return _SERVED.get(store, Reach(private=True))


def _literal(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _inner(address: _Address) -> _Address | None:
    """Return the IPv4 address that an IPv6 address stands for, which is where a packet to it goes."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour
    if address.teredo:
        return address.teredo[1]
    if any(address in network for network in (*_NAT64, _COMPATIBLE)) and address not in _LOWEST:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _is_name(host: str) -> bool:
    # A last part of digits is an IPv4 address in one of its odd spellings (0x7f.1, 2130706433), which libc would read.
    last = host.rpartition(".")[2]
    return bool(re.match(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,252})\Z", host)) and not re.match(
        r"(0x|\d)[\da-fA-F]*\Z", last
    )


def _refused(why: str) -> Invalid:
    return Invalid(
        f"The webhook's URL cannot be used: {why}.",
        about="webhook",
        hint="Public https:// addresses always work; the setting webhooks_private allows private ones.",
    )

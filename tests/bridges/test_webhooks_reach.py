from __future__ import annotations

import ipaddress
import socket

import pytest

from interlock.bridges.webhooks.reach import Reach, Target
from interlock.core.errors import Invalid

OPEN, PUBLIC = Reach(private=True), Reach()
NEVER = ["169.254.169.254", "fe80::1", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "::ffff:169.254.169.254"]
NEVER += ["64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"]
PRIVATE = ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd00::1", "::ffff:10.0.0.1"]
PRIVATE += ["64:ff9b::0a00:0001", "2002:0a00:0001::1", "255.255.255.255", "192.0.2.1"]


@pytest.mark.parametrize("address", NEVER)
def test_link_local_multicast_and_nowhere_are_never_reached(address: str) -> None:
    assert not OPEN.allows(ipaddress.ip_address(address))
    assert not PUBLIC.allows(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_reached_where_that_is_allowed(address: str) -> None:
    assert OPEN.allows(ipaddress.ip_address(address))
    assert not PUBLIC.allows(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::0808:0808"])
def test_public_addresses_are_reached(address: str) -> None:
    assert PUBLIC.allows(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://example.com", Target("https", "example.com", 443, "/")),
        ("https://Example.com:8443/a/b?c=d#e", Target("https", "example.com", 8443, "/a/b?c=d")),
        ("https://example.com./x", Target("https", "example.com", 443, "/x")),
        ("https://8.8.8.8/x", Target("https", "8.8.8.8", 443, "/x")),
        ("https://[2606:4700:4700::1111]/x", Target("https", "2606:4700:4700::1111", 443, "/x")),
    ],
)
def test_the_parts_of_a_url(url: str, target: Target) -> None:
    assert PUBLIC.target(url) == target


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com/",
        "file:///etc/passwd",
        "http://example.com/",
        "https://",
        "https:///x",
        "https://user:pass@example.com/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://example.com:x/",
        "https://exa mple.com/",
        "https://example.com/\r\nHost: other",
        "https://exämple.com/",
        "https://[::1/",
        "https://127.0.0.1/",
        "https://[::ffff:127.0.0.1]/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://017700000001/",
        "https://-x.com/",
        "https://example.com/" + "a" * 2000,
    ],
)
def test_what_a_webhook_may_not_have(url: str) -> None:
    with pytest.raises(Invalid, match="cannot be used"):
        PUBLIC.target(url)


def test_http_goes_only_where_private_addresses_are_allowed() -> None:
    assert OPEN.target("http://127.0.0.1:81/x") == Target("http", "127.0.0.1", 81, "/x")
    assert OPEN.target("http://example.com/").port == 80
    with pytest.raises(Invalid, match="link|public"):
        OPEN.target("http://169.254.169.254/latest/meta-data")


def test_every_address_that_a_name_has_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(2, 1, 6, "", ("8.8.8.8", 443)), (2, 1, 6, "", ("10.0.0.1", 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    target = PUBLIC.target("https://rebound.example/")
    with pytest.raises(Invalid, match="10.0.0.1, which is not a public address"):
        PUBLIC.resolve(target)
    assert OPEN.resolve(target) == ["8.8.8.8", "10.0.0.1"]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found[:1])
    assert PUBLIC.resolve(target) == ["8.8.8.8"]


def test_a_name_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(Invalid, match="nowhere.example cannot be resolved"):
        PUBLIC.resolve(PUBLIC.target("https://nowhere.example/"))

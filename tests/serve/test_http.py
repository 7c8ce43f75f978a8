from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest

from interlock.core.errors import Invalid
from interlock.serve.http import Endpoint, Gone, Request, Table, count_of, header_text, read_body, unpack


async def _nothing(request):
    raise NotImplementedError


TABLE = Table(
    Endpoint(method, path, _nothing)
    for method, path in [
        ("GET", "/v2"),
        ("GET", "/v2/models/{name}"),
        ("POST", "/v2/models/{name}/infer"),
        ("GET", "/v2/models/{name}/infer"),
        ("GET", "/v2/models/stats"),
        ("POST", "/v2/models/{name}/versions/{version}/infer"),
    ]
)


@pytest.mark.parametrize(
    ("path", "pattern", "params"),
    [
        ("/v2", "/v2", ()),
        ("/v2/models/a b", "/v2/models/{name}", ("a b",)),
        ("/v2/models/stats", "/v2/models/stats", ()),
        ("/v2/models/x/infer", "/v2/models/{name}/infer", ("x",)),
        ("/v2/models/x/versions/7/infer", "/v2/models/{name}/versions/{version}/infer", ("x", "7")),
    ],
)
def test_a_path_finds_its_endpoints_and_what_stands_in_the_braces(path, pattern, params):
    found = TABLE.find(path)
    assert {endpoint.path for endpoint in found.endpoints.values()} == {pattern}
    assert found.params == params


def test_methods_of_one_path_stand_together():
    assert set(TABLE.find("/v2/models/x/infer").endpoints) == {"GET", "POST"}


@pytest.mark.parametrize("path", ["", "/", "/v2/", "/v2/models//infer", "/v2/models/x/other", "/v2/models/x/infer/"])
def test_other_paths_find_nothing(path):
    assert TABLE.find(path) is None


def read(*chunks, limit=100, gone=False, **headers):
    """Return the body that a request has after these chunks came in."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()],
    }
    messages = [{"type": "http.request", "body": c, "more_body": True} for c in chunks]
    messages.append({"type": "http.disconnect"} if gone else {"type": "http.request", "body": b""})

    async def receive():
        return messages.pop(0)

    request = Request(scope, "id")
    asyncio.run(read_body(request, receive, limit))
    unpack(request, limit)
    return request.body


def test_chunks_are_joined():
    assert read(b"ab", b"", b"c") == b"abc"


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_body_is_unpacked(encoding, pack):
    packed = pack(b"hello" * 10)
    assert read(packed, content_encoding=encoding) == b"hello" * 10
    with pytest.raises(Invalid, match="ends too early"):
        read(packed[:-9], content_encoding=encoding)
    with pytest.raises(Invalid, match="not what its Content-Encoding says"):
        read(b"x" + packed, content_encoding=encoding)


@pytest.mark.parametrize(
    ("status", "chunks", "headers"),
    [
        (413, [b"x" * 101], {}),
        (413, [b"x" * 60, b"x" * 60], {}),
        (413, [], {"content_length": "101"}),
        (413, [], {"content_length": "-1"}),
        (413, [gzip.compress(b"x" * 10_000)], {"content_encoding": "gzip"}),
        (415, [b"x"], {"content_encoding": "br"}),
    ],
)
def test_what_is_too_large_or_unknown_is_refused_with_its_status(status, chunks, headers):
    with pytest.raises(Invalid) as caught:
        read(*chunks, **headers)
    assert caught.value.facts["status"] == status


def test_a_caller_who_left_is_gone():
    with pytest.raises(Gone):
        read(b"ab", gone=True)


@pytest.mark.parametrize(("text", "header"), [("model:a b@1", b"model:a b@1"), ("modèle\r\nx", b"mod%C3%A8le%0D%0Ax")])
def test_a_header_carries_printable_ascii_only(text, header):
    assert header_text(text) == header


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        (b"17", 17),
        ("9" * 18, 10**18 - 1),
        ("9" * 19, -1),
        (b"9" * 5000, -1),
        ("", -1),
        ("-1", -1),
        ("+1", -1),
        ("1_0", -1),
        (" 1", -1),
        ("\u0663", -1),
        ("\u00b2", -1),
    ],
)
def test_a_number_of_digits(text, number):
    """Python reads digits of all scripts, breaks off at a superscript, and refuses some thousand digits."""
    assert count_of(text) == number

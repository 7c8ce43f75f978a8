from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, IncompleteRead
from typing import Any
from urllib.parse import quote

import pytest
from protocol_api import Api

from interlock.sdk.workspace import Workspace
from interlock.server.mlflow import artifacts as module
from interlock.server.run import serving
from interlock.track.records import Start

BASE = "/api/2.0/mlflow-artifacts/artifacts"
DATA = b"0123456789"


@pytest.fixture
def run(api: Api) -> str:
    return api.new_run()


@pytest.fixture
def at(run: str) -> Callable[[str], str]:
    return lambda path: f"{BASE}/0/{run}/artifacts/{quote(path)}"


def listed(api: Api, path: str) -> list[tuple[str, bool, int]]:
    files = api.client.get(BASE, params={"path": path}).json()["files"]
    return [(file["path"], file["is_dir"], file.get("file_size", 0)) for file in files]


NAMES = ["a.txt", "a b+c", "\u00e9\u4e2d\U0001f600", "a#b?c", "x" * 1000, "-", "...", "a;b", "'\""]
PERCENT = ["100%.txt", "%2F", "a%2Fb", "%"]  # which the client in this process decodes once too often


@pytest.mark.parametrize("name", NAMES)
def test_files_have_any_name(api: Api, at: Any, run: str, name: str) -> None:
    for path in (name, f"folder/{name}"):
        assert api.client.put(at(path), content=DATA).status_code == 200
        response = api.client.get(at(path))
        assert response.content == DATA
        assert response.headers["content-disposition"] == f"attachment; filename*=UTF-8''{quote(name)}"
        assert response.headers["x-content-type-options"] == "nosniff"
    assert listed(api, f"0/{run}/artifacts/folder") == [(name, False, 10)]
    assert (name, False, 10) in listed(api, f"0/{run}/artifacts")
    of_run = api.get("artifacts/list", run_id=run, path="folder")["files"]
    assert [file["path"] for file in of_run] == [f"folder/{name}"]
    assert api.client.delete(at(name)).status_code == 200
    assert api.client.get(at(name)).status_code == 404


def test_the_root_is_no_file_and_goes_with_all_that_is_in_it(api: Api, at: Any, run: str, workspace: Workspace) -> None:
    api.client.put(at("a"), content=DATA)
    assert api.client.put(f"{BASE}/0/{run}/artifacts/", content=DATA).status_code == 400
    assert api.client.get(f"{BASE}/0/{run}/artifacts/").status_code == 404
    assert api.client.put(at("x" * 2001), content=DATA).status_code == 400
    assert api.client.delete(f"{BASE}/0/{run}/artifacts/").status_code == 200
    assert workspace.track.run(run).artifacts == ()


def test_an_encoded_slash_is_a_slash(api: Api, run: str) -> None:
    assert api.client.put(f"{BASE}/0/{run}/artifacts/a%2Fb", content=DATA).status_code == 200
    assert listed(api, f"0/{run}/artifacts/a") == [("b", False, 10)]


@pytest.mark.parametrize("path", ["%2e%2e/x", "a/%2e%2e/b", "a%2F..%2Fb", "a//b", "a%00b", "a%0Ab", "a%5Cb"])
def test_paths_that_leave_their_run(api: Api, run: str, path: str, workspace: Workspace) -> None:
    url = f"{BASE}/0/{run}/artifacts/{path}"
    assert api.client.put(url, content=DATA).status_code in {400, 404}
    assert api.client.get(url).status_code in {400, 404}
    assert api.client.delete(url).status_code in {400, 404}
    assert workspace.track.run(run).artifacts == ()


@pytest.mark.parametrize(
    "path", ["", "0", "0/nope/artifacts/x", "0/models/m-nope/artifacts/x", "x/y", "registry/m/1/x"]
)
def test_paths_that_are_about_nobody(api: Api, path: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        response = api.client.request(method, f"{BASE}/{path}", content=b"x" if method == "PUT" else None)
        assert response.status_code in {400, 404}
        assert response.json()["error_code"] in {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"}


def test_a_path_is_a_file_or_a_folder(api: Api, at: Any, workspace: Workspace) -> None:
    api.client.put(at("a/b"), content=DATA)
    for path in ("a", "a/b/c"):
        response = api.client.put(at(path), content=b"x")
        assert response.status_code == 400
        assert "cannot be a file beside" in response.json()["message"]
    assert len(list(workspace.store.objects.digests())) == 1  # what is refused is not kept
    assert api.client.get(at("a")).status_code == 404  # a folder has no bytes
    assert api.client.get(at("a/b/c")).status_code == 404


@pytest.mark.parametrize(
    ("asked", "status", "body", "told"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=2-", 206, b"23456789", "bytes 2-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, DATA, "bytes 0-9/10"),
        ("bytes=9-99", 206, b"9", "bytes 9-9/10"),
        ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=0-" + "9" * 400, 206, DATA, "bytes 0-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=" + "9" * 400 + "-", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=5-2", 200, DATA, None),
        ("bytes=0-1,3-4", 200, DATA, None),
        ("bytes=-", 200, DATA, None),
        ("bytes=a-b", 200, DATA, None),
        ("lines=0-1", 200, DATA, None),
        ("bytes=\u00b2-", 200, DATA, None),
    ],
)
def test_ranges(api: Api, at: Any, asked: str, status: int, body: bytes, told: str | None) -> None:
    api.client.put(at("a"), content=DATA)
    response = api.client.get(at("a"), headers={"Range": asked.encode("latin-1")})
    assert (response.status_code, response.content) == (status, body)
    assert response.headers.get("content-range") == told
    assert response.headers["content-length"] == str(len(body))
    head = api.client.head(at("a"), headers={"Range": asked.encode("latin-1")})
    assert (head.status_code, head.content, head.headers.get("content-range")) == (status, b"", told)
    assert head.headers["content-length"] == str(len(body))


def test_an_empty_file(api: Api, at: Any) -> None:
    assert api.client.put(at("a"), content=b"").status_code == 200
    assert (api.client.get(at("a")).status_code, api.client.get(at("a")).content) == (200, b"")
    assert api.client.get(at("a"), headers={"Range": "bytes=0-"}).status_code == 416


def test_tags_of_entities_save_a_download(api: Api, at: Any) -> None:
    api.client.put(at("a"), content=DATA)
    etag = api.client.get(at("a")).headers["etag"]
    assert etag == f'"{hashlib.sha256(DATA).hexdigest()}"'
    for known in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        response = api.client.get(at("a"), headers={"If-None-Match": known})
        assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", etag)
        assert "content-length" not in response.headers
    assert api.client.get(at("a"), headers={"If-None-Match": '"x"'}).content == DATA
    resumed = {"Range": "bytes=5-", "If-Range": etag}
    assert api.client.get(at("a"), headers=resumed).content == DATA[5:]
    api.client.put(at("a"), content=b"replaced")
    response = api.client.get(at("a"), headers=resumed)  # what was begun is gone: all of the new one
    assert (response.status_code, response.content) == (200, b"replaced")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.html", "text/plain; charset=utf-8"),
        ("a.svg", "text/plain; charset=utf-8"),
        ("a.js", "text/plain; charset=utf-8"),
        ("a.HTM", "text/plain; charset=utf-8"),
        ("MLmodel", "text/plain; charset=utf-8"),
        ("a.json", "text/plain; charset=utf-8"),
        ("a.png", "image/png"),
        ("a.pkl", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
def test_nothing_is_sent_that_a_browser_runs(api: Api, at: Any, name: str, kind: str) -> None:
    api.client.put(at(name), content=b"<script>")
    response = api.client.get(at(name))
    assert response.headers["content-type"] == kind
    assert response.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert response.headers["content-disposition"].startswith("attachment")


def test_browsers_have_paths_of_their_own(api: Api, run: str) -> None:
    upload = "/ajax-api/2.0/mlflow/upload-artifact"
    assert api.client.post(upload, params={"run_uuid": run, "path": "a/b"}, content=DATA).status_code == 200
    assert api.client.get("/get-artifact", params={"run_id": run, "path": "a/b"}).content == DATA
    for query in (
        {},
        {"run_uuid": run},
        {"path": "a"},
        {"run_uuid": run, "path": "../a"},
        {"run_uuid": "no", "path": "a"},
    ):
        assert api.client.post(upload, params=query, content=DATA).status_code in {400, 404}
        assert api.client.get("/get-artifact", params=query).status_code in {400, 404}


def test_a_deleted_run_takes_no_files_and_gives_those_it_has(api: Api, at: Any, run: str, workspace: Workspace) -> None:
    api.client.put(at("a"), content=DATA)
    api.post("runs/delete", run_id=run)
    upload = "/ajax-api/2.0/mlflow/upload-artifact"
    assert api.client.put(at("b"), content=DATA).status_code == 400
    assert api.client.post(upload, params={"run_uuid": run, "path": "b"}, content=DATA).status_code == 400
    assert api.client.get(at("a")).content == DATA
    assert [file.name for file in workspace.track.run(run).artifacts] == ["a"]


def test_a_run_deleted_while_its_file_comes_gets_none(
    api: Api, at: Any, run: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_body = module.store_body

    def slowly(*values: Any) -> Any:
        found = store_body(*values)
        workspace.track.delete(run)
        return found

    monkeypatch.setattr(module, "store_body", slowly)
    assert api.client.put(at("a"), content=DATA).status_code == 400
    assert workspace.track.run(run).artifacts == ()


def test_the_same_file_again_is_no_event(api: Api, at: Any, workspace: Workspace) -> None:
    api.client.put(at("a"), content=DATA)
    size = workspace.store.ledger.size()
    api.client.put(at("a"), content=DATA)
    assert workspace.store.ledger.size() == size
    assert len(list(workspace.store.objects.digests())) == 1


def test_a_body_over_the_limit_leaves_nothing(
    api: Api, at: Any, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LARGEST", 5)
    response = api.client.put(at("a"), content=DATA)
    assert (response.status_code, response.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert list(workspace.store.objects.digests()) == []
    assert list((workspace.store.objects.root / "incoming").iterdir()) == []


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_what_is_cut_or_gone_is_said_before_the_first_byte(
    api: Api, at: Any, workspace: Workspace, damage: str
) -> None:
    api.client.put(at("a"), content=DATA)
    path = object_path(workspace, DATA)
    path.chmod(0o644)
    if damage == "gone":
        path.unlink()
    else:
        os.truncate(path, 3)
    response = api.client.get(at("a"))
    assert response.status_code == 500
    assert "has changed on disk" in response.json()["message"]


def object_path(workspace: Workspace, data: bytes) -> Any:
    digest = hashlib.sha256(data).hexdigest()
    return workspace.store.objects.root / digest[:2] / digest[2:]


# ---------------------------------------------------------------- over a socket


@pytest.fixture
def server(workspace: Workspace) -> Iterator[str]:
    with serving(workspace) as address:
        yield address.removeprefix("http://")


@pytest.fixture
def place(server: str, workspace: Workspace) -> str:
    return f"{BASE}/0/{workspace.track.start(Start('Default')).id}/artifacts/a"


def begin(server: str, place: str, sent: bytes, length: int) -> socket.socket:
    host, port = server.split(":")
    opened = socket.create_connection((host, int(port)), timeout=20)
    opened.sendall(f"PUT {place} HTTP/1.1\r\nHost: {server}\r\nContent-Length: {length}\r\n\r\n".encode() + sent)
    return opened


def test_a_changed_object_is_never_sent_whole(server: str, place: str, workspace: Workspace) -> None:
    data = os.urandom(3 << 20)
    client = HTTPConnection(server, timeout=20)
    client.request("PUT", place, data)
    assert client.getresponse().read() == b"{}"
    path = object_path(workspace, data)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(10)
        file.write(bytes([data[10] ^ 1]))
    client.request("GET", place)
    with pytest.raises(IncompleteRead):
        client.getresponse().read()
    client.close()


def test_an_upload_that_breaks_off_leaves_nothing(workspace: Workspace) -> None:
    run = workspace.track.start(Start("Default"))
    with serving(workspace) as address:
        begin(address.removeprefix("http://"), f"{BASE}/0/{run.id}/artifacts/a", b"x" * 2_000_000, 5_000_000).close()
    # The server ended, and with it what the client began.
    assert workspace.track.run(run.id).artifacts == ()
    assert list(workspace.store.objects.digests()) == []
    assert list((workspace.store.objects.root / "incoming").iterdir()) == []


def test_slow_uploads_hold_nobody_up(server: str, place: str) -> None:
    slow = [begin(server, place, b"x", 1000) for _ in range(50)]
    client = HTTPConnection(server, timeout=20)
    client.request("GET", "/health")
    assert client.getresponse().read() == b"OK"
    for opened in slow:
        opened.sendall(b"x" * 999)
    for opened in slow:
        assert opened.recv(1000).startswith(b"HTTP/1.1 200")
        opened.close()
    client.request("GET", place)
    assert client.getresponse().read() == b"x" * 1000
    client.close()


def test_names_on_the_wire_are_decoded_once(server: str, place: str) -> None:
    client = HTTPConnection(server, timeout=20)
    for name in [*NAMES, *PERCENT]:
        client.request("PUT", f"{place}/{quote(name, safe='')}", name.encode())
        assert client.getresponse().read() == b"{}"
    for name in [*NAMES, *PERCENT]:
        client.request("GET", f"{place}/{quote(name, safe='')}")
        assert client.getresponse().read() == name.encode()
    client.close()

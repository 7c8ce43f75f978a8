from __future__ import annotations

import hashlib
import json
import sys
import types
from typing import Any

import msgspec
import pytest
from notes_service import SERVICES
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from interlock.core.errors import Invalid
from interlock.core.ids import new_id
from interlock.sdk.catalog import Catalog
from interlock.sdk.workspace import Workspace
from interlock.server import app as app_module
from interlock.server.app import PERMISSIONS, create_app
from interlock.server.routes import Limits

JSON = {"Content-Type": "application/json"}


def call(client: TestClient, operation: str, arguments: Any = None, **headers: str) -> Any:
    body = json.dumps({} if arguments is None else arguments)
    return client.post(f"/api/v1/notes/{operation}", content=body, headers={**JSON, **headers})


def test_an_operation_is_a_route(client: TestClient) -> None:
    response = call(client, "echo", {"value": [1, "x"], "numbers": [1, 2.5]})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"value": [1, "x"], "numbers": [1, 2.5], "pairs": {}, "version": 0}


def test_an_empty_body_stands_for_no_arguments(client: TestClient) -> None:
    assert client.post("/api/v1/notes/count", headers=JSON).json() == 0


def test_what_writes_leaves_its_event_with_its_author(client: TestClient, workspace: Workspace) -> None:
    note = call(client, "add", {"title": "one", "files": []}, **{"Interlock-Actor": "job:nightly"}).json()
    assert note["actor"] == "job:nightly"
    (event,) = workspace.store.ledger.events(kinds=["experiment.created"])
    assert (event.actor, event.data) == ("job:nightly", {"name": "one"})


def test_msgpack_is_spoken_where_it_is_asked_for(client: TestClient) -> None:
    headers = {"Content-Type": "application/msgpack", "Accept": "application/msgpack"}
    body = msgspec.msgpack.encode({"numbers": [float("nan"), float("inf")]})
    response = client.post("/api/v1/notes/echo", content=body, headers=headers)
    assert response.headers["content-type"] == "application/msgpack"
    assert repr(msgspec.msgpack.decode(response.content)["numbers"]) == "[nan, inf]"


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx"]
)
def test_no_other_content_type_is_read(client: TestClient, content_type: str) -> None:
    response = client.post("/api/v1/notes/count", content=b"{}", headers={"Content-Type": content_type})
    assert response.status_code == 415
    assert call(client, "count", **{"Content-Type": "application/json; charset=utf-8"}).status_code == 200


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"3", b'{"a": }', b"\xff\xfe", b'{"value": "\\ud800"}', b"[" * 200_000, b'{"value":' * 100_000],
)
def test_bodies_that_are_no_arguments_are_refused(client: TestClient, body: bytes) -> None:
    response = client.post("/api/v1/notes/echo", content=body, headers=JSON)
    assert response.status_code == 400
    assert response.json()["code"] == "request.invalid"


@pytest.mark.parametrize(
    "arguments",
    [
        {"value": 10**25},
        {"value": {"deep": [10**19]}},
        {"numbers": "x"},
        {"no_such": 1},
        {"value": [[]] and json.loads("[" * 150 + "]" * 150)},
    ],
)
def test_arguments_that_do_not_fit_are_refused(client: TestClient, arguments: dict[str, Any]) -> None:
    response = call(client, "echo", arguments)
    assert response.status_code == 422
    assert response.json()["code"] == "notes.invalid"


def test_a_path_of_the_servers_machine_is_never_opened(client: TestClient, workspace: Workspace) -> None:
    path = str(workspace.store.project / "secret.csv")
    (workspace.store.project / "secret.csv").write_text("secret")
    response = call(client, "size", {"file": path})
    assert response.status_code == 422
    response = call(client, "size", {"file": {"name": "x", "digest": path, "size_bytes": 6}})
    assert (response.status_code, response.json()["code"]) == (422, "object.invalid")


def test_names_that_are_nothing_get_the_nearest(client: TestClient) -> None:
    response = call(client, "cuont")
    assert response.status_code == 404
    assert "'notes.count'" in response.json()["hint"]
    assert client.post("/api/v1/nots/count", headers=JSON).json()["hint"] == "Did you mean 'notes'?"
    assert call(client, "__init__").status_code == 404
    assert client.get("/no/such/page").json()["code"] == "route.not_found"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD"])
def test_operations_are_posted(client: TestClient, method: str) -> None:
    response = client.request(method, "/api/v1/notes/count")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"


def test_faults_become_a_problem_with_a_request_id(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    response = call(client, "fail", {"how": "bug"})
    assert response.status_code == 500
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    assert response.json()["facts"]["request_id"] == response.headers["interlock-request-id"]
    assert response.headers["interlock-request-id"] in caplog.text


def test_large_bodies_are_refused_announced_or_not(workspace: Workspace) -> None:
    app = create_app(workspace, limits=Limits(arguments=100, file=100))
    with TestClient(app, base_url="http://127.0.0.1:8230") as client:

        def pieces() -> Any:
            for _ in range(1000):
                yield b" " * 50

        for body in (b" " * 101, pieces()):
            assert client.post("/api/v1/notes/count", content=body, headers=JSON).status_code == 413
        for body in (b" " * 101, pieces()):
            assert client.put("/api/v1/uploads?name=x", content=body).status_code == 413
        assert client.put("/api/v1/uploads?name=x", content=b" " * 100).status_code == 200
        assert [file.name for file in workspace.store.uploads.root.rglob("*") if file.is_file()] == [
            hashlib.sha256(b" " * 100).hexdigest()
        ]


def test_an_upload_is_no_object_before_an_operation_keeps_it(client: TestClient, workspace: Workspace) -> None:
    data = b"some bytes" * 1000
    digest = hashlib.sha256(data).hexdigest()
    call = {"Interlock-Call": new_id()}
    for name in ("a.csv", "b \u00e4.csv"):
        response = client.put("/api/v1/uploads", params={"name": name}, content=data, headers=call)
        assert response.json() == {"name": name, "digest": digest, "size_bytes": len(data)}
    assert workspace.store.ledger.events() == []
    assert client.get(f"/api/v1/objects/{digest}").status_code == 404
    body = {"title": "a", "files": [response.json()]}
    assert client.post("/api/v1/notes/add", json=body, headers=call).status_code == 200
    assert list(workspace.store.uploads.root.iterdir()) == []
    fetched = client.get(f"/api/v1/objects/{digest}")
    assert fetched.content == data
    assert fetched.headers["content-type"] == "application/octet-stream"
    assert fetched.headers["content-disposition"] == "attachment"
    assert fetched.headers["content-security-policy"] == "sandbox"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "..\\x", "a\x00b", "a\nb", "x" * 256])
def test_names_with_folders_in_them_are_refused(client: TestClient, workspace: Workspace, name: str) -> None:
    response = client.put("/api/v1/uploads", params={"name": name}, content=b"x")
    assert response.status_code == 422
    assert not workspace.store.uploads.root.exists()


def test_a_large_object_is_streamed_and_leaves_no_copy(client: TestClient, workspace: Workspace) -> None:
    data = bytes(9 << 20)
    digest = workspace.store.objects.put(data)
    response = client.get(f"/api/v1/objects/{digest}")
    assert response.content == data
    assert response.headers["content-length"] == str(len(data))
    assert list(workspace.store.root.glob("outgoing*")) == []


@pytest.mark.parametrize("size", [100, 9 << 20])
def test_a_changed_object_is_never_sent(client: TestClient, workspace: Workspace, size: int) -> None:
    digest = workspace.store.objects.put(bytes(size))
    file = workspace.store.root / "objects" / digest[:2] / digest[2:]
    file.chmod(0o600)
    with file.open("r+b") as opened:
        opened.write(b"x")
    response = client.get(f"/api/v1/objects/{digest}")
    assert (response.status_code, response.json()["code"]) == (500, "object.corrupt")
    assert list(workspace.store.root.glob("outgoing*")) == []


def test_objects_that_are_not_here(client: TestClient) -> None:
    assert client.get(f"/api/v1/objects/{'0' * 64}").json()["code"] == "object.not_found"
    assert client.get("/api/v1/objects/..%2f..%2fworkspace.json").status_code == 404
    assert client.get("/api/v1/objects/%2e%2e").json()["code"] == "object.invalid"


def test_health_is_well(client: TestClient) -> None:
    assert client.get("/health").text == "OK"


def test_health_asks_the_database(client: TestClient, workspace: Workspace) -> None:
    workspace.store.database.close()
    response = client.get("/health")
    assert (response.status_code, response.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")


def test_the_page_is_rendered_where_there_is_one(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    page = types.ModuleType("interlock.ui.page")
    page.render = lambda workspace: f"<h1>{workspace.notes.count()}</h1>"  # type: ignore[attr-defined]
    page.STYLE_HASH = "'sha256-x'"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "interlock.ui.page", page)
    response = client.get("/")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.text == "<h1>0</h1>"


def test_without_a_page_there_is_a_sentence(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [_Missing(), *sys.meta_path])
    monkeypatch.delitem(sys.modules, "interlock.ui.page", raising=False)
    response = client.get("/")
    assert (response.status_code, response.json()["code"]) == (404, "page.not_found")


class _Missing:
    """A finder that knows no `interlock.ui.page`."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == "interlock.ui.page":
            raise ModuleNotFoundError(name, name=name)


def test_other_rooms_may_add_routes_behind_the_guard(workspace: Workspace) -> None:
    async def hello(_: Any) -> PlainTextResponse:
        return PlainTextResponse("hello")

    async def broken(_: Any) -> PlainTextResponse:
        raise ZeroDivisionError("secret")

    app = create_app(workspace, routes=[Route("/hello", hello), Route("/broken", broken)])
    with TestClient(app, base_url="http://127.0.0.1:8230", raise_server_exceptions=False) as client:
        assert client.get("/hello").text == "hello"
        assert client.get("/hello").headers["x-content-type-options"] == "nosniff"
        assert client.get("/hello", headers={"Host": "evil.example"}).status_code == 421
        response = client.get("/broken")
        assert (response.status_code, response.json()["code"]) == (500, "server.error")


def test_every_route_says_what_it_needs(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Route] = []

    class Listed(app_module.Route):  # type: ignore[name-defined]
        def __init__(self, path: str, endpoint: Any, methods: list[str]) -> None:
            super().__init__(path, endpoint, methods=methods)
            made.append(self)

    monkeypatch.setattr(app_module, "Route", Listed)
    create_app(workspace)
    found = {(method, route.path) for route in made for method in (route.methods or set()) - {"HEAD"}}
    assert found - {("POST", "/api/v1/{service}/{operation}")} == set(PERMISSIONS)


def test_a_remote_workspace_is_not_served() -> None:
    from interlock.sdk.remote import RemoteBackend

    with pytest.raises(Invalid, match="on this machine"):
        create_app(Workspace(RemoteBackend("http://127.0.0.1:1"), Catalog(SERVICES)))

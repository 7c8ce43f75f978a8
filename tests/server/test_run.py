from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interlock.core.errors import Conflict, Denied, Invalid, Unavailable
from interlock.sdk.workspace import Workspace
from interlock.server.run import Server, serving, stopping


@pytest.fixture
def connection(workspace: Workspace) -> Iterator[http.client.HTTPConnection]:
    with serving(workspace) as address:
        opened = http.client.HTTPConnection(address.removeprefix("http://"), timeout=10)
        yield opened
        opened.close()


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: Any = None, **headers: str) -> Any:
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    return response, response.read()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_other_machines_are_let_in_only_on_purpose(workspace: Workspace, host: str) -> None:
    with pytest.raises(Denied, match="nobody signs in"):
        Server(workspace, host)
    server = Server(workspace, "0.0.0.0", insecure_no_auth=True)
    server._socket.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost"])
def test_loopback_needs_no_flag(workspace: Workspace, host: str) -> None:
    server = Server(workspace, host)
    assert server.address == f"http://{'127.0.0.1' if host == 'localhost' else host}:{server.port}"
    server._socket.close()


def test_a_taken_port_is_said_at_once(workspace: Workspace) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Unavailable, match="cannot be had") as caught:
        Server(workspace, port=taken.getsockname()[1])
    assert "--port 0" in caught.value.hint


@pytest.mark.parametrize(("host", "port"), [("no.such.host.invalid", 0), ("127.0.0.1", 70_000), ("127.0.0.1", -1)])
def test_addresses_that_are_none(workspace: Workspace, host: str, port: int) -> None:
    with pytest.raises(Invalid):
        Server(workspace, host, port)


def test_headers_on_the_wire(connection: http.client.HTTPConnection) -> None:
    response, _ = ask(connection, "GET", "/health")
    assert response.status == 200
    assert response.getheader("server") is None
    assert response.getheader("x-content-type-options") == "nosniff"


def test_own_port_is_the_sockets(connection: http.client.HTTPConnection) -> None:
    response, _ = ask(connection, "GET", "/health", Host="127.0.0.1:80")
    assert response.status == 421
    response, _ = ask(connection, "GET", "/health", Host=f"localhost:{connection.port}")
    assert response.status == 200


def test_an_upload_in_pieces_of_unknown_length(connection: http.client.HTTPConnection, workspace: Workspace) -> None:
    pieces = [os.urandom(70_000) for _ in range(50)]
    response, body = ask(connection, "PUT", "/api/v1/uploads?name=x.bin", iter(pieces))
    data = b"".join(pieces)
    assert response.status == 200
    assert json.loads(body) == {"name": "x.bin", "digest": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
    (file,) = workspace.store.uploads.root.glob("*/*")
    assert file.read_bytes() == data


def test_an_upload_that_breaks_off_leaves_nothing(workspace: Workspace) -> None:
    with serving(workspace) as address:
        host, _, port = address.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as sock:
            head = f"PUT /api/v1/uploads?name=x HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 1000000\r\n\r\n"
            sock.sendall(head.encode() + b"x" * 100_000)
    # The server ended, and with it what the client began.
    assert list(workspace.store.objects.digests()) == []
    assert list(workspace.store.uploads.root.glob("*/*")) == []
    assert workspace.store.ledger.events() == []


def test_what_was_begun_is_finished_before_the_end(workspace: Workspace) -> None:
    results: list[int] = []
    with serving(workspace) as address:
        host = address.removeprefix("http://")

        def add(number: int) -> None:
            connection = http.client.HTTPConnection(host, timeout=10)
            body = json.dumps({"title": f"note {number}", "files": []})
            headers = {"Content-Type": "application/json"}
            results.append(ask(connection, "POST", "/api/v1/notes/add", body, **headers)[0].status)
            connection.close()

        threads = [threading.Thread(target=add, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [200] * 16
    assert workspace.notes.count() == 16
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((host.partition(":")[0], int(host.partition(":")[2])))


SERVE = """
import sys
from pathlib import Path
from interlock.sdk.workspace import Workspace
from interlock.server.run import serve
from interlock.store import create_store
with Workspace.over(create_store(Path(sys.argv[1])), services={}) as workspace:
    serve(workspace, port=0, announce=lambda address: print(address, flush=True))
print("ended well", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_well(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", SERVE, str(tmp_path / ".interlock")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout
        host = process.stdout.readline().strip().removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=10)
        assert ask(connection, "GET", "/health")[0].status == 200
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        connection.close()
    assert (process.returncode, out, err) == (0, "ended well\n", "")


def test_a_host_of_which_one_address_is_public_is_public(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(None, None, None, None, (address, 0)) for address in ("127.0.0.1", "192.0.2.7")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(Denied):
        Server(workspace, "half.example")


def test_signals_stay_ours(workspace: Workspace) -> None:
    server = Server(workspace)
    before = signal.getsignal(signal.SIGTERM)
    with server._uvicorn.capture_signals():  # uvicorn's own would take a second Ctrl-C for a first
        assert signal.getsignal(signal.SIGTERM) is before
    server._socket.close()


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    called: list[int] = []
    with stopping(lambda: called.append(1)):
        os.kill(os.getpid(), signal.SIGTERM)
        assert called == [1]
        assert signal.getsignal(signal.SIGTERM) is before  # a second one has its usual effect
    assert signal.getsignal(signal.SIGTERM) is before


def test_one_server_at_a_time_and_the_next_one_after_it(workspace: Workspace) -> None:
    with serving(workspace) as address, pytest.raises(Conflict) as caught:
        Server(workspace)
    assert f"Process {os.getpid()} serves this workspace at {address} since 20" in caught.value.message
    with serving(workspace) as again:
        assert again.startswith("http://127.0.0.1:")


def test_a_server_that_does_not_start_leaves_the_workspace_to_others(workspace: Workspace) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Unavailable):
        Server(workspace, port=taken.getsockname()[1])
    server = Server(workspace)
    server.close()
    Server(workspace, port=server.port).close()

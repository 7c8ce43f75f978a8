from __future__ import annotations

import base64
import hashlib
import hmac
import socket
import threading

import pytest

from interlock.bridges.webhooks import Reach
from interlock.bridges.webhooks import post as module
from interlock.bridges.webhooks.post import Message, post, signature

MESSAGE = Message("id-1", b'{"a":1}', "application/json", ("X-Id", "X-Time", "X-Signature"))
OPEN = Reach(private=True)


def test_a_request_is_signed_over_id_time_and_body(receiver) -> None:
    outcome = post(OPEN, receiver.url, MESSAGE, b"secret", 1_700_000_000.9)
    assert (outcome.status, outcome.error, outcome.body) == (200, "", b"thanks")
    [(path, headers, body)] = receiver.requests
    assert (path, body) == ("/hook?token=t", MESSAGE.body)
    assert (headers["x-id"], headers["x-time"]) == ("id-1", "1700000000")
    expected = hmac.new(b"secret", b'id-1.1700000000.{"a":1}', hashlib.sha256).digest()
    assert headers["x-signature"] == "v1," + base64.b64encode(expected).decode()
    assert headers["content-type"] == "application/json"


def test_a_signature_of_known_bytes() -> None:
    # The example of the Standard Webhooks specification, whose secret is base64 there.
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    found = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_without_a_secret_nothing_is_signed(receiver) -> None:
    post(OPEN, receiver.url, MESSAGE, None, 0)
    assert "x-signature" not in receiver.requests[0][1]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(receiver, status: int) -> None:
    receiver.answers, receiver.headers = [status], {"Location": receiver.url}
    outcome = post(OPEN, receiver.url, MESSAGE, None, 0)
    assert (outcome.status, outcome.error) == (status, f"The answer has status {status}; redirects are not followed.")
    assert len(receiver.requests) == 1


def test_a_refusal_says_when_to_come_again(receiver) -> None:
    receiver.answers, receiver.headers = [503], {"Retry-After": "120"}
    outcome = post(OPEN, receiver.url, MESSAGE, None, 0)
    assert (outcome.status, outcome.error, outcome.wait_s) == (503, "The answer has status 503.", 120)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    outcome = post(OPEN, f"http://127.0.0.1:{port}/", MESSAGE, None, 0)
    assert outcome.status == 0
    assert "refused" in outcome.error


def test_what_may_not_be_reached_gets_no_connection(receiver) -> None:
    outcome = post(Reach(), receiver.url.replace("http:", "https:"), MESSAGE, None, 0)
    assert outcome.status == 0
    assert "not a public address" in outcome.error
    assert receiver.requests == []


def test_a_name_is_resolved_once(receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = socket.getaddrinfo, []

    def answer(host, *args, **more):
        asked.append(host)
        return real("127.0.0.1" if host == "hook.example" else host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    assert post(OPEN, receiver.url.replace("127.0.0.1", "hook.example"), MESSAGE, None, 0).status == 200
    assert asked.count("hook.example") == 1
    assert receiver.requests[0][1]["host"].startswith("hook.example:")


def serve_raw(answer):
    """Serve one connection in a thread by a function of its socket; return the URL."""
    server = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        with server, server.accept()[0] as connection:
            connection.recv(65536)
            answer(connection)

    threading.Thread(target=run, daemon=True).start()
    return f"http://127.0.0.1:{server.getsockname()[1]}/"


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000]
)
def test_an_answer_that_is_none(answer: bytes) -> None:
    outcome = post(OPEN, serve_raw(lambda connection: connection.sendall(answer)), MESSAGE, None, 0)
    assert outcome.status == 0
    assert outcome.error


def test_a_receiver_that_drips_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WHOLE_S", 0.2)
    gone = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        try:
            while not gone.wait(0.02):
                connection.sendall(b"X: y\r\n" if not gone.is_set() else b"")
        except OSError:
            pass

    try:
        outcome = post(OPEN, serve_raw(drip), MESSAGE, None, 0)
    finally:
        gone.set()
    assert (outcome.status, outcome.error) == (0, "No answer came in time.")


def test_of_a_long_answer_only_the_beginning_is_read() -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + b"z" * 100_000)

    outcome = post(OPEN, serve_raw(flood), MESSAGE, None, 0)
    assert (outcome.status, len(outcome.body)) == (200, 65536)


def test_a_certificate_that_nobody_vouches_for(receiver) -> None:
    outcome = post(OPEN, receiver.url.replace("http:", "https:"), MESSAGE, None, 0)
    assert outcome.status == 0
    assert outcome.error.startswith("The secure connection failed")

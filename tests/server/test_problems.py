from __future__ import annotations

import errno
import logging

import msgspec
import pytest

from interlock.core import errors
from interlock.server.problems import STATUS, Refusal, respond, status_of

TREE = [errors.Error, *errors.Error.__subclasses__(), errors.StorageFull]


def test_every_class_of_the_tree_has_a_status() -> None:
    assert set(STATUS) == set(TREE)


@pytest.mark.parametrize("kind", TREE)
def test_problem_document_brings_the_same_error_back(kind: type[errors.Error]) -> None:
    finding = errors.Finding("range", "too large", "age", (3, 4), 9)
    error = kind("It failed.", about="model_version", hint="Do this.", findings=[finding], name="x", size=3)
    response = respond(error, "ID")
    document = msgspec.json.decode(response.body)
    assert response.media_type == "application/problem+json"
    assert response.status_code == document["status"] == STATUS[kind]
    assert document["request_id"] == "ID"
    back = errors.Error.from_problem(document)
    assert type(back) is kind
    assert back == error


def test_a_class_of_its_own_has_the_status_of_its_base() -> None:
    class Worse(errors.Conflict):
        pass

    assert status_of(Worse("x")) == STATUS[errors.Conflict]


def test_busy_says_when_to_come_again() -> None:
    assert respond(errors.Unavailable("x"), "ID").headers["Retry-After"] == "1"
    assert "Retry-After" not in respond(errors.StorageFull("x"), "ID").headers  # nobody knows when there is room


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_said_whoever_met_it(number: int) -> None:
    response = respond(OSError(number, "No space left on device", "/secret/path"), "ID")
    assert (response.status_code, msgspec.json.decode(response.body)["code"]) == (507, "object.storage_full")
    assert b"secret" not in response.body
    assert respond(OSError(errno.EACCES, "x"), "ID").status_code == 500


def test_faults_are_logged_and_told_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "interlock.server"):
        response = respond(ZeroDivisionError("row 42 of Ann"), "REQ")
    assert response.status_code == 500
    assert b"Ann" not in response.body
    assert b"Zero" not in response.body
    document = msgspec.json.decode(response.body)
    assert document["code"] == "server.error"
    assert document["facts"] == {"request_id": "REQ"}
    assert "REQ" in caplog.text
    assert "row 42 of Ann" in caplog.text


def test_refusals_bring_their_own_status_and_headers() -> None:
    response = respond(Refusal(418, errors.Invalid("no"), {"X-Why": "tea"}), "ID")
    assert response.status_code == 418
    assert response.headers["X-Why"] == "tea"


def test_what_a_caller_sent_is_not_sent_back_at_length() -> None:
    findings = [
        errors.Finding("unknown", f"there is no {n}" + "x" * 9000, "c" * 9000, (n,) * 500, 7) for n in range(900)
    ]
    error = errors.Invalid("x" * 10**6, about="name", hint="y" * 10**6, findings=findings, name="z" * 10**6, size=3)
    response = respond(error, "ID")
    assert len(response.body) < 100_000
    document = msgspec.json.decode(response.body)
    assert (document["code"], document["request_id"], document["facts"]) == ("name.invalid", "ID", {"size": 3})
    assert document["title"].startswith("xxx")
    back = errors.Error.from_problem(document)
    assert type(back) is errors.Invalid
    assert 0 < len(back.findings) < 900
    assert back.findings[0].count == 7


def test_what_is_not_too_long_is_sent_whole() -> None:
    findings = [errors.Finding("range", "x" * 100, "age", (3,), 1) for _ in range(50)]
    document = msgspec.json.decode(respond(errors.Invalid("x" * 3000, findings=findings), "ID").body)
    assert (len(document["title"]), len(document["findings"])) == (3000, 50)

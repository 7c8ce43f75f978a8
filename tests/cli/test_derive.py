from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from notes_service import SERVICES

from interlock.cli.derive import operation_command
from interlock.sdk.workspace import Workspace
from interlock.server.run import serving

Command = Callable[..., Any]


def test_a_service_lists_its_operations(command: Command) -> None:
    done = command("notes", "--help")
    assert "Notes: made for tests." in done.out
    assert "break-off" in done.out
    assert "Start a change and fail in it." in done.out


def test_help_of_an_operation(command: Command) -> None:
    done = command("notes", "add", "--help")
    assert done.code == 0
    text = " ".join(done.out.split())
    assert "Usage: interlock notes add [OPTIONS] TITLE FILES..." in text
    assert "Keep a note. It is kept for ever." in text
    assert "TITLE what it is called; no two notes share it." in text
    assert "--stars NUMBER how good it is, from 1 to 5. [default: 3]" in text
    assert "--done / --no-done whether it is done." in text
    assert "--mood good|bad how it was written. [default: good]" in text
    assert "--facts KEY=VALUE" in text
    assert "--place JSON" in text
    assert "--cover FILE" in text
    assert "Raises" not in text
    assert "Args" not in text


def test_every_kind_of_word(command: Command, project: Path) -> None:
    (project / "a.csv").write_text("abc")
    (project / "b.csv").write_text("defg")
    words = ["--stars", "5", "--weight", "0.5", "--done", "--tags", "x", "--tags", "y", "--facts", "a=1"]
    words += ["--facts", "b=text", "--mood", "bad", "--place", '{"city": "Bern"}', "--cover", "b.csv", "--json"]
    done = command("notes", "add", "title", "a.csv", *words)
    assert done.err == ""
    note = json.loads(done.out)
    assert note["stars"] == 5
    assert note["weight"] == 0.5
    assert note["done"] is True
    assert note["tags"] == ["x", "y"]
    assert note["facts"] == {"a": 1, "b": "text"}
    assert note["mood"] == "bad"
    assert note["place"] == {"city": "Bern", "floor": 0}
    assert [(file["name"], file["size_bytes"]) for file in note["files"]] == [("a.csv", 3), ("b.csv", 4)]


def test_what_is_not_said_is_the_operations_own_default(command: Command, project: Path) -> None:
    (project / "a.csv").touch()
    note = json.loads(command("notes", "add", "title", "a.csv", "--json").out)
    assert (note["stars"], note["weight"], note["done"], note["tags"], note["mood"]) == (3, 1.0, False, [], "good")
    assert json.loads(command("notes", "add", "other", "a.csv", "--no-done", "--json").out)["done"] is False


def test_results_for_people(command: Command, project: Path) -> None:
    (project / "a.csv").touch()
    command("notes", "add", "one", "a.csv", "--tags", "a")
    command("notes", "add", "two", "a.csv", "--stars", "5")
    table = command("notes", "notes").out.splitlines()
    assert table[0].split()[:3] == ["id", "title", "at"]
    assert len(table) == 4
    assert "two" in table[3]
    assert command("notes", "count").out == "2\n"
    assert command("notes", "nothing").out == ""
    assert command("notes", "nothing", "--json").out == "null\n"
    pairs = command("notes", "get", "two").out
    assert "title   two" in pairs
    assert "done    no" in pairs
    assert command("notes", "notes", "--tag", "nobody").out == "none\n"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["notes", "add", "x", "gone.csv"], 3, "There is no file 'gone.csv'."),
        (
            ["notes", "add", "x", "a.csv", "--stars", "many"],
            2,
            "'many' is no value for --stars: Expected `int`, got `str`.",
        ),
        (["notes", "add", "x", "a.csv", "--stars", "9"], 2, "9 stars are not 1 to 5."),
        (["notes", "add", "x", "a.csv", "--facts", "novalue"], 2, "'novalue' is no KEY=VALUE for --facts."),
        (["notes", "add", "x", "a.csv", "--facts", "a=1", "--facts", "a=2"], 2, "names 'a' twice"),
        (["notes", "add", "x", "a.csv", "--place", "{city"], 2, "The value for --place is not JSON"),
        (["notes", "add", "x", "a.csv", "--place", '{"town": 1}'], 2, "missing required field `city`"),
        (["notes", "add", "x", "a.csv", "--mood", "ugly"], 2, "'ugly' is no value for --mood"),
        (["notes", "get", "nobody"], 3, "There is no note 'nobody'."),
        (["notes", "break-off"], 4, "The change was broken off."),
        (["notes", "fail", "Denied"], 5, "It was Denied."),
        (["notes", "fail", "GateClosed"], 6, "It was GateClosed."),
        (["notes", "fail", "MissingExtra"], 7, "It was MissingExtra."),
        (["notes", "fail", "Unavailable"], 8, "It was Unavailable."),
        (["notes", "fail", "Corrupt"], 9, "It was Corrupt."),
        (["notes", "fail", "Error"], 1, "It was Error."),
        (["notes", "get"], 2, "Missing argument 'TITLE'."),
        (["notes", "add", "x"], 2, "Missing argument 'FILES...'."),
    ],
)
def test_errors_are_sentences_with_exit_codes(
    command: Command, project: Path, words: list[str], code: int, message: str
) -> None:
    (project / "a.csv").touch()
    done = command(*words)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert "Traceback" not in done.err


def test_the_same_words_work_against_an_address(command: Command, project: Path) -> None:
    (project / "a.csv").write_text("abc")
    with Workspace.open(project, services=SERVICES) as workspace, serving(workspace) as address:
        done = command("notes", "add", "title", "a.csv", "--workspace", address, "--json")
        assert json.loads(done.out)["files"][0]["size_bytes"] == 3
        done = command("notes", "get", "nobody", "--workspace", address)
        assert (done.code, done.err) == (3, "Error: There is no note 'nobody'.\nHint: Known: title.\n")


def test_an_operation_may_go_by_another_name() -> None:
    assert operation_command("notes", "count", SERVICES, called="how-many").name == "how-many"


def test_findings_are_shown_and_make_the_exit_code(command: Command, project: Path) -> None:
    assert command("notes", "proofread", "a", "b") == (0, "none\n", "")
    done = command("notes", "proofread", "a", "")
    assert (done.code, done.err) == (2, "")
    assert "a title says nothing" in done.out
    done = command("notes", "proofread", "", "--json")
    assert (done.code, json.loads(done.out)[0]["rule"]) == (2, "blank")


def test_a_ledger_that_does_not_verify_makes_the_exit_code(command: Command, tmp_path: Path) -> None:
    from interlock.sdk.services import SERVICES as ALL
    from interlock.store import create_store

    store = create_store(tmp_path / ".interlock")
    data = {"digest": "0" * 64, "gates": [], "weaker": []}
    store.database.write(lambda tx: store.ledger.append(tx, "policy.set", "model:happy", data))
    words = ("ledger", "verify", "--workspace", str(tmp_path))
    assert command(*words, services=ALL).code == 0
    store.database.write(lambda tx: tx.run("UPDATE ledger_entries SET actor = 'user:eve'"))
    done = command(*words, services=ALL)
    assert (done.code, "first_bad    0" in done.out) == (9, True)
    store.close()

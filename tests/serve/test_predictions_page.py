"""docs/reference/predictions.md: what it shows is sent to a real server, and what it says is true."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from interlock.cli.main import Root
from interlock.sdk.services import SERVICES
from interlock.serve.app import Limits
from interlock.serve.guard import Warned
from interlock.serve.metadata import KEYS, OCCURRED_AT, SUBJECT
from interlock.serve.turns import MAX_ROWS

PAGE = (Path(__file__).parents[2] / "docs/reference/predictions.md").read_text("utf-8")
SHELL = [block.strip() for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)]
CURL = [block for block in SHELL if block.startswith("curl ")]
ADDRESS = "http://127.0.0.1:8000"


def send(live, block):
    """Return what a server answers to a curl command."""
    _, url, *rest = shlex.split(block)
    assert url.startswith(ADDRESS)
    options = list(zip(rest[::2], rest[1::2], strict=True))
    headers = dict(value.split(": ", 1) for option, value in options if option == "-H")
    data = [value for option, value in options if option == "-d"]
    assert {option for option, _ in options} <= {"-H", "-d"}
    # curl sends a body that is no file as it stands
    return live.client.request(
        "POST" if data else "GET", url.removeprefix(ADDRESS), content="".join(data), headers=headers
    )


def logged(live, response):
    """Return the logged rows of an answer by either protocol."""
    found = response.json()
    if "predictions" in found:
        keys = [row["prediction_id"] for row in found["predictions"]]
    else:
        keys = next(tensor["data"] for tensor in found["outputs"] if tensor["name"] == "prediction_id")
    return [live.shop.store.predictions.get(key) for key in keys]


@pytest.mark.parametrize("block", CURL, ids=range(len(CURL)))
def test_every_curl_line_is_answered(live, block):
    answer = send(live, block)
    if "/explain" in block and answer.status_code == 400:  # this test's model is a graph alone: nobody can explain it
        assert "explain" in answer.text
    else:
        assert answer.status_code == 200


def test_both_protocols_log_the_same_metadata(live):
    kept = []
    for path in ("/invocations", "/v2/models/shop/infer"):
        block = next(block for block in CURL if path in block and "march-7" in block)
        rows = logged(live, send(live, block))
        kept.append([(row.subject, row.occurred_at, row.request_id, row.inputs, row.score) for row in rows])
    assert kept[0] == kept[1]
    assert [row[:3] for row in kept[0]] == [(f"person-{n}", 1772366400000000, "march-7") for n in (1, 2)]


def test_the_header_of_the_csv_names_the_subject(live):
    (block,) = (block for block in CURL if "text/csv" in block)
    assert [row.subject for row in logged(live, send(live, block))] == ["person-1"]


def test_the_named_headers_come_back(live):
    answer = send(live, CURL[1])
    section = PAGE.partition("## Headers of an answer")[2].partition("\n## ")[0]
    named = re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE)
    assert len(named) == 5
    assert [name for name in named if name not in answer.headers] == ["Interlock-Warning"]


def test_the_warnings_are_those_of_the_code():
    section = PAGE.partition("## Warnings")[2].partition("\n## ")[0]
    named = re.findall(r"^\| `([\w-]+)", section, re.MULTILINE)
    assert named[1:] == [*Warned({"a": 1}, 1, 1, True).kinds, "stale-model"]


def test_the_metadata_and_limits_are_those_of_the_code():
    table = PAGE.partition("## Whom and when")[2].partition("\n## ")[0]
    for said in KEYS.values():
        assert f"`{said['mlflow'].split(':')[0]}`" in table
        assert f"`{said['header'].split(':')[0]}`" in table
    for header in (SUBJECT, OCCURRED_AT):
        assert f"`{header.decode()}`" in table.lower()
    for limit in (MAX_ROWS, Limits().body_bytes, Limits().concurrent):
        assert f"| {limit} |" in PAGE


def test_the_commands_exist():
    lines = [line for block in SHELL for line in block.splitlines() if line.startswith("interlock ")]
    assert len(lines) == 4
    for line in lines:
        command: click.Command | None = Root(SERVICES)
        words = line.split()[1:]
        while isinstance(command, click.Group):
            command = command.get_command(click.Context(command), words.pop(0))
        assert command is not None
        assert len(words) == sum(isinstance(option, click.Argument) for option in command.params)

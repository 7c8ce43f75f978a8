"""docs/reference leaves nothing out and names nothing that is not there.

Events, errors, settings, interlock.toml, commands.
"""

from __future__ import annotations

import ast
import re
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec
import pytest

from interlock.audit.policy import FAIRNESS, METRICS, parse_policy
from interlock.cli.faults import EXIT_CODES
from interlock.cli.main import VERBS, Root, common
from interlock.core import errors
from interlock.core.errors import Invalid
from interlock.core.events import KINDS
from interlock.core.plugins import GROUPS
from interlock.core.settings import SETTINGS
from interlock.data.contract import ColumnEdit
from interlock.loop import project as toml
from interlock.loop.project import parse_project
from interlock.sdk.catalog import Catalog
from interlock.sdk.services import SERVICES

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "reference"


def sections(page: str) -> dict[str, list[list[str]]]:
    """Return the rows of a page's tables by the heading they stand under, "" before the first; no head rows."""
    found: dict[str, list[list[str]]] = {"": []}
    title = ""
    for line in (FOLDER / page).read_text("utf-8").splitlines():
        if line.startswith("## "):
            title = line.removeprefix("## ").strip("`")
            assert title not in found, f"{page} has two headings {title!r}"
            found[title] = []
        elif line.startswith("|"):
            cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if set("".join(cells)) <= {"-", ":"} and "".join(cells):
                found[title].pop()  # the row above was the head
            else:
                found[title].append(cells)
    return found


def names(rows: list[list[str]]) -> list[str]:
    """Return what stands in code in the first cell of each row."""
    found = [re.match(r"\[?`([^`]+)`", row[0]) for row in rows]
    assert None not in found, f"a row begins with no name: {rows[found.index(None)]}"
    return [match[1] for match in found if match]


def test_every_event_has_a_row() -> None:
    rows = sections("events.md")[""]
    assert sorted(names(rows)) == sorted(KINDS)
    for row in rows:
        kind = KINDS[row[0].strip("`")]
        assert row[1:] == [kind.subject, ", ".join(kind.data), kind.help]


def test_every_error_has_a_row() -> None:
    kinds = {k.__name__: k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, errors.Error)}
    rows = sections("errors.md")[""]
    assert sorted(names(rows)) == sorted(kinds)
    for row in rows:
        kind = kinds[row[0].strip("`")]
        assert (row[1].strip("`"), row[2] == "yes") == (kind.suffix, kind.transient)


def test_every_setting_has_a_row() -> None:
    rows = sections("settings.md")[""]
    assert sorted(names(rows)) == sorted(SETTINGS)
    for row in rows:
        setting = SETTINGS[row[0].strip("`")]
        assert row[1:] == [f"`{setting.variable}`", setting.type.__name__, f"`{setting.default!r}`", setting.help]


def test_every_group_of_blocks_has_a_row() -> None:
    assert sorted(names(sections("plugins.md")[""])) == sorted(GROUPS)


def test_every_operation_has_a_heading() -> None:
    catalog = Catalog(SERVICES)
    wanted = [f"### {name}.{operation}" for name in catalog.names for operation in catalog.operations(name)]
    lines = (FOLDER / "operations.md").read_text("utf-8").splitlines()
    assert sorted(line for line in lines if line.startswith("### ")) == sorted(wanted)


# ---------------------------------------------------------------- interlock.toml


class Key(NamedTuple):
    """One key of a table of interlock.toml, as its record says."""

    type: str
    default: str


TABLES: dict[str, type[msgspec.Struct]] = {
    "[project]": toml.About,
    "[data.NAME]": toml.Data,
    "[data.NAME.columns]": ColumnEdit,
    "[pipeline.NAME]": toml.Pipeline,
    "[model.NAME]": toml.ModelTable,
    "[deployment.NAME]": toml.DeploymentTable,
    "rollout": toml.Rollout,
    "serving": toml.ServingTable,
    "[monitor.NAME]": toml.MonitorTable,
    "quality": toml.Quality,
    "[[when]]": toml.When,
}
TYPES = {
    str: "text",
    float: "number",
    int: "whole number",
    bool: "true or false",
    str | list[str]: "text or list of texts",
    str | tuple[str, ...]: "text or list of texts",
    tuple[str, ...]: "list of texts",
    tuple[float, float]: "list of two numbers",
}


def shown(kind: Any) -> str:
    """Return a type in the words of the page."""
    if typing.get_origin(kind) in {types.UnionType, typing.Union} and type(None) in typing.get_args(kind):
        (kind,) = [part for part in typing.get_args(kind) if part is not type(None)]
    if typing.get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return "table"
    if typing.get_origin(kind) is typing.Literal:
        return "text"
    return TYPES[typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind]


def keys(record: type[msgspec.Struct]) -> dict[str, Key]:
    """Return the keys that a record takes."""
    found = {}
    for field in msgspec.structs.fields(record):
        default: Any = field.default if field.default is not msgspec.NODEFAULT else field.default_factory
        if default is msgspec.NODEFAULT:
            text = ""
        elif default is None:
            text = "none"
        elif isinstance(default, msgspec.Struct) or default is dict:
            text = "`{}`"
        elif isinstance(default, str):
            text = f'`"{default}"`'
        else:
            text = f"`{list(default)!r}`" if isinstance(default, tuple) else f"`{default!r}`"
        found[field.name] = Key(shown(field.type), text)
    return found


@pytest.mark.parametrize("table", TABLES)
def test_every_key_of_the_project_file_has_a_row(table: str) -> None:
    rows = sections("toml.md")[table]
    if table == "[[when]]":
        rows = rows[:2]  # what follows are the words of its two keys
    assert {row[0].strip("`"): Key(row[1], row[2]) for row in rows} == keys(TABLES[table])
    assert [row[0] for row in rows if len(row[3]) < 10] == [], "a key without a meaning"


def test_every_table_of_the_project_file_has_a_heading() -> None:
    """Walk the record of the file: what holds keys has a heading, and every heading is such a table."""
    expected = set()
    for field in msgspec.structs.fields(toml.Project):
        inner = typing.get_args(field.type)
        if field.name == "settings":
            expected.add("[settings]")
        elif typing.get_origin(field.type) is tuple:
            expected.add(f"[[{field.name}]]")
            assert TABLES[f"[[{field.name}]]"] is inner[0]
        else:
            title = f"[{field.name}.NAME]" if inner else f"[{field.name}]"
            expected.add(title)
            assert TABLES[title] is (inner[1] if inner else field.type)
            for sub in msgspec.structs.fields(TABLES[title]):
                if isinstance(sub.type, type) and issubclass(sub.type, msgspec.Struct):
                    expected.add(sub.name)
                    assert TABLES[sub.name] is sub.type
    expected |= {"[data.NAME.columns]", "[model.NAME.gates]"}
    assert set(sections("toml.md")) - {""} == expected


def test_every_gate_that_can_be_asked_for_has_a_row() -> None:
    rows = sections("toml.md")["[model.NAME.gates]"]
    better = METRICS | {f"{name}[COLUMN]": way for name, way in FAIRNESS.items()}
    assert {row[0].strip("`"): row[2] for row in rows} == better | {"leakage": "", "approvals": ""}
    for name in names(rows):
        value: str | int = {"leakage": "none", "approvals": 1}.get(name) or (
            ">= 0.5" if better[name] == "larger" else "<= 0.5"
        )
        parse_policy({name: value})


def when(event: str, do: str) -> str:
    """Return a project file with one [[when]]."""
    text = '[project]\nname = "x"\n[data.NAME]\n[pipeline.PIPELINE]\nentry = "m:f"\n'
    text += '[model.NAME]\npipeline = "PIPELINE"\n[model.MODEL]\npipeline = "PIPELINE"\n'
    text += '[deployment.NAME]\nmodel = "NAME"\n[deployment.DEPLOYMENT]\nmodel = "MODEL"\n[monitor.NAME]\n'
    return text + f'[[when]]\nevent = "{event}"\ndo = "{do}"\n'


def test_every_trigger_has_a_row_and_is_taken() -> None:
    found = names(sections("toml.md")["[[when]]"])[2:]
    events, verbs = [name for name in found if ":" in name], [name for name in found if ":" not in name]
    for event in events:
        for verb in verbs:
            assert parse_project(when(event, verb)).when[0].event == event
    with pytest.raises(Invalid) as told:
        parse_project(when("model:NAME eaten", verbs[0]))
    assert sorted(re.findall(r"'(\w+:NAME \w+)'", str(told.value).partition("known:")[2])) == sorted(events)
    with pytest.raises(Invalid) as told:
        parse_project(when(events[0], "???? NAME"))
    assert sorted(re.findall(r"'(\w+)'", told.value.hint)) == sorted(verb.partition(" ")[0] for verb in verbs)


def test_every_setting_is_obeyed_and_named() -> None:
    used = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and is_setting(node.value):
                used.add(node.slice.value)
    assert used >= set(SETTINGS), "settings that nothing reads"
    page = (FOLDER / "toml.md").read_text("utf-8").partition("## `[settings]`")[2]
    assert set(re.findall(r"`(\w+)`", page)) == set(SETTINGS)


def is_setting(node: ast.expr) -> bool:
    """Return whether an expression is `settings(...)`, or the name that up.py gives to it."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "settings"
    return isinstance(node, ast.Name) and node.id == "values"


def test_the_example_and_the_pages_toml_are_sound() -> None:
    tomllib.loads((ROOT / "examples/employment/interlock.toml").read_text("utf-8"))
    text = (FOLDER / "toml.md").read_text("utf-8")
    for line in re.findall(r"^`((?:rollout|quality) = .*)`$", text, re.MULTILINE):
        tomllib.loads(line)


# ---------------------------------------------------------------- commands


def test_every_verb_has_a_row_with_its_words() -> None:
    rows = sections("commands.md")["Verbs"]
    assert names(rows) == list(VERBS)
    root = Root(SERVICES)
    for row in rows:
        assert re.findall(r"`([^`]+)`", row[2]) == words(root.get_command(click.Context(root), row[0].strip("`"))), row[
            0
        ]


def words(command: click.Command | None) -> list[str]:
    """Return the arguments and options of a command that are its own."""
    assert command is not None
    shared = {option.name for option in common()}
    found = []
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            found.append((parameter.name or "").upper())
        elif parameter.name not in shared:
            found += [*parameter.opts, *parameter.secondary_opts]
    return found


@pytest.mark.parametrize(("title", "verbs"), [("Runs", ("runs", "import", "export")), ("Models", ("models",))])
def test_every_command_of_a_verb_has_a_row_with_its_words(title: str, verbs: tuple[str, ...]) -> None:
    rows = sections("commands.md")[title]
    root, wanted = Root(SERVICES), []
    for verb in verbs:
        group = root.get_command(click.Context(root), verb)
        assert isinstance(group, click.Group)
        wanted += [(f"{verb} {name}", words(command)) for name, command in group.commands.items()]
    assert [(name, re.findall(r"`([^`]+)`", row[2])) for name, row in zip(names(rows), rows, strict=True)] == wanted


def test_every_service_has_a_row() -> None:
    assert names(sections("commands.md")["Services"]) == list(SERVICES)


def test_every_common_option_has_a_row() -> None:
    rows = sections("commands.md")["Options that every command takes"]
    assert names(rows) == [option.opts[0] for option in common()]


def test_every_exit_code_has_a_row() -> None:
    rows = sections("commands.md")["Exit codes"]
    assert {int(row[0]): row[1].split("`")[1] for row in rows} == {v: k.__name__ for k, v in EXIT_CODES.items()}

"""Verbs about the project: make one, show the whole loop, apply interlock.toml."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from interlock.cli.commands import common
from interlock.cli.derive import parameters_of, values_of
from interlock.cli.session import note, open_workspace, said, show
from interlock.cli.template import TEMPLATE
from interlock.core.errors import Conflict, Invalid
from interlock.demo.layout import example_source
from interlock.sdk.catalog import Catalog
from interlock.sdk.places import FOLDER, PROJECT_FILE, is_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from interlock.core.operations import Operation
    from interlock.sdk.services import Service

_NOT_COPIED: Final = frozenset({FOLDER, "__pycache__"})


class Made(msgspec.Struct, frozen=True):
    """What `init` made: the project's folder, and the files that were not there before."""

    project: str
    files: list[str]


def init(_: Mapping[str, Service]) -> click.Command:
    """Return the command that makes a workspace."""

    def run(example: str | None) -> None:
        folder = _target()
        made = _copy_example(example, folder) if example else []
        made += _make_project(folder)
        show(Made(str(folder), made))
        first = "" if example else f"edit {PROJECT_FILE}, look at `interlock plan`, then "
        note(f"Next: {first}`interlock apply`, then `interlock up`.")

    option = click.Option(["--example"], metavar="NAME", help="Copy an example into it, such as employment.")
    text = "Make interlock.toml and a workspace in this folder (or in --workspace). What is there already stays."
    return click.Command("init", callback=run, params=[option, *common()], help=text)


def demo(_: Mapping[str, Service]) -> click.Command:
    """Return the command that runs the whole loop on real data."""

    def run(folder: Path | None, people: int) -> None:
        from interlock.demo import run_demo

        run_demo((folder or Path("interlock-demo")).absolute(), people)

    text = (
        "Let one model live its whole life on real census data, from 2015 to 2018: data, training, gates, approval,"
        " deployment, monitoring, drift, retraining, proof. One to two minutes, offline; one that was stopped goes on."
    )
    params: list[click.Parameter] = [
        click.Option(
            ["--folder"],
            type=click.Path(path_type=Path),
            help="Where the example is laid out [default: interlock-demo].",
        ),
        click.Option(["--people"], type=int, default=700, show_default=True, help="How many people come in a month."),
    ]
    return click.Command("demo", callback=run, params=[*params, *common()], help=text)


def apply(services: Mapping[str, Service]) -> click.Command:
    """Return the command that shows the plan and then follows it."""
    catalog = Catalog(services)
    plan, found = catalog.operation("loop", "plan"), catalog.operation("loop", "apply")

    def run(**words: Any) -> None:
        arguments = values_of(found, words)
        with open_workspace(services) as workspace:
            planned = workspace.call("loop", "plan", _shared(plan, arguments))
            if not said("json"):
                note("Plan:")
                show(planned or "Nothing to change: the workspace is what interlock.toml says.")
            result = workspace.call("loop", "apply", arguments)
        if said("json") or result != planned:
            show(result)
        note("Applied.")

    text = f"{found.summary} The plan is shown first."
    return click.Command("apply", callback=run, params=parameters_of(found), help=text)


def _shared(plan: Operation, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of `apply`'s arguments that `plan` takes too."""
    return {p.name: arguments[p.name] for p in plan.parameters if p.name in arguments}


def _target() -> Path:
    place = said("workspace") or "."
    if is_address(place):
        raise Invalid(
            f"A workspace is made in a folder, not at {place}.", about="workspace", hint="Run this where it shall be."
        )
    folder = Path(place).expanduser().absolute()
    return folder.parent if folder.name == FOLDER else folder


def _make_project(folder: Path) -> list[str]:
    from interlock.store import create_store

    made = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        settings = folder / PROJECT_FILE
        if not settings.exists():
            name = json.dumps(folder.name or "project", ensure_ascii=False)  # a TOML text is spelt like a JSON text
            settings.write_text(TEMPLATE.format(name=name), "utf-8")
            made.append(PROJECT_FILE)
        root = folder / FOLDER
        if not (root / "workspace.json").exists():
            made.append(f"{FOLDER}/")
        create_store(root).close()
        ignore = root / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", "utf-8")  # the workspace is backed up, not committed
    except OSError as error:
        raise Invalid(
            f"No workspace can be made in {str(folder)!r}: {error.strerror}.", about="workspace", path=str(folder)
        ) from None
    return made


def _copy_example(name: str, folder: Path) -> list[str]:
    """Copy an example's files; all of them or, where one would replace a different file, none."""
    source = example_source(name)
    files = {path.relative_to(source): path for path in _files(source)}
    for relative, path in files.items():
        target = folder / relative
        if target.exists() and target.read_bytes() != path.read_bytes():
            raise Conflict(
                f"{relative} is there already and differs from the example's.",
                about="example",
                hint="Use an empty folder.",
                path=str(relative),
            )
    made = [relative for relative in files if not (folder / relative).exists()]
    for relative in made:
        (folder / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(files[relative], folder / relative)
    return [relative.as_posix() for relative in made]


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not _NOT_COPIED.intersection(path.relative_to(folder).parts):
            yield path

"""`interlock run` records an unmodified script; `interlock sync` sends what waits on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from interlock.cli.commands import common
from interlock.cli.session import note, open_workspace, said, show

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.sdk.services import Service


def run(services: Mapping[str, Service]) -> click.Command:  # noqa: ARG001 - what the table of verbs calls
    """Return the command that runs a script inside a run."""

    def start(**words: Any) -> int:
        return _run(words)

    params: list[click.Parameter] = [
        click.Argument(["script"], metavar="SCRIPT", help="The script; with -m, a module."),
        click.Argument(["args"], nargs=-1, type=click.UNPROCESSED, metavar="[ARGS]...", help="The script's own words."),
        click.Option(["-m", "--module"], is_flag=True, help="SCRIPT is a module, as with `python -m`."),
        click.Option(["--experiment"], metavar="NAME", default="", help="Where the run belongs [default: the script]."),
        click.Option(["--name"], metavar="NAME", default="", help="The run's name."),
        click.Option(["--tag"], metavar="NAME=VALUE", multiple=True, help="A tag of the run."),
        click.Option(["--autolog/--no-autolog"], default=True, help="Log fits of scikit-learn, XGBoost and LightGBM."),
    ]
    text = "Run an unmodified Python script and record it: code, arguments, packages, output, machine, fits and models."
    return click.Command(
        "run",
        callback=start,
        params=[*params, *common()],
        help=text,
        context_settings={"allow_interspersed_args": False, "ignore_unknown_options": False},
    )


def _run(words: Mapping[str, Any]) -> int:
    from pathlib import Path

    from interlock.sdk.recording.opening import Plan
    from interlock.sdk.recording.run import Run
    from interlock.sdk.recording.scripts import checked_script, run_script

    name, module = words["script"], words["module"]
    script = None if module else checked_script(name).resolve()
    tags = {}
    for tag in words["tag"]:
        key, equals, value = tag.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{tag!r} is no tag: write NAME=VALUE.")
        tags[key] = value
    plan = Plan(
        experiment=words["experiment"] or (name.rpartition(".")[2] if module else Path(name).stem),
        name=words["name"],
        tags=tags,
        workspace=said("workspace"),
        script=script if script is not None and script.is_file() else None,
        command=(f"-m {name}" if module else name, *words["args"]),
    )
    if words["autolog"]:
        from interlock.sdk.recording.autolog import autolog

        autolog()
    return run_script(Run(plan), name, list(words["args"]), module=module)


def sync(services: Mapping[str, Service]) -> click.Command:
    """Return the command that delivers what waits on this machine."""

    def send(*, everything: bool) -> int:
        from interlock.sdk.recording.syncing import sync as deliver

        with open_workspace(services) as workspace:
            done = deliver(workspace, everything=everything)
        show(done)
        if not done:
            note("Nothing waits here.")
        refused = [text for result in done for text in result.refused]
        for text in refused:
            note(f"Refused: {text}")
        return 1 if refused else 0

    params: list[click.Parameter] = [
        click.Option(
            ["--everything"], is_flag=True, help="Send what was meant for other addresses too: the server has moved."
        ),
    ]
    text = "Send the runs that were recorded while the workspace was away, or whose process was killed."
    return click.Command("sync", callback=send, params=[*params, *common()], help=text)

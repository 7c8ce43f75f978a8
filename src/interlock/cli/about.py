"""Verbs about this installation: settings, plug-ins, completion."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from interlock.cli.commands import common
from interlock.cli.main import Root
from interlock.cli.session import said, show
from interlock.core.errors import Invalid
from interlock.core.plugins import plugins as all_plugins
from interlock.sdk.places import is_address, nearest, settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.sdk.services import Service


def config(_: Mapping[str, Service]) -> click.Command:
    """Return the command that shows the settings."""

    def run() -> None:
        place = said("workspace")
        start = Path(place) if place and not is_address(place) else Path.cwd()
        show(list(settings(nearest(start.absolute()), {"workspace": place}).values()))

    text = (
        "Show every setting with its value and where that was said: argument, environment, interlock.toml, user file."
    )
    return click.Command("config", callback=run, params=common(), help=text)


def plugins(_: Mapping[str, Service]) -> click.Command:
    """Return the command that shows the plug-ins."""

    def run() -> None:
        show(all_plugins())

    text = "Show the blocks that are installed; a broken one is listed with its error, and stops nothing."
    return click.Command("plugins", callback=run, params=common(), help=text)


def completion(services: Mapping[str, Service]) -> click.Command:
    """Return the command that prints a shell's completion script."""

    def run(shell: str) -> None:
        from click.shell_completion import get_completion_class

        found = get_completion_class(shell)
        if found is None:
            raise Invalid(f"There is no completion for {shell!r}.", about="shell")
        sys.stdout.write(found(Root(services), {}, "interlock", "_INTERLOCK_COMPLETE").source())

    text = 'Print the completion script of a shell: eval "$(interlock completion bash)".'
    argument = click.Argument(["shell"], type=click.Choice(["bash", "zsh", "fish"]))
    return click.Command("completion", callback=run, params=[argument, *common()], help=text)

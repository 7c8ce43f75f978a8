"""What a command needs of its surroundings: the workspace that was meant, and the form of its answer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
import msgspec

from interlock.cli.render import to_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.sdk.services import Service
    from interlock.sdk.workspace import Workspace

_WIDEST_CELL = 60


def said(name: str) -> Any:
    """Return what a common option says in this call, or None."""
    return (click.get_current_context().find_object(dict) or {}).get(name)


def open_workspace(services: Mapping[str, Service]) -> Workspace:
    """Return the workspace that `--workspace`, the environment or the present folder names.

    Raises:
        NotFound: there is none.
    """
    from interlock.sdk.workspace import Workspace

    return Workspace.open(said("workspace"), services=services)


def show(value: Any) -> None:
    """Print a result: as JSON if that was asked for, else for people; cells are cut on a terminal only."""
    if said("json"):
        text = msgspec.json.format(msgspec.json.encode(value)).decode()
    else:
        text = to_text(value, _WIDEST_CELL if sys.stdout.isatty() else None)
    if text:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def note(text: str) -> None:
    """Tell people something that is no result: on stderr, and not to machines that read JSON."""
    if not said("json"):
        click.echo(text, err=True)

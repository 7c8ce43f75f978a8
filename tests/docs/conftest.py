"""What the tests of several pages ask: whether a command line that a page shows could run."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import click
import pytest

from interlock.cli.main import Root
from interlock.sdk.services import SERVICES


def check_command(line: str) -> None:
    """Accept a command line whose verb, operation, options and number of arguments exist."""
    words = shlex.split(line)[1:]
    command: click.Command | None = Root(SERVICES)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        command = command.get_command(click.Context(command), name)
        assert command is not None, f"there is no command {name!r} in {line!r}"
    assert command is not None
    known = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)} | {"--help"}
    assert [word for word in words if word.startswith("-") and word not in known] == [], line
    wanted = sum(isinstance(option, click.Argument) and option.required for option in command.params)
    given = len([word for word in words if not word.startswith("-")])
    assert given == 0 or given >= wanted, f"{line!r} lacks an argument"


@pytest.fixture(scope="session")
def command() -> Callable[[str], None]:
    """Return the function that checks a command line."""
    return check_command

"""The entry point, and a table of commands of which none is imported before it is asked for.

`interlock --help` must answer at once; so this module imports click, the table of services and nothing else.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from interlock import __version__
from interlock.cli.commands import Near, common
from interlock.sdk.services import SERVICES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interlock.sdk.services import Service

_BROKEN_PIPE: Final = 141  # what a shell reports of a program that SIGPIPE ended
_INTERRUPTED: Final = 130


class Verb(NamedTuple):
    """A command that is no service: either code of its own, or another name of an operation.

    Attributes:
        target: `module:function` that returns the command, or `service.operation`.
        help: one line for people.
    """

    target: str
    help: str


VERBS: Final[Mapping[str, Verb]] = {
    "demo": Verb("interlock.cli.project:demo", "Run the whole loop on real data, in a few minutes."),
    "init": Verb("interlock.cli.project:init", "Make a workspace in this folder."),
    "plan": Verb("loop.plan", "Show what `apply` would change."),
    "apply": Verb("interlock.cli.project:apply", "Make the workspace what interlock.toml says."),
    "run": Verb("interlock.cli.runs:run", "Run an unmodified script and record it."),
    "sync": Verb("interlock.cli.runs:sync", "Send what was recorded while the workspace was away."),
    "runs": Verb("interlock.cli.history:runs", "Look at runs: list, compare, draw, delete, export."),
    "models": Verb("interlock.cli.models:models", "Find and download models; sign, verify and check their files."),
    "import": Verb("interlock.cli.moving:take_over", "Take over what another tool holds, such as an MLflow store."),
    "export": Verb("interlock.cli.moving:give", "Write everything, or a version for a container, as folders."),
    "serve": Verb("interlock.cli.serve:serve", "Answer with versions of models, or folders, over HTTP."),
    "predict": Verb("interlock.cli.predict:predict", "Score files with a model version, each row once."),
    "up": Verb("interlock.cli.up:up", "Serve the workspace and keep the loop turning."),
    "status": Verb("loop.status", "Show what is live, what waits, and what is wrong."),
    "why": Verb("loop.why", "Walk from an answer, a version or a run back to data, code, environment and approvals."),
    "config": Verb("interlock.cli.about:config", "Show every setting and where its value comes from."),
    "plugins": Verb("interlock.cli.about:plugins", "Show the blocks that are installed, and whether they load."),
    "completion": Verb("interlock.cli.about:completion", "Print the completion script of a shell."),
}


class _ReaderGone(Exception):
    """Nobody reads our output any more (click would turn the error itself into exit code 1)."""


class Root(Near):
    """`interlock` itself.

    Args:
        services: the table of services that become groups.
    """

    def __init__(self, services: Mapping[str, Service]) -> None:
        version = click.Option(
            ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version."
        )
        super().__init__(
            "interlock",
            help="The machine-learning loop: data, training, registry, audit, deployment, monitoring, retraining.",
            params=[*common(), version],
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        )
        self._services = services

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of verbs and services."""
        return [*VERBS, *map(_spoken, self._services)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Return a command, which is imported or derived now."""
        if cmd_name in VERBS:
            return self._verb(cmd_name, VERBS[cmd_name])
        found = next((name for name in self._services if _spoken(name) == cmd_name), None)
        if found is not None:
            from interlock.cli.derive import service_group

            return service_group(found, self._services)
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """Write both tables, from their rows alone."""
        for title, rows in (("Verbs", VERBS), ("Services", self._services)):
            with formatter.section(title):
                formatter.write_dl([(_spoken(name), row.help) for name, row in rows.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _ReaderGone from error

    def _verb(self, name: str, verb: Verb) -> click.Command:
        if ":" in verb.target:
            from importlib import import_module

            module, _, function = verb.target.partition(":")
            command: click.Command = getattr(import_module(module), function)(self._services)
            return command
        from interlock.cli.derive import operation_command

        service, _, operation = verb.target.partition(".")
        return operation_command(service, operation, self._services, called=name)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    sys.exit(run(args))


def run(args: Sequence[str] | None = None, services: Mapping[str, Service] = SERVICES) -> int:
    """Return the exit code of one command.

    Args:
        args: the words after `interlock`; None takes the process's own.
        services: the table of services.
    """
    said: dict[str, Any] = {}
    try:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter is no reason to fail
        code = Root(services).main(args, prog_name="interlock", standalone_mode=False, obj=said)
        if sys.stdout is not None:
            sys.stdout.flush()
    except (BrokenPipeError, _ReaderGone):
        # The reader has seen enough. What is left in the buffer goes nowhere, without a word at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except (KeyboardInterrupt, click.exceptions.Abort):
        return _INTERRUPTED
    except click.ClickException as error:
        if not _wants_json(args):
            error.show()
            return error.exit_code
        from interlock.cli.faults import report_usage

        return report_usage(error)
    except Exception as error:
        from interlock.cli.faults import report

        exit_code = report(error, as_json=bool(said.get("json")))
        if exit_code is None:
            raise
        return exit_code
    return code if isinstance(code, int) else 0


def _spoken(name: str) -> str:
    """Return the command of a service."""
    return name.replace("_", "-")


def _wants_json(args: Sequence[str] | None) -> bool:
    """Return whether words ask for JSON; where they cannot be read, click has not told us."""
    words = list(sys.argv[1:] if args is None else args)
    return "--json" in words[: words.index("--")] if "--" in words else "--json" in words


def _version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:  # noqa: ARG001 - click's signature
    if value and not ctx.resilient_parsing:
        click.echo(__version__)
        ctx.exit()

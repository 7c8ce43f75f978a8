"""Errors as people and scripts see them: a sentence, the findings, a hint, and an exit code a class."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from interlock.cli.render import clean
from interlock.core import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

EXIT_CODES: Final[Mapping[type[errors.Error], int]] = {
    errors.Error: 1,
    errors.Invalid: 2,
    errors.NotFound: 3,
    errors.Conflict: 4,
    errors.Denied: 5,
    errors.GateClosed: 6,
    errors.MissingExtra: 7,
    errors.Unavailable: 8,
    errors.Corrupt: 9,
}
_ROWS_SHOWN: Final = 5
_PLACE: Final = re.compile(r"\n(?=    )")  # where a message shows a place in a text, a caret under it
_LINE: Final = re.compile(r"\bline \d")  # people find a cell by the line of its file, not by the number of its row


def report(error: Exception, *, as_json: bool) -> int | None:
    """Print an error to stderr and return its exit code; None for what is not ours, which is left alone.

    Args:
        error: what was raised.
        as_json: print the problem document instead of sentences.
    """
    error = errors.MissingExtra.behind(error) or error
    if isinstance(error, OSError) and not isinstance(error, errors.Error):  # a full disk, a folder that is gone
        error = errors.Unavailable(f"The system does not let us: {error}.", about="system")
    if not isinstance(error, errors.Error):
        return None
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(error.to_problem())), err=True)
    else:
        click.echo(_text(error), err=True)
    return next(EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES)


def report_usage(error: click.ClickException) -> int:
    """Print words that are no command as a problem document to stderr, and return the exit code."""
    context = getattr(error, "ctx", None)
    hint = f"See `{context.command_path} --help`." if context is not None else ""
    message = error.format_message()
    found = errors.Invalid(message if message.endswith(("?", ".")) else f"{message}.", about="usage", hint=hint)
    report(found, as_json=True)
    return error.exit_code


def _text(error: errors.Error) -> str:
    head = click.style("Error:", fg="red", bold=True) if _colored() else "Error:"
    shown = "\n".join(clean(line) for line in _PLACE.split(error.message))  # indented lines cannot pass for ours
    lines = [f"{head} {shown}"]
    lines += [f"  {_finding(finding)}" for finding in error.findings]
    if error.hint:
        lines.append(f"Hint: {clean(error.hint)}")
    return "\n".join(lines)


def _colored() -> bool:
    if not sys.stderr.isatty() or os.environ.get("NO_COLOR"):
        return False
    from interlock.sdk.places import nearest, settings

    try:
        return bool(settings(nearest(Path.cwd()))["color"].value)
    except errors.Error:  # settings that cannot be read are often the very error that is shown
        return True


def _finding(finding: errors.Finding) -> str:
    place = [f"{finding.column}"] if finding.column else []
    if finding.rows and not _LINE.search(finding.message):
        shown = ", ".join(str(row) for row in finding.rows[:_ROWS_SHOWN])
        more = max(finding.count, len(finding.rows)) - min(len(finding.rows), _ROWS_SHOWN)
        place.append(f"row{'s' * (finding.count > 1)} {shown}" + (f" and {more} more" if more else ""))
    elif finding.count:
        place.append(f"{finding.count} row{'s' * (finding.count > 1)}")
    where = f" ({', '.join(place)})" if place else ""
    return clean(f"- {finding.rule}{where}: {finding.message}")

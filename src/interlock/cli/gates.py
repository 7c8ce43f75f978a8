"""Commands that let gates judge: a script sees by the exit code that one failed, and a person sees why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from interlock.cli.faults import EXIT_CODES
from interlock.cli.session import note, said, show
from interlock.core.errors import Error, GateClosed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.core.operations import Operation
    from interlock.sdk.workspace import Workspace

_JUDGE: Final = frozenset({("loop", "candidate"), ("audit", "check")})


def judges(operation: Operation) -> bool:
    """Return whether an operation lets gates judge a version."""
    return (operation.service, operation.name) in _JUDGE


def tell_edits(workspace: Workspace) -> None:
    """Say that interlock.toml was edited since it was applied, where it was: what follows goes by what was applied."""
    from interlock.loop.apply import applied_text
    from interlock.loop.project import read_project

    try:
        store = workspace.store
        if read_project(store.project).text != applied_text(store):
            note("Warning: interlock.toml was edited since `interlock apply`; this goes by what was applied.")
    except Error:
        return  # no file here, or nothing applied: the operation itself says so where it matters


def tell_why_none(workspace: Workspace, operation: Operation, arguments: Mapping[str, Any], result: Any) -> None:
    """Say why a look of a monitor found no window that is new, where it found none."""
    if (operation.service, operation.name) == ("monitor", "look") and not result:
        found = workspace.call("monitor", "show", {"name": arguments["name"]})
        note(f"No window is over that was not evaluated before: {found.reason or found.verdict}.")


def show_judged(workspace: Workspace, result: Any) -> None:
    """Show what an operation that judges returned; where a gate failed, what every gate said, and end with its code.

    Args:
        workspace: where it was judged.
        result: a model version, or the report of its gates.
    """
    show(result)
    is_version = hasattr(result, "stage")
    if result.stage != "development" if is_version else result.passed:
        return
    if is_version and not said("json"):
        show(workspace.call("audit", "report", {"version": result.ref}).results)
    click.get_current_context().exit(EXIT_CODES[GateClosed])

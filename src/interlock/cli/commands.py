"""What all commands share: a group that knows near names, and the options that stand before or after any command."""

from __future__ import annotations

from typing import Any

import click


class Near(click.Group):
    """A group that answers a misspelt command with the nearest ones."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first argument names."""
        name = args[0]
        found = None if name.startswith("-") else self.get_command(ctx, name.replace("_", "-"))
        if found is not None:
            return found.name, found, args[1:]
        if not name.startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            near = get_close_matches(name, self.list_commands(ctx), n=3, cutoff=0.5)
            hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
            ctx.fail(f"There is no command {name!r}.{hint}")
        return super().resolve_command(ctx, args)


def common() -> list[click.Parameter]:
    """Return the options that every command takes, before it or after it."""
    return [
        click.Option(
            ["--workspace"],
            metavar="PLACE",
            expose_value=False,
            callback=_remember,
            help="Folder or address of the workspace; without it, the nearest one.",
        ),
        click.Option(["--json"], is_flag=True, expose_value=False, callback=_remember, help="Print JSON."),
    ]


def _remember(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value:
        ctx.ensure_object(dict)[parameter.name] = value

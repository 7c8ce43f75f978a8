"""Required arguments that may be said by name too, where several texts stand in a row and their order is hard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from interlock.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.cli.values import Shape
    from interlock.core.operations import Operation, Parameter

_NAMED: Final = {("audit", "waive"): ("reason", "until")}
_BY_NAME: Final = "by_name_{}"


def named(operation: Operation, parameter: Parameter, form: Shape) -> list[click.Parameter]:
    """Return an argument with an option of its name beside it; nothing for one that is said by its place only."""
    if parameter.name not in _NAMED.get((operation.service, operation.name), ()):
        return []
    flag = f"--{parameter.name.replace('_', '-')}"
    return [
        click.Argument([parameter.name], required=False, type=click.STRING, help=parameter.help),
        click.Option([flag, _BY_NAME.format(parameter.name)], metavar=form.metavar, help=parameter.help),
    ]


def by_place(operation: Operation, words: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a command's words with what was said by name; what stands without a name fills the other places in order.

    Raises:
        Invalid: there are more words than places that were not named.
    """
    names = _NAMED.get((operation.service, operation.name), ())
    said = {name: words[_BY_NAME.format(name)] for name in names if words.get(_BY_NAME.format(name)) is not None}
    placed = [words[name] for name in names if words.get(name) is not None]
    free = [name for name in names if name not in said]
    if len(placed) > len(free):
        raise Invalid(
            f"{placed[len(free)]!r} is one word too many.",
            about="argument",
            hint=f"{', '.join(name.upper() for name in said)} was said by name.",
        )
    return {**words, **dict.fromkeys(names), **said, **dict(zip(free, placed, strict=False))}

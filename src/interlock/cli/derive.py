"""Commands made from operations: required parameters are arguments, the others options."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click
import msgspec

from interlock.cli.commands import Near, common
from interlock.cli.faults import EXIT_CODES
from interlock.cli.gates import judges, show_judged, tell_edits, tell_why_none
from interlock.cli.naming import by_place, named
from interlock.cli.session import open_workspace, show
from interlock.cli.values import Shape, read, shape
from interlock.core.errors import Corrupt, Finding, Invalid
from interlock.core.files import StoredFile
from interlock.sdk.catalog import Catalog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.core.operations import Operation, Parameter
    from interlock.sdk.services import Service

# What a service does when it is named without an operation.
_DEFAULT_OPERATION = {"loop": "turn"}


def service_group(name: str, services: Mapping[str, Service]) -> click.Group:
    """Return the group of a service, with a command for each operation.

    Raises:
        NotFound: the service is not installed.
    """
    catalog = Catalog(services)
    found = catalog.operations(name)
    default = _DEFAULT_OPERATION.get(name, "")
    group = Near(
        name.replace("_", "-"),
        help=_until_sections(catalog.service(name).__doc__ or ""),
        commands=[_command(operation, services) for operation in found.values()],
        params=common(),
        invoke_without_command=default in found,
    )
    if default in found:
        turn = _command(found[default], services)

        def run_default() -> None:
            context = click.get_current_context()
            if context.invoked_subcommand is None:
                context.invoke(turn)

        group.callback = run_default
    return group


def operation_command(service: str, name: str, services: Mapping[str, Service], *, called: str = "") -> click.Command:
    """Return the command of one operation.

    Args:
        service: the service's name.
        name: the operation's name.
        services: the table of services.
        called: the command's name, where it is another.

    Raises:
        NotFound: there is no such operation.
    """
    return _command(Catalog(services).operation(service, name), services, called)


def values_of(operation: Operation, words: Mapping[str, Any]) -> dict[str, Any]:
    """Return an operation's arguments from the words of its command; what was not said is left out.

    Raises:
        Invalid: words spell no value of their type.
    """
    values = {}
    words = by_place(operation, words)
    for parameter in operation.parameters:
        given = words.get(parameter.name)
        if given is None or given == ():
            continue
        values[parameter.name] = read(_shown(parameter), given, shape(parameter.type))
    return values


def parameters_of(operation: Operation) -> list[click.Parameter]:
    """Return the arguments and options of an operation's command."""
    made: list[click.Parameter] = []
    variadic = False
    for parameter in operation.parameters:
        form = shape(parameter.type)
        as_argument = parameter.required and (form.form == "one" or (form.form == "list" and not variadic))
        if as_argument:
            variadic = variadic or form.form == "list"
            made += named(operation, parameter, form) or [_argument(parameter, form)]
        else:
            made.append(_option(parameter, form))
    names = {parameter.name for parameter in operation.parameters}
    return made + [option for option in common() if option.name not in names]


def _command(operation: Operation, services: Mapping[str, Service], called: str = "") -> click.Command:
    def run(**words: Any) -> None:
        arguments = values_of(operation, words)
        with open_workspace(services) as workspace:
            if judges(operation):
                tell_edits(workspace)
            result = workspace.call(operation.service, operation.name, arguments)
            if judges(operation):
                show_judged(workspace, result)
                return
            tell_why_none(workspace, operation, arguments, result)
        show(result)
        if operation.returns == list[Finding] and result:  # what was looked for is wrong: scripts shall notice
            click.get_current_context().exit(EXIT_CODES[Invalid])
        if getattr(result, "ok", True) is False:  # as when a ledger does not verify, or a receiver refuses
            click.get_current_context().exit(EXIT_CODES[getattr(type(result), "FAULT", Corrupt)])

    return click.Command(
        called or operation.name.replace("_", "-"),
        callback=run,
        params=parameters_of(operation),
        help=_until_sections(operation.help),
        short_help=operation.summary,
    )


def _argument(parameter: Parameter, form: Shape) -> click.Parameter:
    count = -1 if form.form == "list" else 1
    return click.Argument([parameter.name], required=True, nargs=count, type=_type(form), help=parameter.help)


def _option(parameter: Parameter, form: Shape) -> click.Parameter:
    flag = parameter.name.replace("_", "-")
    text = parameter.help
    if not parameter.required and parameter.default not in (None, "", (), [], {}, False):
        text += f" [default: {_default(parameter.default)}]"
    if form.form == "flag":
        declaration = [f"--{flag}/--no-{flag}", parameter.name]
        return click.Option(declaration, default=None, required=parameter.required, help=text)
    return click.Option(
        [f"--{flag}", parameter.name],
        multiple=form.form in {"list", "map"},
        required=parameter.required,
        type=_type(form),
        metavar=form.metavar,
        help=text,
    )


def _type(form: Shape) -> click.ParamType[Any]:
    # Whether a file exists is asked where it is read, so that the answer is the same in Python and here.
    return click.Path() if form.item is StoredFile and form.form != "map" else click.STRING


def _shown(parameter: Parameter) -> str:
    return parameter.name.upper() if parameter.required else f"--{parameter.name.replace('_', '-')}"


def _default(value: Any) -> str:
    plain = msgspec.to_builtins(value)
    return plain if isinstance(plain, str) else msgspec.json.encode(plain).decode()


def _until_sections(doc: str) -> str:
    """Return a docstring up to its first section (`Args:`, `Raises:`), which the command shows in its own way."""
    return re.split(r"(?m)^\s*[A-Z][a-z]+:\s*$", doc, maxsplit=1)[0].strip()

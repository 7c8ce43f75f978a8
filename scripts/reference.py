"""Write docs/reference from the code: operations, events, settings, errors, plug-in groups.

Each page is made of the tables that the product itself runs on, so it cannot say something else.
Run by `make docs`; tests/guards/test_reference.py fails when a page is out of date.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import typing
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from interlock.core import errors, events, operations, plugins, settings
from interlock.sdk.services import SERVICES

TARGET = Path(__file__).parents[1] / "docs" / "reference"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def type_name(type_: Any) -> str:
    """Return a type as people write it."""
    if inspect.isclass(type_) and not typing.get_args(type_):
        return type_.__name__
    return re.sub(r"\b\w+\.", "", str(type_))


def operations_page() -> Iterator[str]:
    """Yield the page of all services and their operations."""
    yield "# Operations\n"
    yield "Each is a Python call `workspace.SERVICE.OPERATION(...)`, a command `interlock SERVICE OPERATION`,"
    yield "and a route `POST /api/v1/SERVICE/OPERATION`.\n"
    for name, row in SERVICES.items():
        module, _, attribute = row.target.partition(":")
        service = getattr(importlib.import_module(module), attribute)
        yield f"## {name}\n\n{row.help}\n"
        for operation in operations.operations(service).values():
            yield f"### {name}.{operation.name}\n\n{operation.summary}\n"
            emits = ", ".join(f"`{kind}`" for kind in operation.emits) or "nothing"
            yield f"Permission `{operation.permission}`; emits {emits}; returns `{type_name(operation.returns)}`.\n"
            if operation.parameters:
                yield table(["argument", "type", "default", "meaning"], map(parameter_row, operation.parameters))


def parameter_row(parameter: operations.Parameter) -> list[str]:
    """Return one argument's line of an operation's table."""
    default = "" if parameter.required else f"`{parameter.default!r}`"
    return [f"`{parameter.name}`", f"`{type_name(parameter.type)}`", default, parameter.help]


def events_page() -> Iterator[str]:
    """Yield the page of the closed table of events."""
    yield "# Events\n"
    rows = [[f"`{kind.name}`", kind.subject, ", ".join(kind.data), kind.help] for kind in events.KINDS.values()]
    yield table(["kind", "about", "data", "meaning"], rows)


def settings_page() -> Iterator[str]:
    """Yield the page of settings."""
    yield "# Settings\n"
    yield "Looked for in this order: argument, variable, `[settings]` in interlock.toml, user file, default.\n"
    rows = [
        [f"`{row.name}`", f"`{row.variable}`", type_name(row.type), f"`{row.default!r}`", row.help]
        for row in settings.SETTINGS.values()
    ]
    yield table(["setting", "variable", "type", "default", "meaning"], rows)


def errors_page() -> Iterator[str]:
    """Yield the page of error classes and their codes."""
    yield "# Errors\n"
    yield "A code is `ABOUT.SUFFIX`, such as `model_version.not_found`. Transient: the same call may succeed later.\n"
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.Error)]
    rows = [
        [f"`{kind.__name__}`", f"`{kind.suffix}`", "yes" if kind.transient else "", summary(kind)] for kind in kinds
    ]
    yield table(["class", "suffix", "transient", "meaning"], rows)


def plugins_page() -> Iterator[str]:
    """Yield the page of plug-in groups and the blocks we bring."""
    yield "# Plug-ins\n"
    yield "A block is an object with the listed members and one entry point in its group.\n"
    ours = metadata.distribution("interlock").entry_points
    rows = [
        [f"`{group}`", help_, ", ".join(f"`{name}`" for name in sorted(ours.select(group=group).names))]
        for group, help_ in plugins.GROUPS.items()
    ]
    yield table(["group", "what it does", "built in"], rows)


def summary(thing: type) -> str:
    """Return the first line of a docstring."""
    return (inspect.getdoc(thing) or "").partition("\n")[0]


PAGES = {
    "operations.md": operations_page,
    "events.md": events_page,
    "settings.md": settings_page,
    "errors.md": errors_page,
    "plugins.md": plugins_page,
}


def pages() -> dict[str, str]:
    """Return every page by its file name."""
    return {name: "\n".join(page()).rstrip("\n") + "\n" for name, page in PAGES.items()}


def main() -> int:
    """Write the pages."""
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (TARGET / name).write_text(text)
        print(f"docs/reference/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

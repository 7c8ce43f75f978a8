"""Every operation of every service says who may call it and which events it writes; every kind of event is written."""

from __future__ import annotations

import ast
import importlib
import inspect

import pytest

from interlock.core.events import KINDS
from interlock.core.operations import Operation, Permission, operations


@pytest.fixture(scope="module")
def services() -> dict[str, type]:
    from interlock.sdk.services import SERVICES

    found = {}
    for name, row in SERVICES.items():
        module, _, attribute = row.target.partition(":")
        found[name] = getattr(importlib.import_module(module), attribute)
    assert found, "interlock.sdk.services.SERVICES is empty"
    return found


@pytest.fixture(scope="module")
def described(services: dict[str, type]) -> dict[str, Operation]:
    return {f"{name}.{key}": op for name, service in services.items() for key, op in operations(service).items()}


def test_services_go_by_their_own_names(services: dict[str, type]) -> None:
    assert {name: service.name for name, service in services.items()} == {name: name for name in services}
    assert [name for name, service in services.items() if not inspect.getdoc(service)] == []


def test_every_service_offers_operations(services: dict[str, type], described: dict[str, Operation]) -> None:
    """What is no operation cannot be reached from outside: commands, routes and clients are made of operations."""
    assert set(services) == {name.partition(".")[0] for name in described}
    assert [name for name, op in described.items() if not isinstance(op.permission, Permission)] == []


def test_writing_operations_declare_known_events(described: dict[str, Operation]) -> None:
    silent = [name for name, op in described.items() if bool(op.emits) == op.permission.reads_only]
    assert silent == []
    unknown = [f"{name}: {kind}" for name, op in described.items() for kind in op.emits if kind not in KINDS]
    assert unknown == []


def test_every_kind_of_event_is_written_somewhere(sources) -> None:
    written = {kind for source in sources if not source.path.endswith("core/events.py") for kind in named(source.tree)}
    assert sorted(set(KINDS) - written) == []


def named(tree: ast.Module) -> set[str]:
    """Return the kinds of event that a module's code names, leaving out what it only declares or listens to."""
    kinds = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in KINDS:
            kinds.add(node.value)
        children = list(ast.iter_child_nodes(node))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            children = [child for child in children if child not in node.decorator_list]
        if isinstance(node, ast.Call):
            children = [child for child in children if not (isinstance(child, ast.keyword) and child.arg == "kinds")]
        waiting += children
    return kinds

"""Sizes: what is too long to read at once needs a reason, under [tool.interlock.waivers] in pyproject.toml."""

from __future__ import annotations

import ast

MODULE_LINES = 400
FUNCTION_LINES = 50
PARAMETERS = 6


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many arguments a caller may give by name or place."""
    names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def oversized(source) -> dict[str, str]:
    """Return what of a module is over a limit: place and figure."""
    found = {}
    lines = source.text.count("\n")
    if lines > MODULE_LINES:
        found[source.path] = f"{lines} lines"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                found[f"{source.path}:{node.name}"] = f"{length} lines"
            elif parameters(node) > PARAMETERS:
                found[f"{source.path}:{node.name}"] = f"{parameters(node)} parameters"
    return found


def test_nothing_is_oversized_without_a_reason(sources, pyproject) -> None:
    found = {place: figure for source in sources for place, figure in oversized(source).items()}
    waivers = pyproject["tool"]["interlock"]["waivers"]
    assert {place: figure for place, figure in found.items() if place not in waivers} == {}, "split it"
    assert [place for place in waivers if place not in found] == [], "waivers that nothing needs"
    assert [place for place, reason in waivers.items() if len(reason) < 20] == [], "waivers without a reason"

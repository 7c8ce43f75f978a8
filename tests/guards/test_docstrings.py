"""Every public name says what it is. Unlike the linter's rules, this one cannot be silenced on a line."""

from __future__ import annotations

import ast
from collections.abc import Iterator

Named = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def public(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Named]]:
    """Yield public functions and classes of a module, and the public methods of those classes."""
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            yield from public(node.body, prefix)
        elif isinstance(node, Named) and not node.name.startswith("_") and not is_variant(node):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{prefix}{node.name}.")


def is_variant(node: Named) -> bool:
    """Return whether a definition only completes another of the same name."""
    marks = {ast.unparse(mark).rpartition(".")[2] for mark in node.decorator_list}
    return bool(marks & {"overload", "setter", "deleter", "override"})


def test_everything_public_has_a_docstring(sources) -> None:
    bare = [
        f"{source.path}:{node.lineno} {name}"
        for source in sources
        for name, node in public(source.tree.body)
        if not ast.get_docstring(node)
    ]
    assert bare == []


def test_every_module_says_what_it_holds(sources) -> None:
    assert [source.path for source in sources if not ast.get_docstring(source.tree)] == []

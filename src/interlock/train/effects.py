"""What modules of ours do to others while they are imported, such as adding methods to somebody's frames.

Such code is reached through objects that no walk can see (`frame.my_namespace.f()`), so it belongs to the key of every
step of the project. Plain definitions, imports and assignments to names do nothing to others and are not listed here.
"""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import msgspec

from interlock.train import origins
from interlock.train.reached import digest_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from interlock.train.origins import Origins

# Decorators from here keep what they decorate to themselves.
_HARMLESS = frozenset(
    {"interlock", "msgspec", "attr", "attrs", "numba", "pydantic", "beartype", "typeguard", "tenacity"}
)


class Effects(msgspec.Struct, frozen=True):
    """What a module does: a digest of the statements, and the names they use."""

    digest: str
    chains: list[tuple[str, ...]]


_known: WeakKeyDictionary[ModuleType, Effects | None] = WeakKeyDictionary()


def loaded(whose: Origins) -> list[str]:
    """Return the names of all modules below the project that are loaded, sorted."""
    found = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and whose.is_below(file) and not name.startswith("__"):
            found.append(name)
    return sorted(found)


def of_module(module: ModuleType, whose: Origins) -> Effects | None:
    """Return what a module does to others while it is imported, or None."""
    if module not in _known:
        _known[module] = _find(module, whose)
    return _known[module]


def _find(module: ModuleType, whose: Origins) -> Effects | None:
    try:
        source = module.__loader__.get_source(module.__name__)  # type: ignore[union-attr]
        tree = ast.parse(source or "")
    except (AttributeError, ImportError, OSError, SyntaxError):
        return None
    statements = list(_statements(tree.body, vars(module), whose))
    if not statements:
        return None
    chains = {(node.id,) for part in statements for node in ast.walk(part) if isinstance(node, ast.Name)}
    chains |= {(part.name,) for part in statements if isinstance(part, ast.FunctionDef | ast.ClassDef)}
    chains = {chain for chain in chains if chain[0] in vars(module)}
    done: list[ast.AST] = []  # of what is decorated, only the decorators: the rest is followed as code
    for part in statements:
        done += part.decorator_list if isinstance(part, ast.FunctionDef | ast.ClassDef) else [part]
    text = "\n".join(map(ast.dump, done))
    return Effects(digest_text(text), sorted(chains))


def _statements(body: list[ast.stmt], space: dict[str, Any], whose: Origins) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If):
            if not _is_main(node):
                yield from _statements(node.body + node.orelse, space, whose)
        elif isinstance(node, ast.Try | ast.With | ast.For | ast.While):
            yield from _statements(node.body, space, whose)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            if any(_registers(mark, space, whose) for mark in node.decorator_list):
                yield node
        elif isinstance(node, ast.Expr):
            if not isinstance(node.value, ast.Constant):
                yield node
        elif isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Attribute | ast.Subscript) for target in targets):
                yield node


def _is_main(node: ast.If) -> bool:
    return "__name__" in ast.dump(node.test)


def _registers(mark: ast.expr, space: dict[str, Any], whose: Origins) -> bool:
    """Return whether a decorator comes from a package, which may put what it decorates anywhere."""
    root = mark.func if isinstance(mark, ast.Call) else mark
    path: list[str] = []
    while isinstance(root, ast.Attribute):
        path.insert(0, root.attr)
        root = root.value
    if not isinstance(root, ast.Name):
        return True
    thing = space.get(root.id)
    module = getattr(thing, "__name__" if type(thing).__name__ == "module" else "__module__", "") or ""
    top = str(module).partition(".")[0]
    if not top or top in sys.stdlib_module_names or top in _HARMLESS:
        return False
    return whose.module(str(module)) == origins.PACKAGE

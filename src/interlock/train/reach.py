"""Everything that a function's result may depend on besides its arguments: the code and constants that it can reach.

The walk starts at live objects, not at files: from the compiled code of a function it follows the global names it uses,
attributes taken from modules, imports inside it, closure cells, defaults, decorators, classes with their bases, and
the functions and classes inside constants. Ours is what belongs to no installed package; packages count by version.
What it meets and cannot follow becomes a reason not to cache.
"""

from __future__ import annotations

import builtins
import functools
import hashlib
import importlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock.core.errors import Invalid
from interlock.train import classes, effects, origins, outside
from interlock.train.bytecode import Import, digest_code, uses
from interlock.train.reached import GONE, Reach, contents_of, digest_text, show, state_of
from interlock.train.steps import Pipeline, Step
from interlock.train.titles import NAMED, Titles

if TYPE_CHECKING:
    from interlock.train.origins import Origins
    from interlock.train.values import Values

_FIXED = (str, int, float, complex, bool, bytes, type(None), range, type(...), types.BuiltinFunctionType)
_OWN_CHANCE = frozenset({outside.SEEDED, outside.CHANCE})
_FIXED_MODULES = frozenset({"re", "datetime", "decimal", "pathlib", "uuid", "fractions", "zoneinfo", "logging"})


class Walk:
    """One walk from one function or class.

    Args:
        whose: tells ours from others'.
        values: digests constants.
    """

    def __init__(self, whose: Origins, values: Values) -> None:
        self.found = Reach()
        self._whose = whose
        self._values = values
        self._seen: dict[int, object] = {}
        self._late = False
        self._titles = Titles()
        self._spaces: set[int] = set()
        self._waiting: list[tuple[Any, str]] = []

    def follow(self, thing: Any, label: str) -> Reach:
        """Return what an object can reach.

        Args:
            thing: the object.
            label: what to call it where it is a constant.
        """
        self.reach(thing, label)
        while self._waiting:
            self._visit(*self._waiting.pop())
            if not self._waiting and not self._late:
                self._late = True  # now that everything it imports is imported
                self._effects()
        if any(kind == outside.SEEDED for kind, _ in self.found.reasons):  # it draws what its own seed says
            self.found.reasons = [reason for reason in self.found.reasons if reason[0] not in _OWN_CHANCE]
        return self.found

    def reach(self, thing: Any, label: str) -> None:
        """Put one object on the list of what is to be followed.

        Args:
            thing: the object.
            label: where it was found, for constants.
        """
        thing = thing.function if isinstance(thing, Step | Pipeline) else thing
        self._bind(thing, label)
        if id(thing) not in self._seen or isinstance(thing, _FIXED):
            self._seen[id(thing)] = thing
            self._waiting.append((thing, label))

    def _bind(self, thing: Any, label: str) -> None:
        """Note which function, class or module a name stands for, unless it is the thing's own name."""
        if isinstance(thing, NAMED) and label:
            name, title = label.removeprefix("constant "), self._titles.of(thing)
            if name != title:
                self._part(f"name {name}", title)

    def _visit(self, thing: Any, label: str) -> None:
        if isinstance(thing, types.FunctionType):
            self._function(thing)
        elif isinstance(thing, types.ModuleType):
            self._module(thing)
        elif isinstance(thing, type):
            self._class(thing)
        elif isinstance(thing, types.MethodType):
            self.reach(thing.__func__, label)
            self.reach(thing.__self__, label)
        elif isinstance(thing, staticmethod | classmethod):
            self.reach(thing.__func__, label)
        elif isinstance(thing, property):
            self._each({"get": thing.fget, "set": thing.fset, "delete": thing.fdel}, label)
        elif isinstance(thing, functools.partial):
            self._each({"function": thing.func, "args": thing.args, "keywords": thing.keywords}, label)
        elif isinstance(thing, functools.cached_property):
            self.reach(thing.func, label)
        elif hasattr(thing, "cache_parameters") and hasattr(thing, "__wrapped__"):
            self.reach(thing.__wrapped__, label)
        else:
            self._value(thing, label)

    def _each(self, things: dict[str, Any], label: str) -> None:
        for name, thing in things.items():
            if thing is not None:
                self.reach(thing, f"{label}.{name}")

    # functions

    def _function(self, function: types.FunctionType) -> None:
        name = self._titles.of(function)
        origin = self._whose.file(function.__code__.co_filename)
        if origin in {origins.STANDARD, origins.PACKAGE}:
            self._foreign(function)
            if self._is_found_by_name(function):
                return
        else:
            hints = [f"{key}: {hint}" for key, hint in sorted(function.__annotations__.items())]
            self._part(f"code {name}", digest_text("\n".join([digest_code(function.__code__), *hints])))
            self._space(function.__globals__)
            self._uses(function, name)
        if "registry" in vars(function) and "dispatch" in vars(function):
            self._dispatch(function, name)
            return
        self.found.functions.append((function, state_of(function)))
        for free, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
            contents = contents_of(cell)
            self.found.cells.append((cell, contents))
            if contents is not GONE:
                self.reach(contents, f"{name}.{free}")
        for place, default in enumerate(function.__defaults__ or ()):
            self.reach(default, f"{name} default {place}")
        self._each(dict(function.__kwdefaults__ or {}), f"{name} default")
        self._each(vars(function), name)

    def _dispatch(self, function: types.FunctionType, name: str) -> None:
        registry = vars(function)["registry"]
        for kind, target in registry.items():
            self.reach(kind, name)
            self.reach(target, f"{name}[{kind.__qualname__}]")
            self.found.names.append((registry, kind, target))

    def _uses(self, function: types.FunctionType, name: str) -> None:
        used = uses(function.__code__)
        for chain in sorted(used.chains):
            self._chain(function.__globals__, chain, name)
        for wanted in sorted(used.imports, key=repr):
            self._import(wanted, function, name)
            for attribute in used.attributes:
                self._judge(outside.of_name(wanted.module, attribute), name)
        for attribute in sorted(used.attributes):
            self._judge((outside.of_attribute(attribute), attribute), name)
        for target in sorted(used.assigns):
            self._reason(outside.DYNAMIC, f"{name} changes the global {target}, which a cached result would not")

    def _chain(self, space: dict[str, Any], chain: tuple[str, ...], user: str) -> None:
        """Follow `a.b.c` from a function's globals, through modules, to what it names."""
        first, *rest = chain
        thing = space.get(first, GONE)
        self.found.names.append((space, first, thing))
        label = f"constant {space.get('__name__', '?')}.{first}"
        if thing is GONE:
            thing = vars(builtins).get(first, GONE)
            if thing is GONE:
                self._part(f"missing {user}: {first}", "")
            elif self._judge(outside.of_object(thing), user) or not rest:
                return
        while rest and isinstance(thing, types.ModuleType):
            self._bind(thing, label)
            if self._whose.of_module(thing) != origins.OURS:
                self._package(thing, rest, user)
                return
            step, *rest = rest
            label = f"constant {thing.__name__}.{step}"
            thing = self._attribute(thing, step)
        if thing is not GONE:
            self._arrive(thing, rest, label, user)

    def _attribute(self, module: types.ModuleType, name: str) -> Any:
        """Return what an attribute of a module of ours is."""
        thing = vars(module).get(name, GONE)
        self.found.names.append((vars(module), name, thing))
        if name.startswith("__"):
            return module  # __dict__ and its like: the whole module may be meant
        return getattr(module, name, GONE) if thing is GONE else thing

    def _package(self, module: types.ModuleType, path: list[str], user: str) -> None:
        """Look at what is taken from a package: its version pins it, unless it reaches outside or is ours.

        Names are judged where objects are not there yet: many packages load their parts when they are first used.
        """
        self._top(module.__name__)
        thing: Any = module
        name = module.__name__
        for place, step in enumerate(path):
            if self._judge(outside.of_name(name, step), user):
                return
            name = f"{name}.{step}"
            thing = vars(thing).get(step, GONE) if isinstance(thing, types.ModuleType) else getattr(thing, step, GONE)
            if thing is not GONE and self._judge(outside.of_object(thing), user):
                return
            if isinstance(thing, types.FunctionType | type) and self._whose.module(thing.__module__) == origins.OURS:
                self._arrive(thing, path[place + 1 :], f"constant {name}", user)
                return

    def _arrive(self, thing: Any, rest: list[str], label: str, user: str) -> None:
        """Take in what a chain led to; `rest` are attributes taken from it."""
        for attribute in rest:
            self._judge((outside.of_attribute(attribute), attribute), user)
        if isinstance(thing, type) and rest and self._whose.module(thing.__module__) != origins.OURS:
            self._judge(outside.of_object(getattr(thing, rest[0], None)), user)
        if not self._judge(outside.of_object(thing), user):
            self.reach(thing, label)

    def _import(self, wanted: Import, function: types.FunctionType, user: str) -> None:
        package = str(function.__globals__.get("__package__") or "")
        name = "." * wanted.level + wanted.module
        try:
            full = importlib.util.resolve_name(name, package)
            if not self._is_ours(full):
                self._top(full)
                for part in wanted.names:
                    self._judge(outside.of_name(full, part), user)
                return
            module = importlib.import_module(full)
        except (ImportError, ValueError) as error:
            self._reason(outside.DYNAMIC, f"{user} imports {name}, which fails: {error}")
            return
        for part in wanted.names or ("",):
            thing = getattr(module, part, GONE) if part else module
            if part:
                self.found.names.append((vars(module), part, vars(module).get(part, GONE)))
            if thing is GONE:
                thing = importlib.import_module(f"{full}.{part}")
            self._arrive(thing, [], f"constant {full}.{part}", user)

    def _is_ours(self, name: str) -> bool:
        if name in sys.modules:
            return self._whose.module(name) == origins.OURS
        top = name.partition(".")[0]
        if top in sys.modules:
            return self._whose.module(top) == origins.OURS
        spec = importlib.util.find_spec(top)
        return bool(spec and spec.origin and self._whose.file(spec.origin) == origins.OURS)

    # modules, classes, constants

    def _space(self, space: dict[str, Any]) -> None:
        """Note the packages that a module of ours imports, and what it does while it is imported."""
        if id(space) in self._spaces:
            return
        self._spaces.add(id(space))
        for thing in list(space.values()):
            for owner in (thing, type(thing)):
                name = owner.__name__ if isinstance(owner, types.ModuleType) else getattr(owner, "__module__", None)
                if isinstance(name, str):
                    self._top(name)

    def _effects(self) -> None:
        for name in effects.loaded(self._whose):
            done = effects.of_module(sys.modules[name], self._whose)
            if done is not None:
                self._part(f"import of {name}", done.digest)
                for chain in done.chains:
                    self._chain(vars(sys.modules[name]), chain, f"the import of {name}")

    def _module(self, module: types.ModuleType) -> None:
        if self._whose.of_module(module) != origins.OURS:
            self._top(module.__name__)
            return
        self._space(vars(module))
        for name, thing in sorted(vars(module).items()):
            if not name.startswith("__"):
                self.found.names.append((vars(module), name, thing))
                self.reach(thing, f"constant {module.__name__}.{name}")

    def _class(self, kind: type) -> None:
        if self._whose.module(kind.__module__) != origins.OURS:
            self._foreign(kind)
            return
        name = self._titles.of(kind)
        self.found.classes.append((kind, dict(vars(kind))))
        shape = classes.shape(kind)
        for key, member in classes.members(kind).items():
            if classes.writes_methods(kind) and isinstance(member, types.FunctionType) and self._made(member):
                continue
            shape.append(f"{key} {type(member).__name__}")
            if not isinstance(member, types.MemberDescriptorType | types.GetSetDescriptorType):
                self.reach(member, f"constant {name}.{key}")
        for key, default in classes.field_defaults(kind):
            shape.append(f"field {key}")
            self.reach(default, f"constant {name}.{key}")
        self._part(f"code {name}", digest_text("\n".join(shape)))
        if kind.__module__ in sys.modules:
            self._space(vars(sys.modules[kind.__module__]))
        for base in (type(kind), *kind.__bases__):
            self.reach(base, name)

    def _made(self, function: types.FunctionType) -> bool:
        return self._whose.file(function.__code__.co_filename) != origins.OURS

    def _value(self, thing: Any, label: str) -> None:
        if type(thing).__module__ in {"typing", "types"}:
            self._part(label, repr(thing))
            return
        owner = getattr(thing, "__self__", None)
        if self._is_named_by_package(thing):
            self._part(f"name {label.removeprefix('constant ')}", f"{thing.__module__}.{thing.__name__}")
            self._foreign(thing)
            return
        if isinstance(thing, types.BuiltinFunctionType):
            if owner is not None and not isinstance(owner, types.ModuleType | type):
                self.reach(owner, label)
            self._compiled(thing)
            return
        try:
            encoded = self._values.digest(thing)
        except Invalid as error:
            self._reason(outside.DYNAMIC, f"{label.removeprefix('constant ')} cannot be digested: {error.message}")
            return
        self._part(label, show(encoded.tree))
        for place, code in enumerate(encoded.code):
            self.reach(code, f"{label}[{place}]")
        if not _is_fixed(thing):
            self.found.mutable.append((thing, encoded.tree))

    # what is noted

    def _compiled(self, function: types.BuiltinFunctionType) -> None:
        """Note a compiled function: by its package's version, or by the file when it is the project's own."""
        name = str(function.__module__ or "builtins")
        self._top(name)
        file = getattr(sys.modules.get(name), "__file__", None)
        if file and self._whose.module(name) == origins.OURS:
            self._part(f"code {name}", hashlib.sha256(Path(file).read_bytes()).hexdigest())

    def _foreign(self, thing: Any) -> None:
        module = getattr(thing, "__module__", None)
        if isinstance(module, str):
            self._top(module)

    def _is_found_by_name(self, function: types.FunctionType) -> bool:
        """Return whether a function of a package is one that the package itself defines."""
        if self._whose.module(function.__module__) == origins.OURS:
            return False
        return "<locals>" not in function.__qualname__ or self._is_named_by_package(function)

    def _is_named_by_package(self, thing: Any) -> bool:
        """Return whether an object is what a package calls by the object's own name, as ufuncs are."""
        module, name = getattr(thing, "__module__", None), getattr(thing, "__name__", None)
        if not isinstance(module, str) or not isinstance(name, str) or module not in sys.modules:
            return False
        return vars(sys.modules[module]).get(name) is thing and self._whose.module(module) != origins.OURS

    def _top(self, module: str) -> None:
        top = module.partition(".")[0]
        if top in self.found.tops or top in {"builtins", "__main__", ""}:
            return
        if top not in sys.stdlib_module_names and self._whose.module(module) == origins.PACKAGE:
            self.found.tops.add(top)

    def _part(self, name: str, text: str) -> None:
        parts = self.found.parts
        number, free = 1, name
        while parts.get(free, text) != text:
            number += 1
            free = f"{name} #{number}"
        parts[free] = text

    def _judge(self, verdict: tuple[str, str], user: str) -> bool:
        kind, name = verdict
        if kind:
            self._reason(kind, f"{user} {outside.SENTENCES.get(kind, '').format(name=name)}")
        return bool(kind)

    def _reason(self, kind: str, sentence: str) -> None:
        if (kind, sentence) not in self.found.reasons:
            self.found.reasons.append((kind, sentence))


def _is_fixed(value: Any) -> bool:
    if isinstance(value, tuple | frozenset):
        return all(_is_fixed(item) for item in value)
    return isinstance(value, _FIXED) or type(value).__module__ in _FIXED_MODULES

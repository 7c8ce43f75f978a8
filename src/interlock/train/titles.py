"""Names for the functions, classes and modules that a walk meets."""

from __future__ import annotations

import types
from typing import Any

NAMED = (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type)


class Titles:
    """Gives each thing one name: its own, numbered when another thing had it first (two closures, two lambdas)."""

    def __init__(self) -> None:
        self._titles: dict[int, str] = {}
        self._taken: dict[str, int] = {}

    def of(self, thing: Any) -> str:
        """Return the title of a thing; the caller keeps the thing alive."""
        if id(thing) not in self._titles:
            if isinstance(thing, types.ModuleType):
                name = thing.__name__
            else:
                name = f"{getattr(thing, '__module__', None) or 'builtins'}.{thing.__qualname__}"
            number = self._taken[name] = self._taken.get(name, 0) + 1
            self._titles[id(thing)] = name if number == 1 else f"{name} #{number}"
        return self._titles[id(thing)]

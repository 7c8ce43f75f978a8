"""Loads the user's functions from the project folder: from source, freshly, apart from other projects.

Modules of the project are compiled from the files as they are now. Python's own cache of compiled files goes by whole
seconds and sizes, so two quick edits of equal length would run the older code.
"""

from __future__ import annotations

import inspect
import sys
import traceback
import typing
from importlib import import_module, invalidate_caches
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from interlock.core.errors import Invalid, MissingExtra, NotFound
from interlock.core.operations import argument_helps
from interlock.train.steps import Pipeline, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType


class Argument(msgspec.Struct, frozen=True):
    """One argument of a pipeline.

    Attributes:
        name: its name.
        type: its type hint; `Any` without one, the hint's text where it cannot be resolved.
        default: its default, or `msgspec.NODEFAULT`.
        help: its line in the docstring's Args, or "".
    """

    name: str
    type: Any
    default: Any = msgspec.NODEFAULT
    help: str = ""

    @property
    def required(self) -> bool:
        """Whether a caller must give it."""
        return self.default is msgspec.NODEFAULT


class _SourceLoader(SourceFileLoader):
    """Compiles a file as it is now, and keeps the text it compiled."""

    def path_stats(self, path: str) -> typing.NoReturn:
        """Refuse, which makes Python neither read nor write compiled files."""
        raise OSError(path)

    def get_data(self, path: str) -> bytes:
        """Return the file's bytes, once: what is asked for later is what was compiled."""
        if not hasattr(self, "_data"):
            self._data = super().get_data(path)
        return self._data


class _Finder(MetaPathFinder):
    """Finds modules below one project, before anybody else does."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.names: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a module of the project is, or None."""
        spec = PathFinder.find_spec(fullname, [str(self.project)] if path is None else list(path), target)
        if spec is None or not spec.origin or not spec.origin.endswith(".py"):
            return None
        origin = Path(spec.origin)
        if not origin.is_relative_to(self.project) or "site-packages" in origin.parts:
            return None
        self.names.add(fullname)
        loader = _SourceLoader(fullname, spec.origin)
        return spec_from_file_location(
            fullname, spec.origin, loader=loader, submodule_search_locations=spec.submodule_search_locations
        )


def enter(project: Path) -> None:
    """Make a project's folder the one that modules come from; forget the modules of any project before.

    One process works on one project at a time: what another project's functions import later would be looked for here.
    """
    project = project.resolve()
    leave()
    sys.meta_path.insert(0, _Finder(project))
    sys.path.insert(0, str(project))
    invalidate_caches()


def leave() -> None:
    """Forget the modules of the project that was entered, if any."""
    for finder in [finder for finder in sys.meta_path if isinstance(finder, _Finder)]:
        sys.meta_path.remove(finder)
        if str(finder.project) in sys.path:
            sys.path.remove(str(finder.project))
        for name in finder.names:
            sys.modules.pop(name, None)


def load_entry(entry: str, project: Path) -> Callable[..., Any]:
    """Return a pipeline of a project: a `Pipeline`, or a plain function, which runs as one.

    Args:
        entry: `module:function`, such as `pipeline:train`.
        project: the folder that the module is in.

    Raises:
        Invalid: the entry is no such text, the module does not load (file and line are named), or it is no function.
        NotFound: there is no such module or function.
    """
    module, colon, name = entry.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        raise Invalid(f"{entry!r} names no function.", about="entry", hint="Write module:function: pipeline:train.")
    if not (project / module.split(".")[0]).is_dir() and not (project / f"{module.split('.')[0]}.py").is_file():
        raise NotFound.named("module", module, (path.stem for path in project.glob("*.py")))
    enter(project)
    found: Any = _import(module, project)
    space = vars(found)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        known = [key for key, value in space.items() if isinstance(value, Pipeline)]
        raise NotFound.named("pipeline", name, known, hint=f"It is looked for in {module}.py.")
    if isinstance(found, Step) or not (isinstance(found, Pipeline) or inspect.isfunction(found)):
        raise Invalid(
            f"{entry} is {found!r}, which is no pipeline.", about="entry", hint="Put @pipeline above the function."
        )
    describe(found)
    return typing.cast("Callable[..., Any]", found)


def describe(function: Callable[..., Any]) -> list[Argument]:
    """Return the arguments of a pipeline, in their order.

    Args:
        function: the pipeline.

    Raises:
        Invalid: it takes `*args` or `**kwargs`, which cannot be given by name.
    """
    plain = function.function if isinstance(function, Pipeline) else function
    helps = argument_helps(inspect.getdoc(plain) or "")
    found = []
    for parameter in inspect.signature(plain).parameters.values():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY}:
            raise Invalid(
                f"{plain.__qualname__} takes {parameter}, which cannot be given by name.",
                about="pipeline",
                hint="Name each argument of a pipeline.",
            )
        default = msgspec.NODEFAULT if parameter.default is parameter.empty else parameter.default
        found.append(Argument(parameter.name, hint_of(plain, parameter.name), default, helps.get(parameter.name, "")))
    return found


def hint_of(function: Callable[..., Any], name: str) -> Any:
    """Return the type hint of a parameter or of `return`: resolved, its text when that fails, or `Any` without one."""
    hint = function.__annotations__.get(name, Any)
    if not isinstance(hint, str):
        return hint
    try:
        return eval(hint, function.__globals__)  # noqa: S307 - the user's own annotation, in the user's own module
    except Exception:  # noqa: BLE001 - an annotation may name what is imported for type checkers only
        return hint


def _import(module: str, project: Path) -> ModuleType:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise NotFound.named("module", module, (path.stem for path in project.glob("*.py"))) from None
        if missing := MissingExtra.behind(error):
            raise missing from error
        raise _does_not_load(module, error, project) from error
    except Exception as error:  # the user's module may raise anything
        raise _does_not_load(module, error, project) from error


def _does_not_load(module: str, error: BaseException, project: Path) -> Invalid:
    """Return the error that names the line of the project at which an import failed."""
    place = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename).is_relative_to(project.resolve()):
            place = f"{Path(frame.filename).relative_to(project.resolve())}, line {frame.lineno}"
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{Path(error.filename).name}, line {error.lineno}"
    return Invalid(
        f"Module {module!r} does not load: {type(error).__name__}: {error}.",
        about="module",
        hint=f"Look at {place}." if place else "",
        place=place,
    )

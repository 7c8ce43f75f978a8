"""Runs somebody's script as Python itself would, inside a run, and gives its exit code back."""

from __future__ import annotations

import atexit
import builtins
import contextlib
import importlib.machinery
import io
import runpy
import signal
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from interlock.core.errors import NotFound
from interlock.sdk.recording import live
from interlock.sdk.recording.outbox import warn
from interlock.sdk.recording.run import outcome
from interlock.sdk.recording.streams import Streams

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from interlock.sdk.recording.run import Run

_INTERRUPTED: Final = 128 + signal.SIGINT
_OURS: Final = (__file__, runpy.__file__, "<frozen runpy>")


def checked_script(name: str) -> Path:
    """Return the path of a script.

    Raises:
        NotFound: there is none.
    """
    path = Path(name)
    if path.is_file() or (path / "__main__.py").is_file():
        return path
    hint = "For a module write: interlock run -m MODULE." if not name.endswith(".py") else ""
    raise NotFound(f"There is no script {name!r}.", about="script", hint=hint)


def run_script(run: Run, name: str, args: list[str], *, module: bool) -> int:
    """Return the exit code of a script or module that ran to its end inside a run.

    `sys.argv`, `sys.path[0]`, `__main__`, tracebacks and exit codes are what `python SCRIPT` gives. The run goes on
    until the process ends, since threads and exit handlers of the script come after its last line.

    Args:
        run: the run, not begun yet.
        name: the script's path, or the module's name.
        args: the words after it.
        module: whether it is a module, as with `python -m`.
    """
    sys.argv = [name, *args]
    sys.path[0:1] = [str(Path.cwd())] if module else [str(Path(name).resolve().parent)]
    ears = Streams.divert()
    run.for_script(_file_of(name) if module else None, ears)
    status: list[str] = []
    atexit.register(_bye, run, status)  # before the run begins, so it is called after the run's end
    try:
        run.start()
    except BaseException:
        if ears is not None:
            ears.stop_listening()
        raise
    error: BaseException | None = None
    try:
        _execute(name, module=module)
    except BaseException as raised:  # noqa: BLE001 - the border of the user's script: told as Python would tell it
        error = raised
    code = _told(error)
    live.expect(run, *outcome(error))
    status.append(outcome(error)[0])
    return code


def _bye(run: Run, status: list[str]) -> None:
    if status:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        warn(f"{run.ref} is {status[0]}.")


def _file_of(name: str) -> Path | None:
    """Return the file that `python -m NAME` runs; None where it is not found without importing anything."""
    find = importlib.machinery.PathFinder.find_spec
    before = name.rpartition(".")[0]
    folders: Any = None
    for place in range(before.count(".") + 1 if before else 0):
        package = find(".".join(before.split(".")[: place + 1]), folders)
        folders = package and package.submodule_search_locations
        if folders is None:
            return None
    spec = find(name, folders)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = find(f"{name}.__main__", spec.submodule_search_locations)
    path = Path(spec.origin) if spec is not None and spec.origin else None
    return path if path is not None and path.is_file() else None


def _execute(name: str, *, module: bool) -> None:
    if module:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
        return
    if Path(name).is_dir() or Path(name).suffix in {".zip", ".pyz"}:
        runpy.run_path(name, run_name="__main__")
        return
    main = types.ModuleType("__main__")
    loader = importlib.machinery.SourceFileLoader("__main__", name)
    vars(main).update({"__file__": name, "__builtins__": builtins, "__loader__": loader, "__cached__": None})
    sys.modules["__main__"] = main  # what pickles and child processes look for
    with io.open_code(name) as source:
        code = compile(source.read(), name, "exec", dont_inherit=True)
    exec(code, vars(main))  # noqa: S102 - the user asked for it


def _told(error: BaseException | None) -> int:
    """Return the exit code of a script that ended with an error, which is printed as Python prints it."""
    if error is None:
        return 0
    if isinstance(error, SystemExit):
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        print(error.code, file=sys.stderr)  # noqa: T201 - what Python does with `sys.exit("text")`
        return 1
    _show(type(error), error, _theirs(error.__traceback__))
    return _INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    hook: Callable[..., Any] = sys.excepthook
    with contextlib.suppress(Exception):
        hook(kind, error.with_traceback(trace), trace)
    sys.stderr.flush()


def _theirs(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames that ran the script."""
    found = trace
    while found is not None and found.tb_frame.f_code.co_filename in _OURS:
        found = found.tb_next
    return found

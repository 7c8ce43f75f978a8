"""The process that runs steps for `workers.Processes`: `python -m interlock.train.worker`.

It imports the project's modules itself, reads inputs by digest from the workspace's objects and writes its value there;
code and data never travel as pickles. When the run that started it is gone it ends at once, even within a step.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

from interlock.core.clock import SystemClock
from interlock.core.errors import Conflict, Error, Invalid
from interlock.train.capture import RunLog, captured, listening
from interlock.train.context import Scope
from interlock.train.executors import perform
from interlock.train.keys import Keys
from interlock.train.loader import enter
from interlock.train.pipes import Pipes
from interlock.train.steps import Step
from interlock.train.values import Kept, Values


def main() -> None:
    """Run the steps that come in on standard input until it is closed."""
    pipes = Pipes(os.fdopen(0, "rb", closefd=False), os.fdopen(os.dup(1), "wb"))
    first = pipes.receive()
    if first is None:
        return
    root, project, log = (Path(text) for text in first)
    run_log = RunLog(log, SystemClock(), alone=False)
    for stream in (1, 2):  # what libraries print past Python goes to the log as it is
        os.dup2(run_log.handle, stream)
    sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for as long as we live
    enter(project)
    worker = _Worker(root, project, run_log, pipes)
    calls: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(pipes, calls), daemon=True).start()
    with listening():
        while True:
            worker.answer(*calls.get())


def _listen(pipes: Pipes, calls: queue.SimpleQueue[list[Any]]) -> None:
    while (message := pipes.receive()) is not None:
        calls.put(message)
    os._exit(0)  # the run has ended or died: nobody wants what is being computed


class _Said:
    """A recorder that sends what a step logs to the run."""

    def __init__(self, pipes: Pipes) -> None:
        self._pipes = pipes

    def params(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            self._pipes.send("said", "param", name, value)

    def metric(self, key: str, step: int, value: float) -> None:
        self._pipes.send("said", "metric", key, step, value)

    def artifact(self, path: str, content: bytes) -> None:
        self._pipes.send("said", "artifact", path, content)


class _Worker:
    """Answers calls, one after the other."""

    def __init__(self, root: Path, project: Path, log: RunLog, pipes: Pipes) -> None:
        from interlock.store.objects import FolderObjects

        self._values = Values(FolderObjects(root / "objects"), root / "keys" / "values.key")
        self._keys = Keys(project, self._values)
        self._log = log
        self._pipes = pipes

    def answer(self, module: str, name: str, label: str, inputs: dict[str, list[Any]], parts: dict[str, str]) -> None:
        """Run one call and send its value, or what it raised."""
        log = self._log.writer(label)
        try:
            with captured(log):
                step = _find(module, name)
                _check_code(self._keys.reach(step.function).parts, parts)
                loaded = {key: self._values.load(Kept(tree, seal)) for key, (tree, seal) in inputs.items()}
                value = perform(step, loaded, Scope(_Said(self._pipes)))
                kept = self._values.store(value)
            log.close()
            self._pipes.send("done", kept.tree, kept.portable)
        except Exception as error:  # noqa: BLE001 - the border of a step: the run is told
            log.close()
            problem = error.to_problem() if isinstance(error, Error) else None
            text = "".join(traceback.format_exception(error))
            self._pipes.send("raised", type(error).__name__, str(error), text, problem)


def _find(module: str, name: str) -> Step[..., Any]:
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, Step):
        raise Invalid(
            f"A worker process finds no step {name!r} in {module}.",
            about="step",
            hint="Define steps at the top level of a module of the project.",
        )
    return found


def _check_code(here: dict[str, str], there: dict[str, str]) -> None:
    """Refuse to run with other code or constants than the key says.

    Raises:
        Conflict: a file was edited, or a global was changed, after the run imported it.
    """
    for name, text in there.items():
        if name in here and here[name] != text:
            raise Conflict(
                f"In the worker process {name} is not what it is in the run.",
                about="step",
                hint="A file was edited while the run went on, or a global was changed after its import: "
                "give such a value as an argument.",
            )


if __name__ == "__main__":
    main()

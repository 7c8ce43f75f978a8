"""Processes: each step runs in a worker process that can die without harm to the run."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from interlock.core.errors import Error, Invalid, Unavailable
from interlock.train.pipes import Pipes
from interlock.train.values import Kept, Values

if TYPE_CHECKING:
    from pathlib import Path

    from interlock.train.executors import Call


class Processes:
    """Runs steps in a pool of worker processes, started when they are first needed.

    Args:
        values: stores inputs for the workers.
        places: the workspace's folder, the project's folder, and the run's log.
        width: how many processes; one for each processor when left out.
    """

    apart = True

    def __init__(self, values: Values, places: tuple[Path, Path, Path], width: int = 0) -> None:
        self.width = width or os.cpu_count() or 1
        self._values = values
        self._places = [str(place) for place in places]
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        self._all: list[_Worker] = []
        self._closed = False
        for _ in range(self.width):
            self._idle.put(None)

    def run(self, call: Call) -> Kept:
        """Return the stored value of a call; raise what the step raised.

        Raises:
            Unavailable: (about `worker`) the process died.
            Invalid: an input cannot be stored, or the step is no part of an importable module.
        """
        function = call.step.function
        if function.__module__ == "__main__" or "<" in function.__qualname__:
            raise Invalid(
                f"A worker process cannot import the step {call.step.name}.",
                about="step",
                hint="Define steps at the top level of a module of the project, or use the local executor.",
            )
        inputs = {name: self._keep(value) for name, value in call.inputs.items()}
        parts = {name: text for name, text in call.parts.items() if _is_checked(name, text)}
        worker = self._idle.get()
        try:
            if self._closed:
                raise Unavailable("The run is being stopped.", about="run")
            if worker is None:
                worker = _Worker(self._places)
                self._all.append(worker)
            return self._ask(worker, call, inputs, parts)
        finally:
            self._idle.put(worker if worker is not None and worker.lives else None)

    def close(self) -> None:
        """Stop every worker; one in the middle of a step is not waited for."""
        self._closed = True
        for worker in self._all:
            worker.stop()

    def _keep(self, value: Any) -> tuple[bytes, str]:
        kept = value if isinstance(value, Kept) else self._values.store(value)
        return kept.tree, kept.seal

    def _ask(self, worker: _Worker, call: Call, inputs: dict[str, tuple[bytes, str]], parts: dict[str, str]) -> Kept:
        function = call.step.function
        worker.send(function.__module__, function.__qualname__, call.label, inputs, parts)
        while True:
            kind, *rest = worker.receive(call.label)
            if kind == "said":
                call.scope.say(*rest)
            elif kind == "done":
                return self._values.adopt(rest[0], portable=rest[1])
            else:
                raise _raised(call.label, *rest)


class _Worker:
    """One process and the pipes to it."""

    def __init__(self, places: list[str]) -> None:
        paths = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "interlock.train.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths},
            start_new_session=True,  # an interrupt from the keyboard is the run's to handle
        )
        assert self._process.stdin  # noqa: S101
        assert self._process.stdout  # noqa: S101
        self._pipes = Pipes(self._process.stdout, self._process.stdin)  # type: ignore[arg-type]
        self.lives = True
        self.send(*places)

    def send(self, *message: Any) -> None:
        """Send a message; that nobody takes it is found out when an answer is waited for."""
        try:
            self._pipes.send(*message)
        except OSError:
            self.lives = False

    def receive(self, label: str) -> list[Any]:
        """Return the next message.

        Raises:
            Unavailable: the process is dead.
        """
        message = self._pipes.receive()
        if message is None:
            self.stop()
            raise Unavailable(
                f"The process of {label} died{_how(self._process.returncode)}.",
                about="worker",
                hint="Killed processes are often out of memory; the run's log may say more.",
                status=self._process.returncode,
            )
        return message

    def stop(self) -> None:
        """Close the pipes, which ends the process, and wait until it has ended."""
        self.lives = False
        with contextlib.suppress(OSError):
            self._pipes.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _is_checked(name: str, text: str) -> bool:
    """Return whether a part of a key is the same in every process: code is, pickles and long values may not be."""
    plain = not text.startswith("sha256:") and "{" not in text
    return name.startswith("code ") or (name.startswith("constant ") and plain)


def _how(status: int | None) -> str:
    if status is None or status >= 0:
        return f" (exit status {status})" if status else ""
    return f" ({signal.Signals(-status).name})"


def _raised(label: str, kind: str, message: str, text: str, problem: dict[str, Any] | None) -> Error:
    """Return the error for what a step raised in another process, with the traceback from there."""
    error = Error.from_problem(problem) if problem else Error(f"{label} raised {kind}: {message}", about="step")
    error.add_note(f"In the worker process:\n{text}")
    return error

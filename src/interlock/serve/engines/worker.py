"""The engine `worker`: an original of scikit-learn in a process of its own, for models that have no other form.

The process gets the model's bytes and rows through a pipe, and nothing else: a session of its own, no descriptors, no
variables of this process, limits on memory and files, no network where the system lets it give that up. What it may
still do is read files that this user may read. One that does not answer in time is killed; the next call starts
another.

A message is its length in four bytes (big endian) and MessagePack.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.errors import Corrupt, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from interlock.core.bundles import Column
    from interlock.serve.engines.port import Feeds, Table

COMMAND: Final = (sys.executable, "-P", "-m", "interlock.registry.flavors.original")
CALL_S: Final = 10.0
START_S: Final = 60.0
MEMORY_BYTES: Final = 4 << 30
_MATRIX: Final = "inputs"
_LONGEST: Final = 1 << 30
_REST_S: Final = 5.0
_ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class RowsRefused(ValueError):
    """The model failed over these rows; its process is well."""


class WorkerRunner:
    """Answers by an original in a child process.

    Args:
        model: the bytes of its skops file.
        columns: the inputs.
        layout: the bundle's.
        command: what to start; it speaks the protocol of this module.
        call_s: after so long without an answer the process is killed.

    Attributes:
        network: whether the child has a network: `none` or `shared`.

    Raises:
        Corrupt: the child refuses the file; the message says why.
        Unavailable: no child starts.
    """

    name = "worker"
    threads = False

    def __init__(
        self,
        model: bytes,
        columns: Sequence[Column],
        layout: str,
        *,
        command: Sequence[str] = COMMAND,
        call_s: float = CALL_S,
    ) -> None:
        self.inputs: Sequence[tuple[str, str]] = [(_MATRIX, "tensor(double)")]
        if layout == "columns":
            self.inputs = [(c.name, "tensor(string)" if c.type == "string" else "tensor(double)") for c in columns]
        told = [[column.name, column.type] for column in columns]
        self._hello = {"model": model, "columns": told, "layout": layout, "memory": MEMORY_BYTES}
        self._command = list(command)
        self._call_s = call_s
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._rest_until = 0.0
        self.network = ""
        self.classes: list[int] | list[str] = []
        with self._lock:
            self._start()

    @property
    def pid(self) -> int:
        """The child's process id, 0 while there is none."""
        return 0 if self._child is None else self._child.pid

    @property
    def rest_s(self) -> float:
        """How long it starts no child, because one was killed a moment ago; 0.0 where it may."""
        return max(self._rest_until - time.monotonic(), 0.0)

    def run(self, feeds: Feeds) -> Table:
        """Return the original's answers; see `Runner.run`.

        Raises:
            RowsRefused: it fails over these rows.
            Unavailable: it died or did not answer in time; it was killed then.
        """
        found: Table = self._ask("run", feeds)
        return found

    def contributions(self, feeds: Feeds) -> NDArray[np.float64]:
        """Return exact TreeSHAP values of its raw answers, (rows, sums, columns + 1); the last column is the base.

        Raises:
            RowsRefused: it is no ensemble of trees, or shap is not installed; the message says so.
            Unavailable: see `run`.
        """
        found: NDArray[np.float64] = self._ask("explain", feeds)
        return found

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._kill()

    def _ask(self, what: str, feeds: Feeds) -> Any:
        request = {"op": what, "arrays": {name: _packed(array) for name, array in feeds.items()}}
        with self._lock:
            if self._child is None or self._child.poll() is not None:
                self._start()
            try:
                answer = self._exchange(request, self._call_s)
            except (OSError, ValueError, msgspec.MsgspecError) as error:
                self._kill()
                self._rest_until = time.monotonic() + _REST_S if isinstance(error, TimeoutError) else 0.0
                raise _down("did not answer in time" if isinstance(error, TimeoutError) else "died") from None
        if "error" in answer:
            raise RowsRefused(str(answer["error"]))
        return _array(answer)

    def _start(self) -> None:
        """Start a child and give it the model."""
        self._kill()
        if time.monotonic() < self._rest_until:
            raise _down("was killed a moment ago")
        environment = {"PATH": os.defpath, "LANG": "C.UTF-8", **dict.fromkeys(_ONE_THREAD, "1")}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path.startswith(os.sep))
        try:
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                cwd="/",
                start_new_session=True,
                bufsize=0,
            )
            for pipe in (self._child.stdin, self._child.stdout):
                if pipe is not None:
                    os.set_blocking(pipe.fileno(), False)
            answer = self._exchange(self._hello, START_S)
        except (OSError, ValueError, msgspec.MsgspecError):
            self._kill()
            self._rest_until = time.monotonic() + _REST_S
            raise _down("does not start") from None
        if "error" in answer:
            self._kill()
            raise Corrupt(f"The original is not loaded: {answer['error']}.", about="bundle")
        self.network, self.classes = str(answer["network"]), answer["classes"]

    def _exchange(self, message: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Return the answer to a message.

        Raises:
            TimeoutError: it does not come.
            OSError, ValueError, MsgspecError: the child died, or says something else than an answer.
        """
        child = self._child
        if child is None or child.stdin is None or child.stdout is None:
            raise ConnectionError
        deadline = time.monotonic() + timeout_s
        body = msgspec.msgpack.encode(message)
        waiting = memoryview(len(body).to_bytes(4, "big") + body)
        while waiting:
            _wait(child.stdin.fileno(), select.POLLOUT, deadline)
            waiting = waiting[os.write(child.stdin.fileno(), waiting[: 1 << 16]) :]
        length = int.from_bytes(_read(child.stdout.fileno(), 4, deadline), "big")
        if length > _LONGEST:
            raise ValueError
        found: dict[str, Any] = msgspec.msgpack.decode(
            _read(child.stdout.fileno(), length, deadline), type=dict[str, Any]
        )
        return found

    def _kill(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
        child.wait()

    def __del__(self) -> None:
        """End the child when nobody serves this model any more."""
        if getattr(self, "_child", None) is not None:
            self._kill()


def _wait(descriptor: int, event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(descriptor, event)
    left = deadline - time.monotonic()
    if left <= 0 or not poll.poll(left * 1000):
        raise TimeoutError


def _read(descriptor: int, length: int, deadline: float) -> bytes:
    parts: list[bytes] = []
    while length:
        _wait(descriptor, select.POLLIN, deadline)
        part = os.read(descriptor, min(length, 1 << 20))
        if not part:
            raise ConnectionError
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _packed(array: NDArray[Any]) -> dict[str, Any]:
    if array.dtype == object:
        return {"texts": [str(value) for value in array.reshape(-1).tolist()]}
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": array.tobytes()}


def _array(answer: Mapping[str, Any]) -> NDArray[np.float64]:
    import numpy as np

    try:
        return np.frombuffer(answer["data"], dtype=np.float64).reshape(answer["shape"])
    except (KeyError, ValueError, TypeError):
        raise _down("says something else than an answer") from None


def _down(what: str) -> Unavailable:
    return Unavailable(
        f"The process of the original model {what}.", about="model", hint="Another one is started by the next request."
    )

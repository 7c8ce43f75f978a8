"""The child process of the engine `worker`: reads an original from its pipe, once, and answers rows with it.

    python -m interlock.registry.flavors.original

It gives up what it does not need before it reads the model: network, files to write, cores, other descriptors. Only a
skops file all of whose types are on our list is loaded. Messages are those of `interlock.serve.engines.worker`.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import resource
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

_NEW_USER, _NEW_NET = 0x10000000, 0x40000000  # flags of unshare(2)
_NO_NEW_PRIVILEGES: Final = 38  # prctl(2)
_MOST_FILES: Final = 256
_LOOK_S: Final = 1.0


class Original:
    """A model of scikit-learn, loaded, and how its rows come.

    Args:
        data: the bytes of its skops file.
        columns: pairs of name and type, in the model's order.
        layout: the bundle's.

    Raises:
        ValueError: the file is not loaded; the message says why.
    """

    def __init__(self, data: bytes, columns: list[tuple[str, str]], layout: str) -> None:
        import skops.io

        from interlock.registry.flavors.skops_file import untrusted_types
        from interlock.registry.formats import look_into

        verdict = look_into(io.BytesIO(data), len(data), "the original")
        if verdict.kind != "skops":
            raise ValueError(verdict.reason)
        self.model: Any = skops.io.loads(data, trusted=list(untrusted_types(data)))  # all of them are on our list
        self.columns = columns
        self.layout = layout

    @property
    def classes(self) -> list[int | str]:
        """The labels in the model's order; none of a regression."""
        return [value.item() if hasattr(value, "item") else value for value in getattr(self.model, "classes_", ())]

    def answer(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        """Return the answers to rows, (rows, answers)."""
        import numpy as np

        from interlock.registry.flavors.frames import for_estimator

        rows = for_estimator(self.model, frame)
        found = self.model.predict_proba(rows) if hasattr(self.model, "classes_") else self.model.predict(rows)
        values = np.asarray(found, dtype=np.float64)
        return values.reshape(-1, 1) if values.ndim == 1 else values

    def explain(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        """Return exact shares of columns in raw answers, (rows, sums, columns + 1); the last column is the base."""
        from interlock.registry.flavors.explaining import contributions

        return contributions(self.model, frame)

    def frame(self, arrays: Mapping[str, Any]) -> pl.DataFrame:
        """Return the rows of a request as a frame with the columns' types."""
        import numpy as np
        import polars as pl

        if self.layout == "matrix":
            told = next(iter(arrays.values()))
            table = np.frombuffer(told["data"], dtype=told["dtype"]).reshape(told["shape"])
            if table.ndim != 2 or table.shape[1] != len(self.columns):
                raise ValueError("another number of columns")
            given: dict[str, Any] = {name: table[:, place] for place, (name, _) in enumerate(self.columns)}
        else:
            given = {
                name: told["texts"] if "texts" in told else np.frombuffer(told["data"], dtype=told["dtype"])
                for name, told in arrays.items()
            }
        kinds = {"integer": pl.Int64(), "boolean": pl.Boolean(), "float": pl.Float64(), "string": pl.String()}
        return pl.DataFrame([pl.Series(name, given[name]).cast(kinds[kind]) for name, kind in self.columns])


def confine(memory_bytes: int) -> str:
    """Give up what an original needs not; return `none` when the network is gone, else `shared`.

    Source: unshare(2), prctl(2), setrlimit(2). A user namespace lets one without rights give up the network.
    """
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: _MOST_FILES,
        resource.RLIMIT_AS: memory_bytes,
    }
    for what, most in limits.items():
        _, hard = resource.getrlimit(what)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (allowed, allowed))
    flags = (_NEW_USER | _NEW_NET, _NEW_NET)
    return "none" if any(library.unshare(flag) == 0 for flag in flags) else "shared"


def main() -> int:
    """Return 0 when whoever asks has gone."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # what a library prints is no answer
    asks = os.fdopen(0, "rb")
    hello = _receive(asks)
    if hello is None:
        return 0
    network = confine(int(hello["memory"]))
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
    try:
        original = Original(hello["model"], [(name, kind) for name, kind in hello["columns"]], hello["layout"])
    except Exception as error:  # noqa: BLE001 - the border to whatever is in the file
        told = isinstance(error, ValueError | ModuleNotFoundError)
        _send(answers, {"error": f"{error}"[:500] if told else type(error).__name__})
        return 1
    _send(answers, {"network": network, "classes": original.classes})
    while (ask := _receive(asks)) is not None:
        _send(answers, _answered(original, ask))
    return 0


def _answered(original: Original, ask: Mapping[str, Any]) -> dict[str, Any]:
    from interlock.core.errors import Error

    try:
        frame = original.frame(ask["arrays"])
        found = original.explain(frame) if ask["op"] == "explain" else original.answer(frame)
    except Error as error:
        return {"error": str(error)}
    except Exception as error:  # noqa: BLE001 - the border to the model; its message may hold people's data
        return {"error": type(error).__name__}
    return {"shape": list(found.shape), "data": found.tobytes()}


def _receive(source: BinaryIO) -> dict[str, Any] | None:
    head = source.read(4)
    if len(head) < 4:
        return None
    body = source.read(int.from_bytes(head, "big"))
    found: dict[str, Any] = msgspec.msgpack.decode(body, type=dict[str, Any])
    return found


def _send(target: Any, message: Mapping[str, Any]) -> None:
    body = msgspec.msgpack.encode(message)
    waiting = memoryview(len(body).to_bytes(4, "big") + body)
    while waiting:
        waiting = waiting[target.write(waiting) :]


def _follow(parent: int) -> None:
    """End when the server has ended, also in the middle of a call."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        sys.exit(main())

"""The engines `xgboost` and `lightgbm`: a booster from its library's own file, one thread a call; never a pickle."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal

from interlock.core.errors import Corrupt, Error, Invalid, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from interlock.serve.engines.port import Feeds, Table

_MATRIX: Final = "inputs"
_APART_S: Final = 60
_LIGHTGBM: Final = b"tree\n"
_XGBOOST: Final = (b'{"', b"{L", b"{i", b"{U", b"{l", b"{I")  # JSON, and UBJSON with each size of a name's length


def library_of(data: bytes) -> Literal["xgboost", "lightgbm", ""]:
    """Return the library whose own format bytes begin like, or ""."""
    if data.startswith(_LIGHTGBM):
        return "lightgbm"
    return "xgboost" if data.startswith(_XGBOOST) and b"learner" in data[:200] else ""


def need_library(data: bytes) -> None:
    """Refuse a booster whose library is not here.

    Raises:
        MissingExtra: it is not installed.
    """
    library = library_of(data)
    if library and find_spec(library) is None:
        package = {"xgboost": "xgboost-cpu"}.get(library, library)
        raise MissingExtra(
            f"This needs {library!r}, which is not installed.", about="extra", hint=f"Run: pip install {package}"
        )


def open_booster(data: bytes) -> XgboostRunner | LightgbmRunner:
    """Return the engine of a booster.

    Args:
        data: its own file: UBJSON or JSON of XGBoost, text of LightGBM.

    Raises:
        Corrupt: it is none of these, or the library does not read it.
        MissingExtra: the library is not installed.
    """
    library = library_of(data)
    if not library:
        raise Corrupt(
            "The file is no booster in its library's own format.",
            about="bundle",
            hint="Save it by Booster.save_model; pickles are not read.",
        )
    return XgboostRunner(data) if library == "xgboost" else LightgbmRunner(data)


def try_apart(data: bytes) -> None:
    """Refuse a booster that its library does not read, or dies of, in a process of its own.

    XGBoost 3.2 ends the whole process over some files that end early; files that nobody looked into come here first.

    Raises:
        Corrupt: it does, or answers no row of zeros.

    Cost: 1-2 s of another process.
    """
    environment = {"PATH": os.defpath, "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path.startswith(os.sep))
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "interlock.serve.engines.booster"],
            input=data,
            capture_output=True,
            env=environment,
            timeout=_APART_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Corrupt("The booster's library does not end over it.", about="bundle") from None
    if done.returncode == 0:
        return
    why = done.stdout.decode(errors="replace").strip() if done.returncode == 1 else ""
    raise Corrupt(why or "The booster's library dies of the file: it is damaged.", about="bundle")


class XgboostRunner:
    """Answers by XGBoost itself, in 32 bits.

    Args:
        data: the booster's UBJSON or JSON.

    Raises:
        Corrupt: the library does not read it.
        MissingExtra: the library is not installed.
    """

    name = "xgboost"
    inputs: Sequence[tuple[str, str]] = ((_MATRIX, "tensor(float)"),)

    def __init__(self, data: bytes) -> None:
        need_library(data)
        import xgboost

        try:
            booster = xgboost.Booster()
            booster.load_model(bytearray(data))
            booster.set_param({"nthread": 1})
            self._configure(booster)
        except Exception as error:  # noqa: BLE001 - the library's own kinds
            raise Corrupt(f"XGBoost does not read the booster: {type(error).__name__}.", about="bundle") from None
        self.booster: Any = booster
        self._lock = threading.Lock()

    def _configure(self, booster: Any) -> None:
        import msgspec

        config = msgspec.json.decode(booster.save_config())["learner"]
        self.objective = str(config["objective"]["name"])
        self.classes = int(config["learner_model_param"]["num_class"])
        self.names: list[str] = list(booster.feature_names or ())
        self.width = int(booster.num_features())
        self.threads = config["gradient_booster"]["name"] == "gbtree"  # others keep state while they answer
        if self.objective == "multi:softmax":
            booster.set_param({"objective": "multi:softprob"})  # labels alone are no probabilities
        self.classes = 2 if self.objective == "binary:logistic" else self.classes
        best = booster.attributes().get("best_iteration")
        self.range = (0, int(best) + 1) if best is not None else (0, 0)

    def run(self, feeds: Feeds) -> Table:
        """Return the answers; see `Runner.run`.

        Cost: at least 140 us a call, whatever the rows.
        """
        if self.threads:
            return self._predict(feeds[_MATRIX])
        with self._lock:
            return self._predict(feeds[_MATRIX])

    def _predict(self, rows: NDArray[np.generic]) -> Table:
        found: Table = self.booster.inplace_predict(rows, iteration_range=self.range, validate_features=False)
        return found if found.ndim == 2 else found.reshape(-1, 1)

    def contributions(self, rows: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return exact TreeSHAP values of raw answers, (rows, sums, columns + 1); the last column is the base.

        Source: Lundberg, Erion, Lee: Consistent individualized feature attribution for tree ensembles (2018).
        """
        import numpy as np
        import xgboost

        matrix = xgboost.DMatrix(rows, feature_names=self.names or None, nthread=1)
        with self._lock:
            found = self.booster.predict(matrix, pred_contribs=True, iteration_range=self.range)
        found = np.asarray(found, dtype=np.float64)
        return found if found.ndim == 3 else found[:, None, :]

    def raw(self, rows: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return the sums before the link, (rows, sums)."""
        import numpy as np

        with self._lock:
            found = self.booster.inplace_predict(
                rows, predict_type="margin", iteration_range=self.range, validate_features=False
            )
        return np.asarray(found, dtype=np.float64).reshape(len(rows), -1)

    def close(self) -> None:
        """Do nothing: the booster is memory of this process."""


class LightgbmRunner:
    """Answers by LightGBM itself, in 64 bits.

    Args:
        data: the booster's text.

    Raises:
        Corrupt: the library does not read it.
        MissingExtra: the library is not installed.
    """

    name = "lightgbm"
    threads = False
    inputs: Sequence[tuple[str, str]] = ((_MATRIX, "tensor(double)"),)

    def __init__(self, data: bytes) -> None:
        need_library(data)
        import lightgbm

        _check_text(data)
        try:
            self.booster: Any = lightgbm.Booster(model_str=data.decode())
            self.names: list[str] = list(self.booster.feature_name())
            self.width = int(self.booster.num_feature())
            sums = int(self.booster.num_model_per_iteration())
        except Exception as error:  # noqa: BLE001 - the library's own kinds
            raise Corrupt(f"LightGBM does not read the booster: {type(error).__name__}.", about="bundle") from None
        line = next((line for line in data.split(b"\n", 40) if line.startswith(b"objective=")), b"")
        self.objective = line.partition(b"=")[2].decode().split(" ")[0]
        self.classes = sums if sums > 1 else 2 if self.objective == "binary" else 0
        self._lock = threading.Lock()

    def run(self, feeds: Feeds) -> Table:
        """Return the answers; see `Runner.run`.

        Cost: at least 17 us a call, whatever the rows.
        """
        with self._lock:
            found: Table = self.booster.predict(feeds[_MATRIX], num_threads=1)
        return found if found.ndim == 2 else found.reshape(-1, 1)

    def contributions(self, rows: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return exact TreeSHAP values; see `XgboostRunner.contributions`."""
        import numpy as np

        with self._lock:
            found = self.booster.predict(rows, pred_contrib=True, num_threads=1)
        return np.asarray(found, dtype=np.float64).reshape(len(rows), -1, self.width + 1)

    def raw(self, rows: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return the sums before the link, (rows, sums)."""
        import numpy as np

        with self._lock:
            found = self.booster.predict(rows, raw_score=True, num_threads=1)
        return np.asarray(found, dtype=np.float64).reshape(len(rows), -1)

    def close(self) -> None:
        """Do nothing: the booster is memory of this process."""


def _check_text(data: bytes) -> None:
    """Refuse a text of LightGBM's that ends early: the library itself answers with the trees that are left.

    Raises:
        Corrupt: it does.
    """
    sizes = next((line for line in data.split(b"\n", 40) if line.startswith(b"tree_sizes=")), b"")
    wanted = len(sizes.partition(b"=")[2].split())
    if b"\nend of trees" not in data or (wanted and data.count(b"\nTree=") != wanted):
        raise Corrupt("LightGBM does not read the booster: its text ends early.", about="bundle")


def wide_enough(runner: XgboostRunner | LightgbmRunner, columns: int) -> None:
    """Refuse a booster that was trained on another number of columns.

    Raises:
        Invalid: it was.
    """
    if runner.width != columns:
        raise Invalid(
            f"The booster takes {runner.width} columns, {columns} are described beside it.", about="model_version"
        )


def main() -> int:
    """Return 0 when the booster on the standard input is read and answers a row of zeros; see `try_apart`."""
    import numpy as np

    try:
        runner = open_booster(sys.stdin.buffer.read())
        kind = np.float32 if runner.name == "xgboost" else np.float64
        runner.run({_MATRIX: np.zeros((1, runner.width), kind)})
    except Error as error:
        sys.stdout.write(error.message)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Servers of predictions: ours, the bare application, and peers as their users start them."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from common.models import NAMES, TOLERANCE
from common.peers import peer
from common.processes import ServerProcess, free_port

if TYPE_CHECKING:
    from common.models import Model

_PEERS = Path(__file__).parents[1] / "peers"
_SRC = Path(__file__).parents[2] / "src"
_INFER = "/v2/models/bench/infer"
Rows = list[list[float]]


class Form(NamedTuple):
    """A protocol: where requests go, how rows become a body, how an answer becomes scores of the second class."""

    path: str
    make: Callable[[Rows], Any]
    read: Callable[[Any], list[float]]


def split_body(rows: Rows) -> Any:
    """Return MLflow's body for rows."""
    return {"dataframe_split": {"columns": NAMES, "data": rows}}


def column_tensors(rows: Rows) -> Any:
    """Return the Open Inference body with a tensor a column."""
    columns = zip(NAMES, zip(*rows, strict=True), strict=True)
    return {"inputs": [{"name": n, "shape": [len(rows)], "datatype": "FP64", "data": values} for n, values in columns]}


def matrix_tensor(rows: Rows) -> Any:
    """Return the Open Inference body with one tensor of all columns, as MLServer's users send it."""
    values = [value for row in rows for value in row]
    tensor = {"name": "x", "shape": [len(rows), len(NAMES)], "datatype": "FP64", "data": values}
    return {"inputs": [tensor], "outputs": [{"name": "predict_proba"}]}


def plain_body(rows: Rows) -> Any:
    """Return a body of rows alone, as a service of one's own takes it."""
    return {"inputs": rows}


def seconds(rows: list[list[float]]) -> list[float]:
    """Return the second value of each row."""
    return [row[1] for row in rows]


def predictions(answer: Any) -> list[float]:
    """Return the scores in `{"predictions": [[first, second], ...]}`."""
    return seconds(answer["predictions"])


def tensor_of(name: str) -> Callable[[Any], list[float]]:
    """Return what takes a tensor's values from an Open Inference answer: of two columns, the second."""

    def read(answer: Any) -> list[float]:
        tensor = next(tensor for tensor in answer["outputs"] if tensor["name"] == name)
        values: list[float] = tensor["data"]
        return values if len(tensor["shape"]) == 1 else values[1::2]

    return read


class PredictionServer(ServerProcess):
    """A server of one model.

    Attributes:
        forms: what it speaks; `json` is /invocations or the peer's own form.
    """

    forms: ClassVar[dict[str, Form]] = {}

    def __init__(self, name: str, folder: Path, model: Model) -> None:
        super().__init__(name, folder)
        self.model = model

    def _command(self) -> list[str]:
        """Return what starts it, having made what that needs."""
        raise NotImplementedError

    def _environment(self) -> dict[str, str]:
        """Return further variables of its environment."""
        return {}

    def start(self) -> None:
        """Start it, and wait for its first right answer."""
        form = next(iter(self.forms))
        self.launch(self._command(), lambda: self.right(form, 1), self._environment())

    def request(self, form: str, rows: int) -> tuple[str, bytes]:
        """Return path and body of a request for the first rows."""
        shape = self.forms[form]
        return shape.path, json.dumps(shape.make(self.model.rows[:rows]), separators=(",", ":")).encode()

    def right(self, form: str, rows: int) -> bool:
        """Return whether it answers rows; whatever it answers is then compared with the original's.

        Raises:
            RuntimeError: an answer is wrong.
        """
        try:
            answer = self.post(*self.request(form, rows))
        except urllib.error.HTTPError as error:
            said = error.read()
            if error.code in {404, 502, 503} or b"not ready" in said:  # it is up, and its model is not
                return False
            raise RuntimeError(f"{self.name} answers {error.code}: {said[:500]!r}") from None
        found, wanted = self.forms[form].read(json.loads(answer)), self.model.scores[:rows]
        if len(found) != rows or not all(map(_close, found, wanted)):
            raise RuntimeError(f"{self.name} answers {found[:3]} where the original says {wanted[:3]}")
        return True

    def post(self, path: str, body: bytes) -> bytes:
        """Return the answer to a body."""
        return self._open(urllib.request.Request(self.url(path), body, {"Content-Type": "application/json"}))

    def get(self, path: str) -> bytes:
        """Return a page."""
        return self._open(urllib.request.Request(self.url(path)))

    def url(self, path: str) -> str:
        """Return where a path is."""
        return f"http://127.0.0.1:{self.port}{path}"

    def _open(self, request: urllib.request.Request) -> bytes:
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: bytes = answer.read()
            return found


def _close(found: float, wanted: float) -> bool:
    return math.isclose(found, wanted, rel_tol=0, abs_tol=TOLERANCE)


class Bare(PredictionServer):
    """An ASGI application that parses JSON and calls ONNX Runtime."""

    forms: ClassVar = {
        "json": Form("/invocations", split_body, lambda answer: answer["predictions"]),
        "v2": Form(_INFER, column_tensors, tensor_of("probability")),
    }

    def _command(self) -> list[str]:
        return [sys.executable, str(_PEERS / "bare.py"), str(self.model.graph), str(self.port), ",".join(NAMES)]


class Ours(PredictionServer):
    """Interlock: signature checked, each answer in the prediction log."""

    forms: ClassVar = {
        "json": Form("/invocations", split_body, lambda answer: [row["probability"] for row in answer["predictions"]]),
        "v2": Form(_INFER, column_tensors, tensor_of("probability")),
    }
    durability = "fsync"

    def _command(self) -> list[str]:
        from common.deploying import Workspace  # peers need nothing of ours

        workspace = Workspace(self.folder / ".interlock", self.durability)
        workspace.switch(workspace.add(self.model), 1)
        workspace.close()
        said = {"workspace": self.folder / ".interlock", "deployment": "bench", "port": self.port}
        flags = [text for name, value in said.items() for text in (f"--{name}", str(value))]
        return [sys.executable, "-m", "interlock.serve", *flags, *workspace.flags]

    def _environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(_SRC)}

    def figure(self, name: str) -> float:
        """Return one of its metrics."""
        lines = self.get("/metrics").decode().splitlines()
        return next(float(line.split()[-1]) for line in lines if line.split("{")[0].split()[0] == name)


class OursWithinASecond(Ours):
    """The same, answering before the log is synced, which follows within a second."""

    durability = "1s"


class MLflow(PredictionServer):
    """`mlflow models serve` with its own environment."""

    forms: ClassVar = {"json": Form("/invocations", split_body, predictions)}

    def _command(self) -> list[str]:
        home, target = peer("mlflow"), self.folder / "model"
        save = [home / "bin/python", _PEERS / "save_mlflow.py", self.model.original, self.model.folder / "rows.json"]
        done = subprocess.run([*save, target], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        flags = ["-m", str(target), "--env-manager", "local", "-h", "127.0.0.1", "-p", str(self.port)]
        return [str(home / "bin/mlflow"), "models", "serve", *flags]

    def _environment(self) -> dict[str, str]:
        # It starts uvicorn by name.
        return {"MLFLOW_DISABLE_TELEMETRY": "true", "PATH": f"{peer('mlflow') / 'bin'}:{os.environ['PATH']}"}


class MLServer(PredictionServer):
    """`mlserver start` with its scikit-learn runtime."""

    forms: ClassVar = {"v2": Form(_INFER, matrix_tensor, tensor_of("predict_proba"))}

    def _command(self) -> list[str]:
        ports = {name: free_port() for name in ("grpc_port", "metrics_port")}
        settings = {"host": "127.0.0.1", "http_port": self.port, "debug": False, **ports}
        parameters = {"uri": str(self.model.original), "version": "1"}
        model = {"name": "bench", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": parameters}
        (self.folder / "settings.json").write_text(json.dumps(settings))
        (self.folder / "model-settings.json").write_text(json.dumps(model))
        return [str(peer("mlserver") / "bin/mlserver"), "start", str(self.folder)]


class Bento(PredictionServer):
    """`bentoml serve` of a service."""

    forms: ClassVar = {"json": Form("/predict", plain_body, seconds)}

    def _command(self) -> list[str]:
        flags = ["--host", "127.0.0.1", "--port", str(self.port), "--working-dir", str(_PEERS)]
        return [str(peer("bentoml") / "bin/bentoml"), "serve", "bento_service:Predictor", *flags]

    def _environment(self) -> dict[str, str]:
        home = str(self.folder / "home")
        return {"BENCH_MODEL": str(self.model.original), "BENTOML_HOME": home, "BENTOML_DO_NOT_TRACK": "True"}


class Lit(PredictionServer):
    """LitServe."""

    forms: ClassVar = {"json": Form("/predict", plain_body, predictions)}

    def _command(self) -> list[str]:
        script = [str(_PEERS / "lit_api.py"), str(self.model.original), str(self.port)]
        return [str(peer("litserve") / "bin/python"), *script]


class Ray(Lit):
    """Ray Serve."""

    forms: ClassVar = {"json": Form("/", plain_body, predictions)}

    def _command(self) -> list[str]:
        script = [str(_PEERS / "ray_app.py"), str(self.model.original), str(self.port), str(self.folder / "ray")]
        return [str(peer("ray") / "bin/python"), *script]

    def _environment(self) -> dict[str, str]:
        return {"RAY_USAGE_STATS_ENABLED": "0"}


SERVERS: dict[str, type[PredictionServer]] = {
    "ours": Ours,
    "ours-1s": OursWithinASecond,
    "bare": Bare,
    "mlflow": MLflow,
    "mlserver": MLServer,
    "bentoml": Bento,
    "litserve": Lit,
    "ray": Ray,
}

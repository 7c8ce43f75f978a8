"""What a prediction costs our server, against a bare ASGI application that only parses JSON and runs the same graph.

Ours checks every value, picks the route, makes an id, and answers after the prediction is on disk; the bare one does
none of it. Both run under uvicorn with uvloop and httptools, in one process each, and get the same bodies in the same
run. The figure is processor time of the server process a request (all threads). With one caller each answer waits for a
disk sync of its own, whose kernel work and wake-ups are most of the figure; with more, they share it.

    python benchmarks/serve.py [requests]
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import msgspec

from interlock.core.bundles import Agreement, Bundle, Column, DeploymentSpec, Golden, Route
from interlock.store import create_store
from interlock.store.manifests import put_folder

NAMES = [f"x{i}" for i in range(30)]
BARE = """
import asyncio, sys, msgspec, numpy as np, onnxruntime as rt, uvicorn
options = rt.SessionOptions()
options.intra_op_num_threads = 1
session = rt.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
names = sys.argv[3].split(",")

async def app(scope, receive, send):
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    given = msgspec.json.decode(body)
    if scope["path"] == "/invocations":
        rows = given["dataframe_records"]
        x = np.array([[row[name] for name in names] for row in rows], dtype=np.float32)
    else:
        x = np.array([tensor["data"] for tensor in given["inputs"]], dtype=np.float32).T
        x = np.ascontiguousarray(x)
    scores = session.run(["probabilities"], {"X": x})[0][:, 1].tolist()
    answer = msgspec.json.encode({"predictions": scores})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})

uvicorn.run(app, port=int(sys.argv[2]), loop="uvloop", http="httptools", lifespan="off", access_log=False,
            log_level="warning", ws="none", timeout_keep_alive=75)
"""


def train() -> tuple[bytes, list[dict[str, float]], list[float]]:
    import numpy as np
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    x = np.random.default_rng(1).normal(size=(500, len(NAMES))).astype(np.float32)
    model = LogisticRegression().fit(x, x[:, 0] + x[:, 1] > 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = to_onnx(model, x[:1], options={"zipmap": False}, target_opset=18).SerializeToString()
    rows = [dict(zip(NAMES, map(float, row), strict=True)) for row in x[:1000]]
    return graph, rows, model.predict_proba(x)[:, 1].tolist()


def deploy(folder: Path, graph: bytes, rows: list[dict[str, float]], scores: list[float]) -> Path:
    bundle = folder / "bundle"
    bundle.mkdir()
    record = Bundle(
        "sklearn",
        "classification",
        tuple(Column(name, "float") for name in NAMES),
        "y",
        (0, 1),
        {"serving": "model.onnx", "golden": "golden.json"},
        Agreement(len(rows), 0.0, 1e-4, 0),
    )
    (bundle / "bundle.json").write_bytes(msgspec.json.encode(record))
    (bundle / "golden.json").write_bytes(msgspec.json.encode(Golden(rows[:20], scores[:20], 1e-4)))
    (bundle / "model.onnx").write_bytes(graph)
    store = create_store(folder / ".interlock")
    spec = DeploymentSpec("bench", 1, (Route("model:bench@1", put_folder(store.objects, bundle), 1.0),))
    values = {"spec": store.objects.put(msgspec.json.encode(spec))}
    store.database.write(
        lambda tx: tx.run(
            "INSERT INTO deployments (name, revision, spec, state, url, changed_at)"
            " VALUES ('bench', 1, :spec, 'running', '', 0)",
            values,
        )
    )
    store.close()
    return bundle / "model.onnx"


def start(folder: Path, graph: Path) -> dict[str, tuple[subprocess.Popen[bytes], int]]:
    import socket

    announce = folder / "announce.json"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "src")}
    said = {"workspace": folder / ".interlock", "deployment": "bench", "announce": announce}
    flags = [text for name, value in said.items() for text in (f"--{name}", str(value))]
    if len(sys.argv) > 2:
        flags += ["--durability", sys.argv[2]]
    ours = subprocess.Popen([sys.executable, "-m", "interlock.serve", *flags], env=environment)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    bare = subprocess.Popen([sys.executable, "-c", BARE, str(graph), str(port), ",".join(NAMES)])
    until(announce.exists)
    until(lambda: answers(port))
    url = json.loads(announce.read_bytes())["url"]
    return {"interlock": (ours, int(url.rpartition(":")[2])), "bare": (bare, port)}


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        if time.monotonic() > end:
            raise TimeoutError("a server did not start")
        time.sleep(0.05)


def answers(port: int) -> bool:
    import socket

    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def cpu_s(pid: int) -> float:
    """Return the processor seconds of all threads that live, to the nanosecond."""
    return sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


async def ask(port: int, request: bytes, requests: int, callers: int) -> None:
    """Send so many requests over so many connections, one after the other on each."""

    async def one(count: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(count):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode())
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        writer.close()

    await asyncio.gather(*(one(requests // callers) for _ in range(callers)))


def bodies(rows: list[dict[str, float]]) -> dict[str, bytes]:
    def post(path: str, body: object) -> bytes:
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data

    def tensors(some: list[dict[str, float]]) -> dict[str, object]:
        shape = [len(some)]
        return {
            "inputs": [{"name": n, "shape": shape, "datatype": "FP64", "data": [r[n] for r in some]} for n in NAMES]
        }

    return {
        "/invocations": post("/invocations", {"dataframe_records": rows[:1]}),
        "/v2 infer": post("/v2/models/bench/infer", tensors(rows[:1])),
        "/invocations, 500 rows": post("/invocations", {"dataframe_records": rows[:500]}),
        "/v2 infer, 500 rows": post("/v2/models/bench/infer", tensors(rows[:500])),
    }


def main() -> None:
    import uvloop

    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 6000
    graph, rows, scores = train()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        servers = start(folder, deploy(folder, graph, rows, scores))
        try:
            print(f"{'request':<24}{'callers':>8}{'interlock us':>14}{'bare us':>10}{'ratio':>8}{'requests/s':>12}")
            for what, request in bodies(rows).items():
                large = "rows" in what
                for callers in (1, 32):
                    count = max(requests // (100 if large else 1), callers)
                    cost, rate = {}, {}
                    for server, (process, port) in servers.items():
                        uvloop.run(ask(port, request, max(count // 10, callers), callers))
                        before, began = cpu_s(process.pid), time.perf_counter()
                        uvloop.run(ask(port, request, count, callers))
                        cost[server] = (cpu_s(process.pid) - before) / count * 1e6
                        rate[server] = count / (time.perf_counter() - began)
                    ratio = cost["interlock"] / cost["bare"]
                    print(
                        f"{what:<24}{callers:>8}{cost['interlock']:>14.0f}{cost['bare']:>10.0f}"
                        f"{ratio:>8.2f}{rate['interlock']:>12.0f}"
                    )
        finally:
            for process, _ in servers.values():
                process.send_signal(signal.SIGTERM)
                process.wait(30)


if __name__ == "__main__":
    main()

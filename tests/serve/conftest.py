"""Real bundles from scikit-learn, a real workspace, and real server processes on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import msgspec
import pytest

from interlock.core.bundles import Agreement, Bundle, Column, DeploymentSpec, Golden, Route, Serving
from interlock.core.clock import SystemClock
from interlock.serve.app import Application, Limits
from interlock.serve.engine import Engine
from interlock.serve.hands import Hands
from interlock.serve.journal import open_journal
from interlock.serve.repository import Repository
from interlock.serve.server import protocols
from interlock.serve.sources import Deployed
from interlock.serve.stock import Stock
from interlock.serve.watch import Watcher
from interlock.store import create_store
from interlock.store.manifests import put_folder

SRC = Path(__file__).parents[2] / "src"
DEADLINE_S = 30
PEOPLE = (("age", "integer"), ("hours", "float"), ("income", "float"))
ONE = {"age": 40, "hours": 38.0, "income": 30.0}
CUSTOMERS = (("city", "string"), ("age", "integer"), ("spend", "float"))


class Kind(msgspec.Struct, frozen=True):
    """A model that was trained once a session."""

    columns: tuple[tuple[str, str], ...]
    layout: str
    graph: bytes
    rows: list[dict]
    scores: list[float]


def _matrix(flip):
    import numpy as np
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(7)
    x = np.column_stack([random.integers(18, 90, 300), random.normal(38, 8, 300), random.normal(30, 9, 300)])
    x = x.astype(np.float32)
    y = ((x[:, 0] + x[:, 2] > 84) ^ flip).astype(int)
    model = LogisticRegression(max_iter=2000).fit(x / 10, y)
    model.coef_ = model.coef_ / 10
    graph = to_onnx(model, x[:1], options={"zipmap": False}, target_opset=18).SerializeToString()
    names = [name for name, _ in PEOPLE]
    rows = [{n: (int(v) if n == "age" else float(v)) for n, v in zip(names, r, strict=True)} for r in x[:20]]
    return Kind(PEOPLE, "matrix", graph, rows, model.predict_proba(x[:20])[:, 1].tolist())


def _columns():
    import numpy as np
    import polars as pl
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    random = np.random.default_rng(8)
    frame = pl.DataFrame(
        {
            "city": random.choice(["Oslo", "Lima", "Cairo"], 300).tolist(),
            "age": random.integers(18, 90, 300).tolist(),
            "spend": random.normal(100, 30, 300).round(2).tolist(),
        }
    )
    y = ((frame["spend"] > 100) | (frame["city"] == "Oslo")).to_numpy().astype(int)
    parts = ColumnTransformer(
        [
            ("city", OneHotEncoder(handle_unknown="ignore"), ["city"]),
            ("age", StandardScaler(), ["age"]),
            ("spend", StandardScaler(), ["spend"]),
        ]
    )
    model = make_pipeline(parts, LogisticRegression())
    model.fit(frame, y)
    types = [
        ("city", StringTensorType([None, 1])),
        ("age", Int64TensorType([None, 1])),
        ("spend", FloatTensorType([None, 1])),
    ]
    graph = to_onnx(model, initial_types=types, options={"zipmap": False}, target_opset=18).SerializeToString()
    scores = model.predict_proba(frame[:20])[:, 1].tolist()
    return Kind(CUSTOMERS, "columns", graph, frame[:20].to_dicts(), scores)


def _roots():
    """A graph that answers the root of a hundredth of the age: no number below 0, no probability above 100."""
    from onnx import TensorProto, helper

    weights = helper.make_tensor("w", TensorProto.FLOAT, [3, 2], [0.01, 0.01, 0.0, 0.0, 0.0, 0.0])
    nodes = [helper.make_node("MatMul", ["X", "w"], ["z"]), helper.make_node("Sqrt", ["z"], ["p"])]
    taken = helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 3])
    given = helper.make_tensor_value_info("p", TensorProto.FLOAT, [None, 2])
    graph = helper.make_graph(nodes, "g", [taken], [given], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    rows = [{"age": age, "hours": 1.0, "income": 1.0} for age in (25, 36, 49)]
    return Kind(PEOPLE, "matrix", model.SerializeToString(), rows, [0.5, 0.6, 0.7])


@pytest.fixture(scope="session")
def kinds():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter's own
        return {"people": _matrix(False), "reversed": _matrix(True), "customers": _columns(), "roots": _roots()}


class Shop:
    """A workspace with bundles in it, and deployments of them."""

    def __init__(self, root: Path, kinds: dict[str, Kind]) -> None:
        self.root = root
        self.kinds = kinds
        self.store = create_store(root)
        self._folders = 0

    def source(self, name="shop"):
        """Return what says what a deployment serves."""
        return Deployed(name, self.store.database, self.store.objects)

    def bundle(self, kind: str = "people", **changes) -> str:
        """Return the digest of a bundle; `changes` are fields of its records that shall be otherwise."""
        made = self.kinds[kind]
        golden = Golden(
            changes.pop("rows", made.rows), changes.pop("scores", made.scores), changes.pop("tolerance", 1e-4)
        )
        fields = {
            "flavor": "sklearn",
            "task": "classification",
            "inputs": tuple(Column(*column) for column in made.columns),
            "target": "buys",
            "classes": (0, 1),
            "files": {"serving": "model.onnx", "golden": "golden.json"},
            "agreement": Agreement(20, 0.0, 1e-4, 0),
            "layout": made.layout,
        }
        graph = changes.pop("graph", made.graph)
        self._folders += 1
        folder = self.root.parent / f"bundle-{self._folders}"
        folder.mkdir()
        (folder / "bundle.json").write_bytes(msgspec.json.encode(Bundle(**{**fields, **changes})))
        (folder / "model.onnx").write_bytes(graph)
        (folder / "golden.json").write_bytes(msgspec.json.encode(golden))
        return put_folder(self.store.objects, folder)

    def deploy(self, *routes: Route, name: str = "shop", revision: int = 1, serving: Serving | None = None) -> None:
        spec = self.store.objects.put(msgspec.json.encode(DeploymentSpec(name, revision, routes, serving or Serving())))
        values = {"name": name, "revision": revision, "spec": spec}
        self.store.database.write(
            lambda tx: tx.run(
                "INSERT INTO deployments (name, revision, spec, state, url, changed_at)"
                " VALUES (:name, :revision, :spec, 'running', '', 0)"
                " ON CONFLICT (name) DO UPDATE SET revision = :revision, spec = :spec",
                values,
            )
        )

    def close(self) -> None:
        self.store.close()


class Server:
    """A server process and a client of it."""

    def __init__(self, shop: Shop, name: str = "shop", *further: str) -> None:
        self.announce = shop.root.parent / f"announce-{time.monotonic_ns()}.json"
        self.errors = shop.root.parent / f"stderr-{time.monotonic_ns()}.txt"
        command = [sys.executable, "-m", "interlock.serve", "--workspace", str(shop.root), "--deployment", name]
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*command, "--announce", str(self.announce), *further],
                env={**os.environ, "PYTHONPATH": str(SRC)},
                stderr=errors,
            )
        self.client = httpx.Client(timeout=DEADLINE_S)

    def ready(self) -> Server:
        until(lambda: self.announce.exists() or self.process.poll() is not None)
        assert self.announce.exists(), self.errors.read_text()
        self.said = json.loads(self.announce.read_bytes())
        self.client.base_url = self.said["url"]
        return self

    def infer(self, name: str = "shop", **columns):
        return self.client.post(f"/v2/models/{name}/infer", json=oip(**columns))

    def invoke(self, *rows: dict, **params):
        return self.client.post("/invocations", json={"dataframe_records": list(rows), "params": params})

    def status(self) -> dict:
        return self.client.get("/-/status").json()

    def stop(self) -> int:
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def oip(**columns) -> dict:
    """Return an infer body; types follow from the first value."""
    kinds = {int: "INT64", float: "FP64", str: "BYTES", bool: "BOOL"}
    return {
        "inputs": [
            {"name": name, "shape": [len(values)], "datatype": kinds[type(values[0])], "data": values}
            for name, values in columns.items()
        ]
    }


def until(true, deadline_s: float = DEADLINE_S):
    """Wait until a call returns something true, and return that."""
    end = time.monotonic() + deadline_s
    while not (found := true()):
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)
    return found


def route(bundle: str, model: str = "model:buyer@1", weight: float = 1.0, role: str = "champion") -> Route:
    return Route(model, bundle, weight, role)


@pytest.fixture(scope="session")
def tools():
    """The helpers of this file, for tests that need them by name."""

    class Tools:
        pass

    Tools.oip, Tools.until, Tools.route, Tools.Server = map(staticmethod, (oip, until, route, Server))
    Tools.Shop = staticmethod(Shop)
    return Tools


@pytest.fixture
def shop(tmp_path, kinds):
    shop = Shop(tmp_path / ".interlock", kinds)
    yield shop
    shop.close()


@pytest.fixture
def serve(shop):
    """Start servers of this test's workspace; they are stopped at its end."""
    started = []

    def start(name: str = "shop", *further: str, wait: bool = True) -> Server:
        started.append(Server(shop, name, *further))
        return started[-1].ready() if wait else started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def live(tmp_path_factory, kinds):
    """One server for all tests that only ask: champion over text, whole numbers and floats."""
    shop = Shop(tmp_path_factory.mktemp("live") / ".interlock", kinds)
    shop.deploy(route(shop.bundle("customers"), "model:buyer@3"))
    server = Server(shop).ready()
    server.shop = shop
    yield server
    assert server.stop() == 0, server.errors.read_text()
    shop.close()


@pytest.fixture
def register(shop):
    """Put a version of a model into the registry's tables."""

    def register(model: str, version: int, bundle: str, stage: str = "approved") -> None:
        values = {"model": model, "version": version, "bundle": bundle, "stage": stage, "run": f"{model}{version}"}

        def write(tx):
            tx.run("INSERT INTO models (name, created_at) VALUES (:model, 0) ON CONFLICT DO NOTHING", {"model": model})
            tx.run(
                "INSERT INTO model_versions"
                " (model, version, run, bundle, data, stage, stage_reason, stage_at, created_at)"
                " VALUES (:model, :version, :run, :bundle, '', :stage, '', 0, 0)",
                values,
            )

        shop.store.database.write(write)

    return register


class House:
    """A server without a socket: its repository, and a client."""

    def __init__(self, shop, pool, **options) -> None:
        self.journal = open_journal(shop.store.predictions.folder, "1s")
        self.stock = Stock(shop.store, roots=options.pop("roots", ()))
        self.engine = Engine("models", self.journal, SystemClock(), Hands(pool))
        options.setdefault("explicit", True)
        self.models = Repository(self.engine.beside, Limits(), supply=self.stock, **options)
        self.engine.fleet = self.models
        app = Application(self.engine, protocols(), [], Limits())
        transport = httpx.ASGITransport(app=app)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://localhost")

    def mean(self, name: str) -> None:
        engine = self.engine.beside(name)
        engine.alias = name
        self.models.mean(name, name, Watcher(engine, self.stock.source(name)), engine)

    async def post(self, path: str, json=None, **more):
        return await self.client.post(path, json=json, **more)

    async def infer(self, name: str):
        return await self.post(f"/v2/models/{name}/infer", oip(**{name: [value] for name, value in ONE.items()}))


@pytest.fixture
def house(shop):
    """Run a scene in a house; `options` are the repository's."""

    def run(scene, **options):
        async def play():
            with ThreadPoolExecutor(2) as pool:
                made = House(shop, pool, **options)
                try:
                    return await scene(made)
                finally:
                    await asyncio.to_thread(made.models.stop)
                    await made.client.aclose()
                    await made.journal.close()

        return asyncio.run(play())

    return run

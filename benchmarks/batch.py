"""`interlock predict` against a plain loop over the same Parquet file, in one run: time, CPU, memory.

    python benchmarks/batch.py [--rows 1000000] [--rounds 5]

A file of 30 columns of 64-bit floats is answered by a logistic regression and by a forest of 100 trees. The plain loops
read batches of 65,536 rows with Polars or pyarrow, make an array of them, call ONNX Runtime as it comes, and write one
Parquet file of label and probability; they check nothing, and a kill loses all. Ours digests the input, checks every
value, gives every row an id, syncs parts and journal, and writes the event. Each measurement is a process of its own,
and they take turns. "work" and CPU leave imports and the opening of the workspace out on both sides, the model's
loading not. To digest 230 MB costs 0.14 CPU seconds, which a machine with an idle core does not notice.
Bar: 0.9 times the rows a second of the faster loop.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BAR = 0.9
BATCH = 65_536
COLUMNS = [f"f{number:02}" for number in range(30)]
WAYS = ("plain polars", "plain pyarrow", "interlock")


def prepare(folder: Path, rows: int) -> None:
    """Write the file, the graphs and the workspace."""
    import msgspec
    import numpy as np
    import polars as pl
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    from interlock.registry.flavors.build import build_bundle
    from interlock.registry.service import RegistryService
    from interlock.store import create_store
    from interlock.store.manifests import put_folder
    from interlock.track.environment import environment
    from interlock.track.records import Start
    from interlock.track.service import TrackService

    chance = np.random.default_rng(7)
    table = pl.DataFrame({name: chance.normal(size=rows) for name in COLUMNS})
    table.write_parquet(folder / "rows.parquet")
    few = table.head(6000)
    truth = (few["f00"] + few["f01"] * few["f02"] + chance.normal(size=few.height) > 0).to_numpy().astype(int)
    (folder / "project").mkdir()
    store = create_store(folder / "project" / ".interlock")
    kept = store.objects.put(msgspec.json.encode(environment()))
    for name, model in (
        ("linear", LogisticRegression(max_iter=500)),
        ("forest", RandomForestClassifier(100, max_depth=10, random_state=1, n_jobs=2)),
    ):
        model.fit(few[:5000].to_numpy(), truth[:5000])
        run = TrackService(store).start(Start(name, environment=kept))
        TrackService(store).finish(run.id)
        made = folder / name
        evaluation = few[5000:].with_columns(y=pl.Series(truth[5000:]))
        build_bundle(model, inputs=few[:5000], target="y", evaluation=evaluation, folder=made)
        RegistryService(store).register(name, run.ref, put_folder(store.objects, made), [])
    store.close()


def plain_polars(folder: Path, model: str, output: Path) -> tuple[float, float]:
    import numpy as np
    import onnxruntime
    import polars as pl

    began = now()
    session = onnxruntime.InferenceSession(folder / model / "model.onnx")
    name = session.get_inputs()[0].name
    outputs = [node.name for node in session.get_outputs()]
    made = []
    scan = pl.scan_parquet(folder / "rows.parquet").select(COLUMNS)
    for frame in scan.collect_batches(chunk_size=BATCH, maintain_order=True):
        rows = frame.to_numpy().astype(np.float32)
        labels, shares = session.run(outputs, {name: rows})
        made.append(pl.DataFrame({"label": labels, "probability": shares[:, 1]}))
    pl.concat(made).write_parquet(output)
    return since(began)


def plain_pyarrow(folder: Path, model: str, output: Path) -> tuple[float, float]:
    import numpy as np
    import onnxruntime
    import pyarrow as pa
    import pyarrow.parquet as pq

    began = now()
    session = onnxruntime.InferenceSession(folder / model / "model.onnx")
    name = session.get_inputs()[0].name
    outputs = [node.name for node in session.get_outputs()]
    writer = None
    for batch in pq.ParquetFile(folder / "rows.parquet").iter_batches(BATCH, columns=COLUMNS):
        rows = np.column_stack(batch.columns).astype(np.float32)
        labels, shares = session.run(outputs, {name: rows})
        made = pa.table({"label": labels, "probability": shares[:, 1]})
        writer = writer or pq.ParquetWriter(output, made.schema)
        writer.write_table(made)
    if writer:
        writer.close()
    return since(began)


def interlock(folder: Path, model: str, output: Path) -> tuple[float, float]:
    import numpy  # noqa: F401, ICN001 - counted on neither side
    import onnxruntime  # noqa: F401
    import polars  # noqa: F401, ICN001

    from interlock.deploy.batch import Batch
    from interlock.store import open_store

    store = open_store(folder / "project" / ".interlock")
    began = now()
    Batch(store, f"model:{model}", [folder / "rows.parquet"]).run(output)
    took = since(began)
    store.close()
    return took


def now() -> tuple[float, float]:
    """Return the CPU seconds of this process, and the instant."""
    return time.process_time(), time.perf_counter()


def since(began: tuple[float, float]) -> tuple[float, float]:
    """Return the CPU and wall seconds since then."""
    cpu, instant = now()
    return cpu - began[0], instant - began[1]


def measure(folder: Path, model: str, way: str) -> dict[str, float]:
    """Return what one process took."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, __file__, "--one", way, "--model", model, "--folder", folder, "--output", f"{scratch}/o"],
            check=True,
            capture_output=True,
        )
        return {**json.loads(done.stdout), "process": time.perf_counter() - began}


def one(folder: Path, model: str, way: str, output: Path) -> None:
    """Do it in this process and print what it took."""
    work = {"plain polars": plain_polars, "plain pyarrow": plain_pyarrow, "interlock": interlock}[way]
    cpu, took = work(folder, model, output)
    status = Path("/proc/self/status").read_text("utf-8")
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024  # ru_maxrss would begin with that of the parent
    print(json.dumps({"work": took, "cpu": cpu, "memory": peak}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="*", default=["linear", "forest"])
    for hidden in ("--one", "--model", "--folder", "--output"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.one:
        one(Path(said.folder), said.model, said.one, Path(said.output))
        return
    print(f"{said.rows:,} rows, {os.cpu_count()} cores, Python {platform.python_version()}, medians of {said.rounds}")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare(folder, said.rows)
        for model in said.models:
            found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
            for _ in range(said.rounds):
                for way in WAYS:
                    found[way].append(measure(folder, model, way))
            report(model, said.rows, found)


def report(model: str, rows: int, found: dict[str, list[dict[str, float]]]) -> None:
    """Print a table of medians, and the ratio that the bar is about."""
    print(f"\n{model:14} {'rows/s':>12} {'work s':>8} {'process s':>10} {'CPU s':>7} {'peak MB':>8}")
    middle = {way: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for way, runs in found.items()}
    for way, took in middle.items():
        print(
            f"{way:14} {rows / took['work']:12,.0f} {took['work']:8.3f} {took['process']:10.3f}"
            f" {took['cpu']:7.2f} {took['memory']:8.0f}"
        )
    best = min(took["work"] for way, took in middle.items() if way != "interlock")
    ratio = best / middle["interlock"]["work"]
    print(f"{ratio:.2f} times the faster loop (bar {BAR}): {'met' if ratio >= BAR else 'MISSED'}")


if __name__ == "__main__":
    main()

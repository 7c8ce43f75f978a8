"""Damaged Parquet and Arrow files: a workspace's server and `interlock predict` refuse them, and live."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from interlock.core.errors import Invalid
from interlock.data.formats import read_table
from interlock.deploy.batch_inputs import batches, sources
from interlock.sdk.workspace import Workspace

_spec = spec_from_file_location("damaged", Path(__file__).parents[1] / "data" / "damaged.py")
damaged = module_from_spec(_spec)
_spec.loader.exec_module(damaged)


def interlock(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "interlock", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.slow
def test_a_server_refuses_a_file_that_ends_its_reader(tmp_path: Path, serve: Callable[[Path], Any]) -> None:
    assert interlock(tmp_path, "init").returncode == 0
    bad, good = damaged.aborting(tmp_path / "bad.parquet"), tmp_path / "good.parquet"
    damaged.parquet(good)
    server = serve(tmp_path / ".interlock")
    with Workspace.open(f"http://{server.host}") as workspace:
        for _ in range(3):
            with pytest.raises(Invalid, match=r"bad\.parquet cannot be read as parquet: it is damaged"):
                workspace.data.ingest("people", [bad])
        assert workspace.data.ingest("people", [good]).rows == damaged.ROWS
    server.end(15)


@pytest.mark.slow
def test_the_command_says_which_file_and_why(tmp_path: Path) -> None:
    assert interlock(tmp_path, "init").returncode == 0
    damaged.aborting(tmp_path / "bad.parquet")
    done = interlock(tmp_path, "data", "ingest", "people", "bad.parquet")
    assert done.returncode > 0  # a process that aborts has a negative one
    assert "bad.parquet cannot be read as parquet: it is damaged" in done.stderr


@pytest.mark.parametrize(
    ("make", "name", "why"),
    [
        (damaged.aborting, "a.parquet", "Parquet (SIGABRT)"),
        (damaged.shortened, "a.parquet", "Parquet (ValueError)"),
        (damaged.reaching, "a.arrows", "an Arrow stream ("),
    ],
)
def test_rows_that_are_scored_are_all_there_or_refused(tmp_path: Path, make: Any, name: str, why: str) -> None:
    (source,) = sources([make(tmp_path / name)])
    with pytest.raises(Invalid) as refused:
        list(batches(source, (), 0, 10))
    assert why in str(refused.value)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["parquet", "arrow", "arrows"])
def test_any_bytes_give_a_table_or_an_error(tmp_path: Path, suffix: str) -> None:
    """Each file has some bytes changed; what comes is all rows or a refusal, and this process goes on."""
    chance, path = random.Random(20), tmp_path / f"it.{suffix}"
    frame = damaged.people().with_columns(pl.col("name").cast(pl.Categorical).alias("kind"))
    write = {"parquet": frame.write_parquet, "arrow": frame.write_ipc, "arrows": frame.write_ipc_stream}[suffix]
    write(path)
    content, refused = path.read_bytes(), 0
    for _ in range(250):
        changed = bytearray(content)
        for _ in range(chance.choice((1, 1, 2, 5))):
            at = chance.randrange(8, len(changed))
            changed[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, changed[at] ^ 4))
        path.write_bytes(changed)
        try:
            (source,) = sources([path])
            found = pl.concat(batches(source, (), 0, 16))
            if suffix == "parquet":
                read_table(path, path.name)
        except Invalid as error:
            assert path.name in str(error)
            refused += 1
        else:
            found.write_csv(os.devnull)
    assert refused > 25

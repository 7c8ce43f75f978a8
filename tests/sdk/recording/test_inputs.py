"""Files that runs read: those that scripts open, those that they name, and all that is no data."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

import interlock
from interlock.sdk.recording import inputs as module
from interlock.sdk.recording import opened
from interlock.sdk.recording.inputs import Inputs, ReadFiles
from interlock.sdk.recording.project import Project


def read_by(workspace, index: int = 0) -> tuple[tuple[str, ...], ReadFiles]:
    """Return the inputs of a run, and the list that it keeps of files."""
    found = workspace.track.runs()[index]
    listed = [file for file in found.artifacts if file.name == "interlock/inputs.json"]
    record = msgspec.json.decode(workspace.read(listed[0].digest), type=ReadFiles) if listed else ReadFiles(())
    return found.inputs, record


def script(folder: Path, text: str, *options: str) -> str:
    """Run a script under `interlock run`; return what it printed."""
    (folder / "train.py").write_text(textwrap.dedent(text), "utf-8")
    words = [sys.executable, "-m", "interlock", "run", *options, "train.py"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def data(project: Path) -> Path:
    """A folder of data in the project, and a file of data beside the project."""
    folder = project / "data"
    (folder / "many").mkdir(parents=True)
    frame = pl.DataFrame({"a": [1, 2], "b": [3.5, 4.5]})
    frame.write_csv(folder / "plain.csv")
    frame.write_csv(folder / "pandas.csv")
    frame.write_csv(folder / "polars.csv")
    frame.write_parquet(folder / "scanned.parquet")
    for name in "xy":
        frame.write_parquet(folder / "many" / f"{name}.parquet")
    np.save(folder / "array.npy", np.arange(3))
    (project.parent / "outside.txt").write_text("far away")
    time.sleep(0.02)
    return folder


def test_files_that_a_script_reads_are_inputs_of_its_run(project: Path, data: Path, workspace) -> None:
    script(
        project,
        """
        import json, os, pathlib
        import numpy as np, pandas as pd, polars as pl
        for _ in range(3): open("data/plain.csv").read()
        pd.read_csv("data/pandas.csv")
        pl.read_csv("data/polars.csv")
        assert pl.scan_parquet(source="data/scanned.parquet").collect().height == 2
        assert pl.read_parquet("data/many/*.parquet").height == 4
        np.load("data/array.npy")
        os.chdir("data")
        pathlib.Path("../../outside.txt").read_text()
        """,
    )
    refs, record = read_by(workspace)
    names = [
        "plain.csv",
        "pandas.csv",
        "polars.csv",
        "scanned.parquet",
        "many/x.parquet",
        "many/y.parquet",
        "array.npy",
    ]
    paths = {f"data/{name}": data / name for name in names} | {"outside.txt": project.parent / "outside.txt"}
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items()}
    assert set(refs) == {f"file:{name}@sha256={digest}" for name, digest in digests.items()}
    assert {file.path: (file.digest, file.size_bytes) for file in record.files} == {
        name: (digest, paths[name].stat().st_size) for name, digest in digests.items()
    }
    assert (record.left_out, {file.why for file in record.files}) == (0, {""})
    script(project, "open('data/plain.csv').read()", "--no-autolog")
    assert read_by(workspace)[0] == (f"file:data/plain.csv@sha256={digests['data/plain.csv']}",)


def test_what_is_no_data_or_was_made_by_the_run_is_no_input(project: Path, data: Path, workspace) -> None:
    for name in (".env", "server.pem", "helper.py", ".cache_of_ours/x.bin"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("x = 1")
    script(
        project,
        """
        import helper, json, os, pathlib, subprocess, sys, tempfile
        import polars as pl
        for name in ("/proc/self/status", "/etc/hostname", ".env", "server.pem", ".cache_of_ours/x.bin", "train.py"):
            if os.path.exists(name): open(name).read()
        open(json.__file__.replace("__init__.py", "decoder.py")).read()
        open(os.path.join(os.path.dirname(pl.__file__), "py.typed")).read()
        open("made.txt", "w").close(); open("made.txt").read()
        open("new.txt", "w").close(); os.replace("new.txt", "moved.txt"); open("moved.txt").read()
        pl.DataFrame({"a": [1]}).write_parquet("rust.parquet"); pl.read_parquet("rust.parquet")
        subprocess.run([sys.executable, "-c", "open('child.txt', 'w').write('x')"]); open("child.txt").read()
        with open("data/plain.csv", "r+") as file: file.read()
        with tempfile.TemporaryFile() as file: file.read()
        os.listdir("."); open(os.open("data", os.O_RDONLY), closefd=False) if False else None
        import interlock
        with interlock.run("inner", machine=False) as run: run.artifact("data/array.npy")
        """,
    )
    assert read_by(workspace, 1) == ((), ReadFiles(()))


def test_a_run_of_a_script_of_ours_watches_files_when_it_is_told_to(project: Path, data: Path, workspace) -> None:
    with interlock.run("exp", machine=False, console=False):
        (data / "plain.csv").read_text()
    assert read_by(workspace) == ((), ReadFiles(()))
    with interlock.run("exp", machine=False, console=False, files=True):
        (data / "plain.csv").read_text()
        with interlock.run("inner", machine=False, console=False):
            pl.scan_csv(data / "polars.csv")
    assert read_by(workspace, 0) == ((), ReadFiles(()))
    assert [ref.partition("@")[0] for ref in read_by(workspace, 1)[0]] == [
        "file:data/plain.csv",
        "file:data/polars.csv",
    ]
    (data / "array.npy").read_bytes()
    assert opened._listeners == []


def test_a_run_names_a_file_by_its_path(project: Path, data: Path, workspace) -> None:
    with interlock.run("exp", machine=False, console=False) as run:
        (project / "settings.py").write_text("x = 1")
        run.input(project / "settings.py")
        run.input(Path("data/plain.csv"))
        run.input(Path("data/plain.csv"))
        with pytest.raises(FileNotFoundError):
            run.input(Path("nothing.csv"))
    digest = hashlib.sha256((data / "plain.csv").read_bytes()).hexdigest()
    refs, record = read_by(workspace)
    assert [ref.partition("@")[0] for ref in refs] == ["file:settings.py", "file:data/plain.csv"]
    assert record.files[1].digest == digest


@pytest.fixture
def told(tmp_path: Path):
    """Return inputs of a project whose files are as old as one likes, and what they told."""
    refs: list[str] = []
    made = Inputs(Project(tmp_path), refs.append)

    def lay(name: str, content: bytes = b"abc") -> str:
        path = tmp_path / name
        with opened.unheard():
            path.write_bytes(content)
        os.utime(path, (1_000_000_000, 1_000_000_000))
        return str(path)

    yield made, refs, lay
    made.close(10)


def test_what_is_too_much_to_digest_says_so(told, monkeypatch: pytest.MonkeyPatch) -> None:
    made, refs, lay = told
    monkeypatch.setattr(module, "MOST_OF_ONE", 3 << 20)
    monkeypatch.setattr(module, "MOST_BYTES", 5 << 20)
    made.watch()
    for name, size in (("a", 3 << 20), ("b", (3 << 20) + 1), ("c", 2 << 20), ("d", 1)):
        made.opened(lay(name, bytes(size)), written=False)
    made.close(10)
    assert [file.why for file in made.record.files] == [
        "",
        "larger than 3 MiB",
        "",
        "the run has read more than 5 MiB before",
    ]
    assert refs[1] == f"file:b@size={(3 << 20) + 1},modified=2001-09-09T01:46:40Z"


def test_there_are_so_many_files_and_no_more(told, monkeypatch: pytest.MonkeyPatch) -> None:
    made, refs, lay = told
    monkeypatch.setattr(module, "MOST_FILES", 5)
    monkeypatch.setattr(module, "MOST_NAMED", 3)
    monkeypatch.setattr(module, "_HEARD", 7)
    made.watch()
    for number in range(10):
        made.opened(lay(f"f{number}"), written=False)
    made.close(10)
    assert [file.path for file in made.record.files] == ["f0", "f1", "f2", "f3", "f4"]
    assert (made.record.left_out, len(refs)) == (5, 3)


def test_a_run_that_ends_waits_for_digests_only_so_long(told, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _, lay = told

    class Slow(io.BytesIO):
        def read(self, size: int = -1) -> bytes:
            while not made._hurry:
                time.sleep(0.01)
            return super().read(size)

        def fileno(self) -> int:
            return real

    path = lay("a")
    real = os.open(path, os.O_RDONLY)
    monkeypatch.setattr("builtins.open", lambda *args, **kwargs: Slow(b"abc"))
    made.named(Path(path))
    made.close(0.05)
    os.close(real)
    (found,) = made.record.files
    assert (found.digest, found.why, found.size_bytes) == ("", "the run ended meanwhile", 3)


def test_a_file_that_changes_while_it_is_read_has_no_digest(told, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _, lay = told
    path = lay("a")
    digest = hashlib.sha256

    def late():
        Path(path).write_bytes(b"changed")
        return digest()

    monkeypatch.setattr(module.hashlib, "sha256", late)
    made.named(Path(path))
    made.close(10)
    assert [file.why for file in made.record.files] == ["it changed meanwhile"]


def test_odd_names_and_odd_ways_to_open_harm_nobody(told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, refs, lay = told
    made.watch()
    odd, plain = lay("a\nb \udcff.csv"), os.fsencode(lay("bytes.csv"))
    handle = os.open(odd, os.O_RDONLY)
    with os.fdopen(handle, "rb") as file:
        assert file.read() == b"abc"
    os.close(os.open(plain, os.O_RDONLY))
    for wrong, error in ((tmp_path / "nothing", FileNotFoundError), (None, TypeError), (b"\0", ValueError)):
        with pytest.raises(error), open(wrong):  # noqa: PTH123 - what is tested
            pass
    monkeypatch.setattr(Inputs, "opened", lambda *args, **kwargs: 1 / 0)
    assert Path(odd).read_bytes() == b"abc"
    made.close(10)
    assert [ref.partition("@")[0] for ref in refs] == ["file:a\\nb \\udcff.csv", "file:bytes.csv"]


def test_a_child_that_was_forked_reads_as_it_likes(start, workspace, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a")
    (tmp_path / "y.csv").write_text("b")
    ran = start(
        f"""
        import os
        open({str(tmp_path / "x.csv")!r}).read()
        child = os.fork()
        if child == 0:
            open({str(tmp_path / "y.csv")!r}).read()
            from interlock.sdk.recording import opened
            os._exit(len(opened._listeners))
        assert os.waitpid(child, 0)[1] == 0
        """,
        "interlock",
        "run",
    )
    assert ran.ends()[0] == 0
    assert [ref.partition("@")[0] for ref in read_by(workspace)[0]] == ["file:x.csv"]


def test_readers_of_pyarrow_tell_what_they_read(told, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    made, refs, _ = told
    made.watch()
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "x.parquet")
    os.utime(tmp_path / "x.parquet", (1_000_000_000, 1_000_000_000))
    parquet.read_table(tmp_path / "x.parquet")
    parquet.ParquetFile(str(tmp_path / "x.parquet")).close()
    made.close(10)
    assert [ref.partition("@")[0] for ref in refs] == ["file:x.parquet"]


def test_a_file_that_another_replaced_before_it_was_digested_has_no_digest(told) -> None:
    made, refs, lay = told
    for name in ("same", "replaced", "written", "gone"):
        made.opened(lay(name, b"x" * (5 if name == "same" else 3)), written=False)
    Path(lay("other", b"yyy")).replace(lay("replaced", b"xxx"))  # as old, as large, in the same place
    lay("written", b"longer")
    Path(lay("gone", b"xxx")).unlink()
    made.watch()
    made.close(10)
    assert [(file.path, file.size_bytes, file.why, bool(file.digest)) for file in made.record.files] == [
        ("same", 5, "", True),
        ("replaced", 3, "it changed meanwhile", False),
        ("written", 3, "it changed meanwhile", False),
        ("gone", 3, "it was removed meanwhile", False),
    ]
    assert refs[1] == "file:replaced@size=3,modified=2001-09-09T01:46:40Z"


def test_a_file_that_was_not_there_is_heard_when_it_is(told) -> None:
    made, _, lay = told
    made.watch()
    made.opened(lay("late") + "r", written=False)
    made.opened(lay("later"), written=False)
    made.close(10)
    assert [file.path for file in made.record.files] == ["later"]

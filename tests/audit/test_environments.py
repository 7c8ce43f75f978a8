"""Environments that are really locked, built and tried; packages come through uv, from its cache where it has them."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import onnxruntime
import pytest

from interlock.audit.environments import probe, tool
from interlock.audit.environments.build import Lock, Trial, attempt, build, lock, read_lock
from interlock.audit.environments.tool import StepFailed, Workshop, find_uv
from interlock.audit.policy import parse_policy
from interlock.audit.service import AuditService
from interlock.core.errors import Conflict, MissingExtra, NotFound, Unavailable
from interlock.registry.records import ModelVersion
from interlock.registry.service import RegistryService
from interlock.store import Store
from interlock.store.manifests import Entry, put_entries, put_folder
from interlock.track.environment import Environment, environment
from interlock.track.records import Start
from interlock.track.service import TrackService

HERE = environment()
PYTHON = ".".join(HERE.python.split(".")[:2])
SMALL = "msgspec"  # one wheel, no dependencies, installed wherever we are
HASH = "sha256:" + "ab" * 32


@functools.cache
def unreachable() -> str:
    """Return why no package can be had here, "" where one can."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            lock(Workshop(Path(folder)), [SMALL], [f"{SMALL}=={HERE.packages[SMALL]}"], PYTHON)
        except (StepFailed, MissingExtra) as error:
            return str(error)
    return ""


@pytest.fixture
def index() -> None:
    """Skip where no index can be reached; where CI is set, this is a failure."""
    if unreachable() and not os.environ.get("CI"):
        pytest.skip(f"NO ENVIRONMENT WAS BUILT: {unreachable()}")


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture
def small(store: Store) -> Callable[..., ModelVersion]:
    """Register one opaque file, made by a run that recorded some packages."""

    def make(recorded: Environment = HERE, data: bytes = b"weights") -> ModelVersion:
        kept = store.objects.put(msgspec.json.encode(recorded))
        run = TrackService(store).start(Start("e", environment=kept))
        entry = Entry("weights.bin", len(data), store.objects.put(data))
        return RegistryService(store).register("small", run.ref, put_entries(store.objects, [entry]))

    return make


@pytest.fixture
def audit(store: Store) -> AuditService:
    return AuditService(store)


@pytest.mark.slow
@pytest.mark.usefixtures("index")
def test_a_bundle_answers_in_an_environment_of_its_own(
    store: Store, audit: AuditService, register: Callable[[], ModelVersion]
) -> None:
    version = register()
    made = audit.prepare(version.ref)
    assert (made.ok, made.reason, made.python.startswith(PYTHON)) == (True, "", True)
    assert audit.environment(version.ref) == made
    assert RegistryService(store).version(version.ref).stage == "environment prepared"
    text, log = audit.environment_text(version.ref), audit.environment_text(version.ref, "log")
    assert hashlib.sha256(text.encode()).hexdigest() == made.lock
    for name in ("onnxruntime", "numpy", "scikit-learn", "skops"):
        assert f"\n{name}=={HERE.packages[name]} \\\n    --hash=sha256:" in text
    assert text.count("==") == made.packages
    assert "interlock==" not in text
    found = json.loads(log.splitlines()[-2])
    assert found["loaded"][0] == "model.onnx"
    assert 0 <= found["difference"] < 1e-4
    audit.set_policy("happy", parse_policy({"roc_auc": ">= 0.7"}, (), "happy", "person"))
    assert audit.check(version.ref).passed
    stages = [e.data["stage"] for e in store.ledger.events(kinds=("model_version.moved",), subject=version.ref)]
    assert stages == ["registered", "environment prepared", "validated"]
    audit.prepare(version.ref, ["msgspec"])  # again, with more; what is validated stays so
    assert RegistryService(store).version(version.ref).stage == "validated"
    assert audit.environment(version.ref).packages == made.packages + 1


@pytest.mark.usefixtures("index")
def test_opaque_files_get_what_is_named_and_the_digest_is_that_of_the_list(
    store: Store, audit: AuditService, small: Callable[..., ModelVersion], capfd: pytest.CaptureFixture[str]
) -> None:
    first, second = small(), small(data=b"others")
    made = audit.prepare(first.ref, [SMALL])
    assert audit.prepare(second.ref, [SMALL]).lock == made.lock
    told = capfd.readouterr().err.splitlines()
    assert told[0] == f"locking {SMALL} and what they need, for Python {PYTHON}"
    assert made.packages == 1
    RegistryService(store).rename("small", "tiny")
    assert audit.environment("tiny@1").lock == made.lock
    RegistryService(store).gc(apply=True)
    assert f"{SMALL}==" in audit.environment_text("tiny@1")


@pytest.mark.usefixtures("index")
def test_what_mlflow_lists_beside_a_model_is_enough(store: Store, audit: AuditService) -> None:
    """A version that a client of MLflow logged: its run recorded nothing, its files say what they need."""
    files = {
        "requirements.txt": f"{SMALL}=={HERE.packages[SMALL]}\n".encode(),
        "python_env.yaml": f"python: {HERE.python}\ndependencies:\n- -r requirements.txt\n".encode(),
    }
    entries = [Entry(path, len(data), store.objects.put(data)) for path, data in files.items()]
    version = RegistryService(store).register("logged", "", put_entries(store.objects, entries))
    made = audit.prepare(version.ref, [SMALL])
    assert (made.ok, made.packages) == (True, 1)
    assert RegistryService(store).version(version.ref).stage == "environment prepared"


@pytest.mark.usefixtures("index")
def test_a_release_that_no_index_has_is_told_and_moves_nothing(
    store: Store, audit: AuditService, small: Callable[..., ModelVersion]
) -> None:
    packages = HERE.packages | {SMALL: "0.0.0.post99"}
    version = small(msgspec.structs.replace(HERE, packages=packages))
    with pytest.raises(Unavailable, match=r"Locking failed: [\s\S]*msgspec") as caught:
        audit.prepare(version.ref, [SMALL])
    assert f"environment-text {version.ref} log" in caught.value.hint
    found = audit.environment(version.ref)
    assert (found.ok, found.lock, found.packages) == (False, "", 0)
    assert "Locking failed" in found.reason
    assert "uv pip compile" in audit.environment_text(version.ref, "log")
    with pytest.raises(NotFound, match="Nothing could be locked"):
        audit.environment_text(version.ref)
    assert RegistryService(store).version(version.ref).stage == "registered"
    assert audit.prepare(small().ref, [SMALL]).ok


@pytest.mark.usefixtures("index")
def test_a_file_with_another_hash_is_not_installed(shop: Workshop) -> None:
    made = Lock((f"{SMALL}=={HERE.packages[SMALL]}",), f"{SMALL}=={HERE.packages[SMALL]} \\\n    --hash={HASH}\n")
    with pytest.raises(StepFailed, match="Installing failed"):
        build(shop, made, PYTHON)
    assert not list(shop.folder.glob("venv/lib/python*/site-packages/msgspec"))


@pytest.fixture
def built(shop: Workshop) -> Workshop:
    """An environment with one small package."""
    made = lock(shop, [SMALL], [f"{SMALL}=={HERE.packages[SMALL]}"], PYTHON)
    assert build(shop, made, PYTHON).startswith(PYTHON)
    return shop


@pytest.mark.usefixtures("index")
def test_the_environment_is_apart_from_ours(built: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_SECRET", "x")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["src"]))
    attempt(built, Trial((SMALL,), []))
    assert '"msgspec": ["msgspec"]' in built.log
    code = "import os; print(sorted(name for name in os.environ if name != 'LC_CTYPE'))"
    assert built.python("Asking", "-c", code, timeout_s=60).strip() == "['HOME', 'LANG', 'PATH', 'TMPDIR']"
    with pytest.raises(StepFailed, match="No module named 'interlock'"):
        built.python("Asking", "-c", "import interlock", timeout_s=60)
    with pytest.raises(StepFailed, match=r"Trying it failed[\s\S]*No module named .onnxruntime"):
        attempt(built, Trial((SMALL,), [{"path": "m", "format": "onnx", "file": "model-0.onnx"}]))
    with pytest.raises(StepFailed, match="no answer in 0.2 s"):
        built.python("Waiting", "-c", "import time; time.sleep(60)", timeout_s=0.2)  # type: ignore[arg-type]


def test_the_probe_asks_for_the_very_answers(tmp_path: Path, bundle_folder: Path) -> None:
    """The probe is plain Python: here it runs with the packages of this environment."""
    import numpy as np

    session = onnxruntime.InferenceSession(str(bundle_folder / "model.onnx"))
    rows = [[20.0, 30.0], [60.0, 30.0]]
    feed = session.get_inputs()[0].name
    right = session.run(None, {feed: np.array(rows, np.float32)})[1][:, -1].tolist()
    (tmp_path / "m.onnx").write_bytes((bundle_folder / "model.onnx").read_bytes())

    def tried(scores: list[float]) -> subprocess.CompletedProcess[str]:
        golden = {"feeds": {feed: {"dtype": "float32", "values": rows}}, "tolerance": 1e-4, "scores": scores}
        file = {"path": "model.onnx", "format": "onnx", "file": "m.onnx", "golden": golden}
        (tmp_path / "probe.json").write_text(json.dumps({"import": ["numpy"], "load": [file]}))
        command = [sys.executable, "-I", "-B", probe.__file__, "probe.json"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    good = tried(right)
    assert json.loads(good.stdout) == {"imported": {"numpy": ["numpy"]}, "loaded": ["model.onnx"], "difference": 0.0}
    bad = tried([right[0], right[1] + 0.001])
    assert (bad.returncode, "0.001, 0.0001 is allowed" in bad.stderr) == (1, True)
    assert tried([float("nan"), right[1]]).returncode == 1
    assert tried(right[:1]).returncode == 1


@pytest.mark.slow
@pytest.mark.usefixtures("index")
def test_a_version_that_answers_otherwise_there_stays_where_it_is(
    store: Store, audit: AuditService, bundle_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(bundle_folder, tmp_path / "bundle")
    golden = json.loads((tmp_path / "bundle/golden.json").read_text())
    golden["scores"][0] += 0.01
    (tmp_path / "bundle/golden.json").write_text(json.dumps(golden))
    kept = store.objects.put(msgspec.json.encode(HERE))
    run = TrackService(store).start(Start("e", environment=kept))
    version = RegistryService(store).register("m", run.ref, put_folder(store.objects, tmp_path / "bundle"))
    with pytest.raises(Conflict, match="golden requests differently"):
        audit.prepare(version.ref)
    found = audit.environment(version.ref)
    assert (found.ok, "numpy==" in audit.environment_text(version.ref)) == (False, True)
    assert RegistryService(store).version(version.ref).stage == "registered"
    assert store.ledger.verify().ok


def test_what_cannot_be_prepared_says_why_and_leaves_no_trace(
    store: Store, audit: AuditService, small: Callable[..., ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    version = small()
    before = store.ledger.size()
    with pytest.raises(NotFound, match="No environment was prepared"):
        audit.environment(version.ref)
    with pytest.raises(Conflict, match="opaque"):
        audit.prepare(version.ref)
    run = TrackService(store).start(Start("e"))
    entry = Entry("w.bin", 1, store.objects.put(b"w"))
    bare = RegistryService(store).register("bare", run.ref, put_entries(store.objects, [entry]))
    with pytest.raises(Conflict, match="what it was made with"):
        audit.prepare(bare.ref, [SMALL])
    monkeypatch.setattr(tool.shutil, "which", lambda name: None)
    monkeypatch.setattr(tool.sys, "executable", str(store.root / "python"))
    with pytest.raises(MissingExtra, match="uv") as caught:
        audit.prepare(version.ref, [SMALL])
    assert "interlock[environments]" in caught.value.hint
    kinds = {event.kind for event in store.ledger.events(after=before - 1)}
    assert not {kind for kind in kinds if kind.startswith("environment.")}


def test_a_lock_is_packages_with_hashes_and_nothing_else() -> None:
    other = "sha256:" + "0" * 64
    text = f"b==1.0 \\\n    --hash={HASH} \\\n    --hash={other}\na-x==2 \\\n    --hash={HASH}\n"
    made = read_lock(text, "3.12")
    assert made.packages == ("a-x==2", "b==1.0")
    assert made.text.splitlines()[1:] == [
        "a-x==2 \\",
        f"    --hash={HASH}",
        "b==1.0 \\",
        f"    --hash={other} \\",
        f"    --hash={HASH}",
    ]
    assert read_lock(made.text.partition("\n")[2], "3.12") == made
    for wrong in ("", "b==1.0\n", f"--index-url x\n{text}", f"-e .\n{text}", f"c @ file:///c.whl\n{text}"):
        with pytest.raises(StepFailed, match="no packages with hashes"):
            read_lock(wrong, "3.12")


def test_uv_is_found_beside_this_python_or_on_the_path() -> None:
    assert Path(find_uv()).name == "uv"

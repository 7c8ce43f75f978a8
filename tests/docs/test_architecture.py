"""ARCHITECTURE.md says of floors, files, commands and routes what the code says."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from interlock.bridges.webhooks import Reach, Sender
from interlock.bridges.webhooks.sealing import seal
from interlock.core.events import KINDS
from interlock.core.ids import new_id
from interlock.core.plugins import GROUPS
from interlock.registry.openssf import workspace_key
from interlock.sdk.recording.spool import Spool
from interlock.store import create_store
from interlock.store.holder import ServerLock
from interlock.store.keyfile import secret_key
from interlock.store.parts import Parts, Plan
from interlock.store.predictions import Prediction, PredictionWriter
from interlock.train.private import Seal

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
PAGES = ["ARCHITECTURE.md", "docs/how-to-add-a-block.md", "docs/reference/toml.md", "docs/reference/commands.md"]


def spans(text: str) -> list[str]:
    """Return what stands in code inside sentences."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


def table(heading: str) -> list[str]:
    """Return what stands in code in the first cells of the table under a heading."""
    part = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([^`]+)`", part, re.MULTILINE)


def test_floors_are_those_that_imports_are_held_to() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    assert table("The floors") == [room.strip() for layer in layers for room in layer.split("|")]


def test_every_room_is_there() -> None:
    rooms = {path.parent.name for path in (ROOT / "src/interlock").glob("*/__init__.py")}
    assert set(table("The floors")) == rooms


def test_every_file_that_is_named_exists() -> None:
    named = {s for s in spans(PAGE) if re.fullmatch(r"[\w/]+\.(py|sql|toml)", s) and "NNNN" not in s}
    assert len(named) > 20
    places = [ROOT / "src/interlock", ROOT]
    assert sorted(s for s in named if "/" in s and not any((place / s).exists() for place in places)) == []


def test_the_folder_is_laid_out_as_it_says(tmp_path: Path) -> None:
    """Every file of a workspace in which something happened has its row."""
    store = create_store(tmp_path / ".interlock")
    store.objects.put(b"x")
    store.database.write(lambda tx: store.ledger.append(tx, "experiment.created", "experiment:1", {"name": "a"}))
    store.ledger.checkpoint()
    Seal(store.root / "keys" / "values.key")
    PredictionWriter(store.predictions.folder).append([prediction()]).result(10)
    lock = ServerLock(store.root, store.clock.now())
    seal(store, "1", "secret")
    secret_key(store.root / "keys" / "urls.key")
    workspace_key(store.root / "keys")
    with Sender(store, Reach())._locked():
        pass
    Parts(store.uploads.root, store.objects).begin(Plan("run:1/a", 1, 1))
    Spool(str(tmp_path)).let_go()
    files = {path.relative_to(store.root).as_posix() for path in store.root.rglob("*") if path.is_file()}
    lock.release()
    store.close()
    part = PAGE.partition("\n## Where things are kept\n")[2].partition("\n## ")[0]
    rows = [spans(line.split("|")[1]) for line in part.splitlines() if line.startswith("| `")]
    named = {row[0] for row in rows} | {row[0].rpartition(".")[0] + ending for row in rows for ending in row[1:]}
    found = {
        re.sub(r"^objects/.*", "objects/ab/cdef...", re.sub(r"ns/[0-9A-Z]{26}\.", "ns/ULID.", file)) for file in files
    }
    folders = {r"^uploads/parts-.*": "uploads/parts-*", r"^outbox/[0-9A-Z]{26}/.*": "outbox/WRITER/"}
    for pattern, shown in folders.items():
        found = {re.sub(pattern, shown, file) for file in found}
    found -= {"interlock.db-wal", "interlock.db-shm", "predictions/house.lock"}  # which are named in sentences
    assert found <= named
    assert named - found == {"logs/RUN.log", "replicas/*.log", "uploads/CALL/"}
    assert {"house.lock", "-wal", "-shm"} <= set(spans(part))


def prediction() -> Prediction:
    """Return some prediction."""
    return Prediction(
        id=new_id(),
        at=1,
        occurred_at=1,
        deployment="d",
        model="model:m@1",
        bundle="0" * 64,
        revision=1,
        request_id="r",
        row=0,
        subject="",
        inputs={"x": 1},
        score=0.5,
        label=0,
        route="champion",
    )


def test_events_groups_and_headers_exist() -> None:
    dotted = {s for s in spans(PAGE) if re.fullmatch(r"[a-z_]+\.[a-z_]+", s)}
    assert {s for s in dotted if s.partition(".")[0] in {kind.partition(".")[0] for kind in KINDS}} <= set(KINDS)
    assert {s for s in dotted if s.startswith("interlock.") and not s.endswith((".db", ".lock"))} <= set(GROUPS)
    code = "".join(path.read_text("utf-8") for path in (ROOT / "src/interlock/serve").glob("*.py"))
    for header in ("interlock-model", "interlock-revision"):
        assert f"`{header}`" in PAGE
        assert f'b"{header}"' in code


def test_the_gate_is_the_one_that_is_tested() -> None:
    """tests/docs/test_block_examples.py runs the blocks of the other page."""
    other = (ROOT / "docs/how-to-add-a-block.md").read_text("utf-8")
    blocks = re.findall(r"^```(?:python|toml)\n.*?^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    assert [block for block in blocks if block not in other] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_command_exists(page: str, command: Callable[[str], None]) -> None:
    words = re.compile(r"interlock (?![A-Z])[a-z].*")
    lines = sorted({s for s in spans((ROOT / page).read_text("utf-8")) if words.fullmatch(s)})
    assert lines
    for line in lines:
        command(line)

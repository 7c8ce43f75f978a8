"""The blocks of docs/how-to-add-a-block.md are installed as a package, and each does what the page says."""

from __future__ import annotations

import importlib
import json
import re
import sys
import tomllib
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from interlock.audit.policy import parse_policy
from interlock.audit.service import AuditService
from interlock.core.errors import Invalid, Unavailable
from interlock.core.files import StoredFile
from interlock.core.plugins import GROUPS, load, plugins
from interlock.data.service import DataService
from interlock.loop.jobs import Jobs
from interlock.loop.project import About, Project, parse_project
from interlock.loop.turn import take_turn
from interlock.registry.flavors.build import build_bundle
from interlock.registry.service import ModelVersion, RegistryService
from interlock.serve.preflight import preflight
from interlock.store import Store
from interlock.store.manifests import put_folder

Register = Callable[[], ModelVersion]
PAGE = Path(__file__).parents[2] / "docs" / "how-to-add-a-block.md"
PACKAGE = "ourblocks"
SRC = Path(__file__).parents[2] / "src"


def blocks(language: str) -> list[str]:
    """Return the page's code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def files() -> dict[str, str]:
    """Return the files of the examples' package by their path; the first line of a block names it."""
    named = [(re.match(r"# (\S+\.py)\n", block), block) for block in blocks("python")]
    return {match[1]: block for match, block in named if match}


def entry_points() -> dict[str, dict[str, str]]:
    """Return what the examples say in pyproject.toml: names and objects by group."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for block in blocks("toml"):
        for group, rows in tomllib.loads(block)["project"]["entry-points"].items():
            found[group].update(rows)
    return found


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The examples, installed: their folder is on sys.path, with the record that pip would write."""
    folder = tmp_path_factory.mktemp("site")
    for path, text in {f"{PACKAGE}/__init__.py": "", **files()}.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text, "utf-8")
    info = folder / f"{PACKAGE}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.0\n")
    lines = [
        f"[{group}]\n" + "".join(f"{n} = {v}\n" for n, v in rows.items()) for group, rows in entry_points().items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    sys.path.append(str(folder))
    importlib.invalidate_caches()
    yield folder
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]
    importlib.invalidate_caches()


def module(package: Path, name: str) -> ModuleType:
    """Return one of the examples' modules, and be sure that it is this page's."""
    found = importlib.import_module(f"{PACKAGE}.{name}")
    assert found.__file__
    assert Path(found.__file__).is_relative_to(package)
    return found


def ask(url: str, body: object) -> tuple[int, dict[str, Any]]:
    """Return status and JSON of a POST."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def run_snippet(mark: str, **names: object) -> None:
    """Run the one block that is no file and holds a mark."""
    loose = [block for block in blocks("python") if not re.match(r"# \S+\.py\n", block)]
    (snippet,) = [block for block in loose if mark in block]
    exec(compile(snippet, str(PAGE), "exec"), dict(names))


def test_there_is_an_example_for_every_group() -> None:
    assert set(entry_points()) == set(GROUPS)
    headings = re.findall(r"^## .*\(`(interlock\.\w+)`\)$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted(GROUPS)


def test_every_file_is_named_by_an_entry_point() -> None:
    objects = [value.partition(":")[0] for rows in entry_points().values() for value in rows.values()]
    assert sorted(objects) == sorted(path.removesuffix(".py").replace("/", ".") for path in files())


def test_they_are_listed_and_load(package: Path) -> None:
    mine = [plugin for plugin in plugins() if plugin.distribution == PACKAGE]
    assert {(p.group, p.name, p.value) for p in mine} == {
        (group, name, value) for group, rows in entry_points().items() for name, value in rows.items()
    }
    assert [plugin.error for plugin in mine if plugin.error] == []


def test_blocks_and_entry_points_go_by_one_name(package: Path) -> None:
    for group, rows in entry_points().items():
        for name in rows:
            block = load(group, name)
            assert getattr(block, "name", getattr(block, "__name__", "")) == name


def test_the_gate_judges_every_version(package: Path, store: Store, register: Register) -> None:
    audit, registry = AuditService(store), RegistryService(store)
    audit.set_policy("happy", parse_policy({"roc_auc": ">= 0.7"}, (), "happy", "person"))
    report = audit.check(register().ref)
    mine = next(result for result in report.results if result.gate == "enough_rows")
    assert (mine.status, mine.facts) == ("passed", {"rows": 1000})

    module(package, "enough_rows").LEAST = 1001
    try:
        version = register()
        assert not audit.check(version.ref).passed
    finally:
        module(package, "enough_rows").LEAST = 500
    found = registry.version(version.ref)
    assert found.stage == "development"
    assert "There are 1000 held-out rows; 1001 are wanted." in found.stage_reason
    audit.waive(version.ref, "enough_rows", "a pilot", "2999-01-01")  # it can be waived by its name


def test_the_format_is_ingested(package: Path, store: Store, tmp_path: Path) -> None:
    rows = pl.DataFrame({"person": ["a", "b"], "age": [31, 42], "income": [1.5, None]})
    path = tmp_path / "people.jsonl"
    rows.write_ndjson(path)
    data = DataService(store)
    version = data.ingest("people", [StoredFile(path.name, store.objects.put(path), path.stat().st_size)])
    assert data.frame(version.ref).equals(rows)
    run_snippet("check_data_format")
    broken = StoredFile("people.jsonl", store.objects.put(b'{"person": '), 11)
    with pytest.raises(Invalid, match=r"people\.jsonl cannot be read as json_lines"):
        data.ingest("people", [broken])


def test_the_flavor_makes_a_bundle_that_serves(
    package: Path, store: Store, people: pl.DataFrame, tmp_path: Path
) -> None:
    card = module(package, "score_card").ScoreCard({"income": 0.1, "age": 0.125}, base=-8.0)
    bundle = build_bundle(
        card, inputs=people.select("age", "income"), target="happy", evaluation=people, folder=tmp_path / "bundle"
    )
    assert (bundle.flavor, [column.name for column in bundle.inputs]) == ("score_card", ["income", "age"])
    assert bundle.agreement.rows > people.height
    assert json.loads((tmp_path / "bundle" / "card.json").read_text())["base"] == -8.0
    found = preflight(store.objects, put_folder(store.objects, tmp_path / "bundle"))
    assert found.ok, found.findings


@pytest.mark.slow
def test_the_target_starts_a_server_that_speaks_the_protocol(
    package: Path, store: Store, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{SRC}:{package}")  # the server is another process
    version = register()
    spec = {"name": "happy", "revision": 1, "routes": [{"model": version.ref, "bundle": version.bundle, "weight": 1.0}]}
    values = {"spec": store.objects.put(json.dumps(spec).encode())}
    store.database.write(
        lambda tx: tx.run(
            "INSERT INTO deployments (name, revision, spec, state, url, changed_at)"
            " VALUES ('happy', 1, :spec, 'serving', '', 0)",
            values,
        )
    )
    target = load("interlock.target", "roomy")(store.root, store.clock)
    replica = target.start("happy", 60.0)
    try:
        assert target.alive(replica)
        assert target.status(replica)["ready"]
        status, answer = ask(f"{replica.url}/score", {"age": 40, "income": 30.5})
        assert (status, set(answer)) == (200, {"prediction", "score"})
        logged = store.predictions.get(answer["prediction"])
        assert (logged.inputs, logged.score) == ({"age": 40, "income": 30.5}, answer["score"])
        status, answer = ask(f"{replica.url}/score", {"age": "old", "income": 30.5})
        assert (status, list(answer)) == (400, ["error"])
        status, answer = ask(f"{replica.url}/score", [])
        assert (status, list(answer)) == (400, ["error"])
    finally:
        target.stop(replica)
    assert not target.alive(replica)
    target.least_bytes = 2**62
    with pytest.raises(Unavailable, match="bytes left"):
        target.start("happy", 60.0)


def test_the_action_is_run_by_the_loop(package: Path, store: Store) -> None:
    run_the_pages_snippet(store)
    project = Project(About("blocks"))
    turn = take_turn(store, project, datetime(2026, 1, 1, tzinfo=UTC))
    assert [text for text in turn.jobs if "write_down people: done" in text] == list(turn.jobs)
    path = store.project / "events.txt"
    first = path.read_text()
    assert first.startswith("event:0 ")
    run_the_pages_snippet(store)
    take_turn(store, project, datetime(2026, 1, 1, tzinfo=UTC))
    assert path.read_text() == first, "it ran a second time and wrote a second line"


def run_the_pages_snippet(store: Store) -> None:
    """Queue a job as the page shows it; event 0 is the experiment that is made for it."""
    from interlock.track.records import Start
    from interlock.track.service import TrackService

    if not store.ledger.size():
        TrackService(store).start(Start("blocks"))
    run_snippet("Jobs(store)", store=store)
    assert Jobs(store).jobs()[0].kind == "write_down"


# What the page says is not possible yet. When one of these goes red, the page has to be mended.


def test_limit_a_verb_of_yours_is_refused_in_the_project_file() -> None:
    text = '[project]\nname = "x"\n[data.people]\n[[when]]\nevent = "data:people new"\ndo = "write_down people"\n'
    with pytest.raises(Invalid, match="'write_down' can not be done"):
        parse_project(text)


def test_limit_a_gate_of_yours_has_no_key_in_the_policy() -> None:
    with pytest.raises(Invalid, match="no gate of this name"):
        parse_policy({"enough_rows": ">= 500"})


def test_limit_deployments_do_not_look_for_targets() -> None:
    text = (SRC / "interlock" / "deploy" / "service.py").read_text("utf-8")
    assert "ProcessTarget(" in text
    assert "interlock.target" not in text

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.audit.service import AuditService
from interlock.core.errors import Error, Invalid, NotFound
from interlock.data.service import DataService
from interlock.loop.service import LoopService
from interlock.monitor.service import MonitorService
from interlock.store import Store, create_store

EXAMPLE = Path(__file__).parents[2] / "examples" / "employment"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Store]:
    folder = tmp_path / "employment"
    (folder / "data").mkdir(parents=True)
    for name in ("interlock.toml", "pipeline.py", "data/employment-2015.parquet"):
        shutil.copy(EXAMPLE / name, folder / name)
    store = create_store(folder / ".interlock")
    yield store
    store.close()


def edit(store: Store, old: str, new: str) -> None:
    path = store.project / "interlock.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_the_plan_says_what_apply_does_and_again_is_nothing(project: Store) -> None:
    loop = LoopService(project)
    planned = loop.plan()
    assert {(c.what, c.action) for c in planned} == {
        ("data:people", "create"),
        ("data:people@1", "create"),
        ("model:employment", "create"),
        ("monitor:employment", "create"),
    }
    assert project.ledger.size() == 0
    assert loop.apply() == planned
    size = project.ledger.size()
    assert {c.action for c in loop.plan()} == {"none"}
    loop.apply()
    assert project.ledger.size() == size


def test_an_edit_changes_only_what_it_is_about(project: Store) -> None:
    loop = LoopService(project)
    loop.apply()
    edit(project, 'roc_auc = ">= 0.75"', 'roc_auc = ">= 0.8"')
    assert [c.what for c in loop.plan() if c.action != "none"] == ["model:employment"]
    before = project.ledger.size()
    loop.apply()
    kinds = [e.kind for e in project.ledger.events(after=before - 1)]
    assert kinds == ["policy.set", "project.applied"]


def test_a_wider_contract_lets_new_rows_in(project: Store) -> None:
    loop = LoopService(project)
    edit(project, "AGEP = { range = [0, 120] }", "AGEP = { range = [0, 50] }")
    with pytest.raises(Invalid, match="AGEP|contract"):
        loop.apply()
    edit(project, "AGEP = { range = [0, 50] }", "AGEP = { range = [0, 120] }")
    loop.apply()
    assert DataService(project).show("people").versions == 1


@pytest.mark.parametrize("source", ["../secret.parquet", "/etc/passwd", "data/nothing-*.parquet"])
def test_a_source_outside_the_project_or_missing_is_refused(project: Store, source: str) -> None:
    edit(project, "data/employment-2015.parquet", source)
    with pytest.raises((Invalid, NotFound)) as caught:
        LoopService(project).apply()
    assert source in str(caught.value)


def test_a_link_that_leaves_the_project_is_refused(project: Store) -> None:
    path = project.project / "data" / "employment-2015.parquet"
    path.unlink()
    path.symlink_to(EXAMPLE / "data" / "employment-2015.parquet")
    with pytest.raises(Invalid, match="link"):
        LoopService(project).apply()


def test_a_turn_needs_an_applied_project_and_an_instant(project: Store) -> None:
    loop = LoopService(project)
    with pytest.raises(NotFound, match="interlock apply"):
        loop.turn()
    loop.apply()
    with pytest.raises(Invalid, match="no instant"):
        loop.turn("tomorrow")
    assert loop.turn("2016-01-01").jobs == ()


def test_the_turn_follows_what_was_applied_not_what_was_edited_since(project: Store) -> None:
    loop = LoopService(project)
    loop.apply()
    edit(project, "[project]", "[projct]")
    assert loop.turn("2016-01-01").windows == ()
    with pytest.raises(Error):
        loop.apply()


def test_why_and_status_of_what_is_not_there(project: Store) -> None:
    loop = LoopService(project)
    assert loop.status().datasets == ()
    with pytest.raises(NotFound):
        loop.why("prediction:01ARZ3NDEKTSV4RRFFQ69G5FAV")
    with pytest.raises(NotFound):
        loop.why("model:employment@1")
    with pytest.raises(Invalid, match="neither"):
        loop.why("job:01")


def test_gates_and_monitors_are_about_their_own_models_data(project: Store) -> None:
    path = project.project / "interlock.toml"
    text = path.read_text().replace('headline = "roc_auc"', 'data = "people"')
    text += '\n[data.loans]\nid = "loan"\ntarget = "defaulted"\nsensitive = ["sex"]\n[model.risk]\npipeline = "train"\n'
    text += 'data = "loans"\n[model.risk.gates]\nroc_auc = ">= 0.6"\n'
    text += '[deployment.risk]\nmodel = "risk@champion"\n[monitor.risk]\n'
    path.write_text(text)
    LoopService(project).apply()
    audit, monitor = AuditService(project), MonitorService(project)
    risk, employment = audit.policy("risk"), audit.policy("employment")
    assert (risk.id, risk.target, risk.sensitive) == ("loan", "defaulted", ("sex",))
    assert (employment.id, employment.target, employment.sensitive) == ("person", "employed", ("SEX", "RAC1P"))
    plans = {name: monitor.plan_of(name) for name in ("risk", "employment")}
    assert {name: (plan.id, plan.target) for name, plan in plans.items() if plan} == {
        "risk": ("loan", "defaulted"),
        "employment": ("person", "employed"),
    }


SMALL = """
[project]
name = "small"

[data.people]
source = "people.csv"
id = "person"
target = "happy"
sensitive = ["sex"]

[pipeline.train]
entry = "pipeline:train"

[model.happy]
pipeline = "train"

[model.happy.gates]
"selection_rate_ratio[sex]" = ">= 0.8"

[deployment.happy]
model = "happy@champion"
"""
PEOPLE = "person,tenure,region,sex,happy\n1,3,north,1,1\n2,40,south,2,0\n"
OTHERS = "person,tenure,region,sex,happy\n3,4,south,1,0\n4,39,north,2,1\n"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Store]:
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "interlock.toml").write_text(SMALL)
    (folder / "people.csv").write_text(PEOPLE)
    store = create_store(folder / ".interlock")
    yield store
    store.close()


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ('target = "happy"', 'target = "hapy"', 8, "did you mean 'happy'"),
        ('target = "happy"', 'target = "region"', 8, "'north', 'south'"),
        ('sensitive = ["sex"]', 'sensitive = ["gender"]', 9, "'gender'"),
        ('sensitive = ["sex"]', "[data.people.columns]\ntenur = { range = [0, 1] }", 10, "did you mean 'tenure'"),
        ('sensitive = ["sex"]', '[data.people.columns]\ntenure = { codes = ["a"] }', 10, "holds integer"),
        ('sensitive = ["sex"]', "[data.people.columns]\nregion = { range = [0, 120] }", 10, "holds category"),
        ("selection_rate_ratio[sex]", "selection_rate_ratio[sx]", 18, "no column 'sx'. Did you mean 'sex'"),
    ],
)
def test_the_plan_refuses_what_apply_refuses_with_its_line_and_nothing_is_stored(
    small: Store, old: str, new: str, line: int, words: str
) -> None:
    loop = LoopService(small)
    edit(small, old, new)
    for ask in (loop.plan, loop.apply):
        with pytest.raises(Invalid) as caught:
            ask()
        told = " ".join([str(caught.value), *(found.message for found in caught.value.findings)])
        assert f"line {line}" in told
        assert words in told
        assert (small.ledger.size(), loop.status().datasets) == (0, ())


def test_the_plan_refuses_rows_that_break_the_contract(small: Store) -> None:
    loop = LoopService(small)
    loop.apply()
    edit(small, "[pipeline.train]", '[data.other]\nsource = "other.csv"\n[pipeline.train]')
    edit(small, 'pipeline = "train"', 'pipeline = "train"\ndata = "people"')
    (small.project / "other.csv").write_text("a\n1\n")
    (small.project / "people.csv").write_text(PEOPLE.replace("40", "400"))
    size = small.ledger.size()
    for ask in (loop.plan, loop.apply):
        with pytest.raises(Invalid, match="break the contract"):
            ask()
    assert small.ledger.size() == size, "nothing is done while something is refused"


def test_an_edit_that_is_taken_back_is_gone(small: Store) -> None:
    loop, data = LoopService(small), DataService(small)
    loop.apply()
    inferred = data.contract("people")
    edit(small, "[pipeline.train]", "[data.people.columns]\ntenure = { range = [0, 1] }\n[pipeline.train]")
    loop.apply()
    assert data.contract("people") != inferred
    edit(small, "[data.people.columns]\ntenure = { range = [0, 1] }\n", "")
    assert [(c.what, c.action) for c in loop.plan() if c.action != "none"] == [("data:people", "update")]
    loop.apply()
    assert data.contract("people") == inferred
    assert {c.action for c in loop.plan()} == {"none"}


def test_an_earlier_source_that_is_put_back_is_a_new_version(small: Store) -> None:
    loop, data = LoopService(small), DataService(small)
    edit(small, "[pipeline.train]", "[data.people.columns]\ntenure = { range = [0, 99] }\n[pipeline.train]")
    for text, version in ((PEOPLE, 1), (OTHERS, 2), (PEOPLE, 3)):
        (small.project / "people.csv").write_text(text)
        assert ("create", f"data:people@{version}") in [(c.action, c.what) for c in loop.plan()]
        loop.apply()
        assert {c.action for c in loop.plan()} == {"none"}
    assert [v.rows for v in data.versions("people")] == [2, 2, 2]
    assert data.version("people@1").digest == data.version("people@3").digest


def test_what_the_loop_joined_is_no_reason_to_bring_the_source_again(small: Store) -> None:
    loop, data = LoopService(small), DataService(small)
    loop.apply()
    data.add("people", data.frame("people@1").head(1), parents=("data:people@1", "monitor:happy"))
    assert {(c.what, c.action) for c in loop.plan()} >= {("data:people@2", "none")}
    assert "create" not in {c.action for c in loop.plan()}


def test_the_plan_says_what_new_gates_take_away(project: Store) -> None:
    loop = LoopService(project)
    loop.apply()
    edit(project, 'roc_auc = ">= 0.75"', 'roc_auc = ">= 0.6"')
    change = next(change for change in loop.plan() if change.what == "model:employment")
    assert change.detail.endswith(". Takes away: roc_auc was bounded by >= 0.75, now by 0.6.")
    assert change in loop.apply()

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

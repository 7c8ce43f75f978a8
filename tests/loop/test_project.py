from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.bundles import Serving
from interlock.core.errors import Invalid, NotFound
from interlock.loop.project import parse_project, read_project
from interlock.loop.toml_lines import line_of

EXAMPLE = (Path(__file__).parents[2] / "examples" / "employment" / "interlock.toml").read_text("utf-8")


def test_the_example_is_read() -> None:
    project = parse_project(EXAMPLE)
    assert project.data["people"].sensitive == ("SEX", "RAC1P")
    assert project.deployment["employment"].rollout.share == pytest.approx(0.1)
    assert [when.do for when in project.when] == ["retrain train", "approve employment", "deploy employment"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('target = "employed"', 'taget = "employed"', ["data.people.taget", "'target'"]),
        ('name = "employment"', "name = 5", ["project.name", "`str`"]),
        ("[project]", "[projekt]", ["projekt", "'project'"]),
        ('pipeline = "train"', 'pipeline = "trian"', ["model.employment.pipeline", "'train'"]),
        ('roc_auc = ">= 0.75"', 'roc_acu = ">= 0.75"', ["gates.roc_acu", "'roc_auc'"]),
        ('roc_auc = ">= 0.75"', 'roc_auc = "0.75"', ["gates.roc_auc"]),
        ('canary = "10%"', 'canary = "ten"', ["rollout", "'10%'"]),
        ('watch = "1 month"', 'watch = "soon"', ["rollout", "no period"]),
        ('watch = "1 month"', 'wach = "1 month"', ["wach", "'watch'"]),
        ('window = "1 month"', 'window = "1 moon"', ["monitor.employment.window"]),
        ("false_alarms = 0.01", "false_alarms = 1.5", ["false_alarms"]),
        ("[monitor.employment]", "[monitor.emplyment]", ["monitor.emplyment", "'employment'"]),
        ("monitor:employment alarm", "monitor:employment alert", ["when.0.event", "alarm"]),
        ("monitor:employment alarm", "monitor:employmnt alarm", ["when.0.event", "'employment'"]),
        ("retrain train", "retrian train", ["when.0.do", "'retrain'"]),
        ("deploy employment", "deploy employ", ["when.2.do", "'employment'"]),
        ("AGEP = { range = [0, 120] }", "AGEP = { rnge = [0, 120] }", ["AGEP.rnge", "'range'"]),
        ('model = "employment@champion"', 'model = "emplyoment@champion"', ["deployment.employment.model"]),
        ('approve = "better than champion"', 'approve = "always"', ["approve", "better than champion"]),
        ('headline = "roc_auc"', 'headline = "roc_acu"', ["model.employment.headline", "'roc_auc'"]),
        ('metric = "roc_auc"', 'metric = "accuracy"', ["monitor.employment.quality.metric", "'roc_auc'"]),
        ("at_least = 0.73", "at_least = nan", ["monitor.employment.quality.at_least", "0 to 1"]),
        ('name = "employment"', 'name = "a/b"', ["project.name", "'a/b'"]),
        ("[data.people]", '[data."peo/ple"]', ["data.peo/ple", "cannot be the name"]),
        ('entry = "pipeline:train"', 'entry = "pipeline"', ["pipeline.train.entry", "'pipeline:train'"]),
        ("AGEP = { range = [0, 120] }", "AGEP = { range = [120, 0] }", ["columns.AGEP.range", "smallest"]),
        ('headline = "roc_auc"', 'data = "peple"', ["model.employment.data", "'people'"]),
    ],
)
def test_a_fault_is_told_with_line_key_and_the_nearest_valid_name(old: str, new: str, words: list[str]) -> None:
    assert old in EXAMPLE
    text = EXAMPLE.replace(old, new, 1)
    line = next(n for n, row in enumerate(text.splitlines(), 1) if new in row)
    with pytest.raises(Invalid) as caught:
        parse_project(text)
    told = str(caught.value)
    assert all(word in told for word in words), told
    assert f"line {line}," in told, told


def test_what_is_missing_is_named() -> None:
    with pytest.raises(Invalid, match="'entry' is missing in pipeline.train"):
        parse_project('[project]\nname = "a"\n[pipeline.train]\n')
    with pytest.raises(Invalid, match="'project' is missing"):
        parse_project("")


def test_a_file_that_is_missing_or_no_toml(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="interlock init"):
        read_project(tmp_path)
    (tmp_path / "interlock.toml").write_bytes(b"\xff")
    with pytest.raises(Invalid, match="UTF-8"):
        read_project(tmp_path)
    (tmp_path / "interlock.toml").write_text("[project\n")
    with pytest.raises(Invalid, match="line 1"):
        read_project(tmp_path)


@given(st.text(max_size=200))
def test_any_text_is_a_project_or_invalid(text: str) -> None:
    try:
        parse_project(text)
    except Invalid as error:
        assert "interlock.toml" in error.message


def test_lines_of_keys_tables_and_arrays() -> None:
    text = 'a = 1\n[b]\nc.d = 2\n["e.f"]\ng = { h = 1,\n  i = 2 }\n[[w]]\nx = 1\n[[w]]\nx = 2\n'
    places = {("a",): 1, ("b", "c", "d"): 3, ("e.f", "g", "i"): 6, ("w", "1", "x"): 10, ("w", "0"): 7, ("zzz",): 1}
    assert {path: line_of(text, path) for path in places} == places


LOANS = '\n[data.loans]\nid = "loan"\ntarget = "defaulted"\nsensitive = ["sex"]\n[data.places]\nid = "place"\n'


def test_a_model_is_about_the_only_data_with_a_target_or_says_which() -> None:
    assert parse_project(EXAMPLE).data_of("employment") == ("people",)
    both = EXAMPLE + LOANS
    with pytest.raises(Invalid, match="several data tables have a target") as caught:
        parse_project(both)
    line = both.splitlines().index("[model.employment]") + 1
    assert caught.value.facts["line"] == line
    assert '`data = "people"` or `data = "loans"`' in caught.value.hint
    named = both.replace('headline = "roc_auc"', 'data = "loans"')
    assert parse_project(named).data_of("employment") == ("loans",)
    with pytest.raises(Invalid, match=r"model.employment.data: \[data.places\] names no target"):
        parse_project(both.replace('headline = "roc_auc"', 'data = "places"'))


def test_how_a_deployment_answers_is_said_beside_its_model() -> None:
    assert parse_project(EXAMPLE).deployment["employment"].serving.record is None  # nothing said: nothing is touched
    more = '[deployment.employment.serving]\ndurability = "1s"\nstale_after = "90 days"\ncode_models = false\n'
    found = parse_project(EXAMPLE + more).deployment["employment"].serving.record
    assert found == Serving(durability="1s", stale_after_s=90 * 86_400, code_models=False)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ('durability = "2s"', ["serving.durability", "'2s'"]),
        ("batch_rows = 0", ["serving.batch_rows", ">= 1"]),
        ('durabilty = "1s"', ["serving.durabilty", "'durability'"]),
        ('stale_after = "long"', ["serving.stale_after", "'long' is no period", "'7 days'"]),
        ('code_models = "yes"', ["serving.code_models", "bool"]),
    ],
)
def test_how_it_answers_is_checked_with_its_place(said: str, words: list[str]) -> None:
    text = f"{EXAMPLE}\n[deployment.employment.serving]\n{said}\n"
    with pytest.raises(Invalid) as caught:
        parse_project(text)
    told = str(caught.value)
    assert all(word in told for word in (*words, f"line {len(text.splitlines())},")), told

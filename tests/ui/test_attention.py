"""What needs somebody, in order of urgency, with a command that is safe to paste."""

from __future__ import annotations

import shlex

import msgspec
import pytest
from loops import closed, empty, job, version

from interlock.ui.attention import Need, needs


def change(status, **fields):
    return msgspec.structs.replace(status, **fields)


def healthy():
    return change(closed(), versions=closed().versions[:2], jobs=())


def test_a_loop_that_goes_on_needs_nobody() -> None:
    assert needs(healthy()) == []


def test_a_new_project_is_told_its_next_step() -> None:
    assert needs(empty()) == [Need("next", "There is no dataset yet.", "interlock data ingest NAME FILE")]
    only_data = change(empty(), datasets=closed().datasets)
    assert [need.command for need in needs(only_data)] == ["interlock loop candidate PIPELINE"]


@pytest.mark.parametrize(
    ("stage", "level", "command"),
    [
        ("registered", "next", "interlock audit check model:employment@1"),
        ("validated", "warn", "interlock audit approve model:employment@1 --note WHY"),
        ("approved", "next", "interlock deploy deploy employment model:employment@1"),
        ("development", "warn", "interlock audit report model:employment@1"),
        ("deployed", "", ""),
        ("retired", "", ""),
    ],
)
def test_the_newest_version_says_what_it_waits_for(stage: str, level: str, command: str) -> None:
    status = change(empty(), datasets=closed().datasets, versions=(version(1, stage, "because"),))
    found = [(need.level, need.command) for need in needs(status)]
    assert found == ([(level, command)] if level else [])


def test_an_older_version_waits_for_nothing() -> None:
    status = change(healthy(), versions=(version(1, "validated", ""), version(2, "deployed", "")))
    assert needs(status) == []


def test_a_server_that_is_down_comes_first() -> None:
    status = closed()
    down = msgspec.structs.replace(status.deployments[0], live=False)
    monitor = msgspec.structs.replace(status.monitors[0], verdict="wait for labels", reason="Drift since 2017-03.")
    found = needs(
        change(status, deployments=(down,), monitors=(monitor,), jobs=(job(1, "retrain", "train", "failed", "no"),))
    )
    assert [need.level for need in found] == ["alarm", "alarm", "warn", "warn"]
    assert found[0].command == "interlock deploy start employment"
    assert "Job retrain train failed: no" in [need.text for need in found]
    assert "interlock monitor label employment FILE" in [need.command for need in found]


def test_a_failed_job_counts_until_a_newer_one_did_it() -> None:
    failed, done = job(1, "retrain", "train", "failed", "no"), job(2, "retrain", "train", "done", "yes")
    assert needs(change(healthy(), jobs=(done, failed))) == []
    assert [need.level for need in needs(change(healthy(), jobs=(failed, done)))] == ["alarm"]


def test_a_deployment_that_was_stopped_on_purpose_is_no_alarm() -> None:
    stopped = msgspec.structs.replace(closed().deployments[0], state="stopped", live=False)
    assert needs(change(healthy(), deployments=(stopped,))) == []


@pytest.mark.parametrize("name", ["x; rm -rf ~", "$(reboot)", "a b", "`id`", "x\nreboot", "--help", "a'b"])
def test_commands_are_safe_to_paste(name: str) -> None:
    hostile = msgspec.structs.replace(version(1, "validated", ""), ref=f"model:{name}@1", model=name)
    down = msgspec.structs.replace(closed().deployments[0], name=name, live=False)
    found = needs(change(empty(), datasets=closed().datasets, versions=(hostile,), deployments=(down,)))
    commands = {need.command for need in found}
    assert len(commands) == 2
    for command in commands:
        assert "\n" not in command
        words = shlex.split(command)
        assert words[0] == "interlock"
        assert len(words) in {4, 6}
        assert "".join(c if c.isprintable() else "?" for c in name) in " ".join(words)

"""The README keeps its word: the demo's output is real, and every command and snippet runs."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import random
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from interlock.loop.project import parse_project

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme_script", ROOT / "scripts" / "readme.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def told(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The demo, told once in full by the README's first two commands, and the folder of its workspace."""
    folder = tmp_path_factory.mktemp("readme")
    return script.demo_output(folder), folder / "interlock" / "interlock-demo"


def run(line: str, folder: Path) -> str:
    """Return what a command line prints; `interlock` is the one under test."""
    words = shlex.split(line, comments=True)
    if words[0] == "interlock":
        words = [sys.executable, "-m", "interlock", *words[1:]]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder, env=dict(os.environ))
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_output_of_the_demo_is_what_the_demo_prints(told: tuple[str, Path], script: ModuleType) -> None:
    (shown,) = [block for block in blocks("text") if "Interlock" in block]
    assert script.normal(told[0]) == script.normal(shown), "run: python scripts/readme.py"


@pytest.mark.slow
def test_the_demo_keeps_the_promises_of_its_story(told: tuple[str, Path]) -> None:
    text = re.sub(r"\s+", " ", told[0])
    months = re.findall(r"(201[678]-\d\d): scored", text)
    assert len(months) == 36
    for year in (2016, 2018):
        assert text.count("no drift") >= 12, year
    assert "a corrupted file is refused" in text
    assert "model:employment@1 is 'development'" in text
    first_alarm = re.search(r"verdict 'wait for labels': Drift since (\d{4}-\d\d)", text)
    assert first_alarm is not None
    assert first_alarm.group(1) in {"2017-01", "2017-02"}
    assert text.index("verdict 'wait for labels'") < text.index("verdict 'retrain'") < text.index("takes 10%")
    figures = re.search(
        r"ROC AUC (0\.\d+) as answered; model:employment@2 replayed on the same requests: (0\.\d+)", text
    )
    assert figures is not None
    assert float(figures.group(1)) > 0.82
    assert float(figures.group(2)) < 0.74
    assert "scored again by the engine " in text
    assert ", the same [verified]" in text
    assert "every byte is as it was written" in text


@pytest.mark.slow
def test_every_command_runs(told: tuple[str, Path]) -> None:
    (commands,) = re.findall(r"<!-- commands: begin -->\n```sh\n(.*?)```", README, flags=re.DOTALL)
    lines = commands.strip().splitlines()
    assert len(lines) == 5
    for line in lines:
        assert run(line, told[1]).strip(), line


@pytest.mark.slow
def test_the_python_snippet_runs(told: tuple[str, Path]) -> None:
    (snippet,) = blocks("python")
    done = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True, check=False, cwd=told[1])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("model:employment@") == 36


@pytest.mark.slow
def test_the_project_of_the_readme_goes_from_nothing_to_an_answering_model(tmp_path: Path) -> None:
    (text,), (code,) = blocks("toml"), blocks("python pipeline")
    assert parse_project(text).data["customers"].sensitive == ("gender",)
    chance = random.Random(4)
    lines = ["customer,age,income,gender,region,repaid"]
    for number in range(2000):
        age, income = chance.randint(18, 80), round(chance.gauss(40, 12), 2)
        repaid = int(chance.random() < 1 / (1 + math.exp(-(age - 45) / 12 - (income - 40) / 10)))
        lines.append(f"C{number},{age},{income},{chance.choice('fm')},{chance.choice('news')},{repaid}")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "customers.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "interlock.toml").write_text(text)
    (tmp_path / "pipeline.py").write_text(code)
    (commands,) = re.findall(r"<!-- project: begin -->\n```sh\n(.*?)```", README, flags=re.DOTALL)
    told = {line.split("#")[0].strip(): run(line, tmp_path) for line in commands.strip().splitlines()}
    assert "validated" in told["interlock loop candidate train"]
    assert "approved" in told["interlock audit approve credit@1"]
    assert "model:credit@1" in told["interlock deploy show credit"]
    assert "http://127.0.0.1:" in told["interlock deploy show credit"]


def test_the_first_commands_are_those_that_run() -> None:
    """The clone and `make demo` are run above; `make test` is what runs this."""
    lines = [line.partition("#")[0].split() for line in blocks("sh")[0].splitlines()]
    assert [" ".join(line) for line in lines] == [
        "git clone REPOSITORY interlock && cd interlock",
        "make demo",
        "make test",
    ]


def test_commands_named_in_sentences_exist() -> None:
    for line in set(re.findall(r"`(interlock [a-z][^`]*)`", README)):
        words = shlex.split(line)[1:]
        named = [word for word in words if re.fullmatch(r"[a-z]+", word)][:2]
        while named:
            done = subprocess.run(
                [sys.executable, "-m", "interlock", *named, "--help"], capture_output=True, check=False
            )
            if done.returncode == 0:
                break
            named.pop()
        assert named, f"{line} is no command"


@pytest.mark.slow
def test_the_models_own_server_comes_back_and_says_how_to_ask_it(told: tuple[str, Path]) -> None:
    url = json.loads(run("interlock deploy start employment --json", told[1]))["url"]
    try:
        with urllib.request.urlopen(f"{url}/", timeout=10) as answer:
            welcome = json.loads(answer.read())
        body = json.dumps(welcome["ask"]["mlflow"]["body"]).encode()
        request = urllib.request.Request(f"{url}/invocations", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            (found,) = json.loads(answer.read())["predictions"]
        assert "score" in run(f"interlock why prediction:{found['prediction_id']}", told[1])
    finally:
        run("interlock deploy stop employment", told[1])

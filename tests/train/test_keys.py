"""No stale hits: every edit that may change a step's result changes its key, and no other edit does."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from interlock.core.errors import Invalid, NotFound
from interlock.train.keys import explain

PIPELINE = """
from __future__ import annotations

import functools
import math as m
from dataclasses import dataclass, field
from enum import Enum

import msgspec

import helpers
import package
from helpers import clean as tidy
from helpers import RATE, Counter
from interlock import pipeline, step

SIZES = [1, 2, 3]
TABLE = {"a": tidy}
pick = lambda value, low=0, order=lambda item: item: max(low, order(value))
partial = functools.partial(tidy, extra=4)


@dataclass
class Options:
    depth: int = 3
    names: list = field(default_factory=lambda: ["x"])

    def total(self):
        return self.depth * 2


class Point(msgspec.Struct):
    x: int = 1

    def length(self):
        return self.x


class Colour(Enum):
    RED = 1


class Base:
    scale = 10

    def scaled(self, value):
        return value * self.scale


class Child(Base):
    @property
    def half(self):
        return 0.5

    @staticmethod
    def third():
        return 0.33

    @classmethod
    def make(cls):
        return cls()


def twice(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args) * 2

    return wrapper


@twice
def decorated(value):
    return value - 1


@functools.lru_cache(maxsize=None)
def remembered(value):
    return value + 100


@functools.singledispatch
def general(value):
    return "any"


@general.register
def _(value: int):
    return "whole"


def maker(amount):
    def add(value):
        return value + amount

    return add


add_five = maker(5)


def unused(value):
    return value + 12345


@step
def work(value: float, lr: float = 0.1) -> float:
    \"\"\"Work.\"\"\"
    def inner(number):
        return number + 7

    # a comment
    if value > 1000:
        raise ValueError("too much")
    total = tidy(value) * RATE + inner(lr) + helpers.other(value) + sum(SIZES) + TABLE["a"](1) + partial(2)
    total += pick(value) + Options().total() + Point().length() + Colour.RED.value + Child.make().scaled(1)
    total += decorated(value) + remembered(1) + len(general(3)) + add_five(1) + package.exported(1) + m.sqrt(4)
    return total + Counter(3).next() + package.sub.deep.bottom()


@step
def lazily(value: int) -> int:
    from helpers import late
    import package.sub.other as far
    return late(value) + far.away()


@step
def elsewhere(value: int) -> int:
    return value


@pipeline
def main(value: float = 1.0) -> float:
    return work(value)
"""
HELPERS = """
from package import RELATIVE

RATE = 2
LIMIT = 50


def clean(value, extra=1):
    return min(value + extra, limit())


def limit():
    return LIMIT + RELATIVE


def other(value, *, by=1):
    return value - by


def late(value):
    return value * 3


class Counter:
    start: int = 4

    def __init__(self, value):
        self.value = value

    def next(self):
        return self.value + self._step()

    def _step(self):
        return 1
"""
FILES = {
    "pipeline": PIPELINE,
    "helpers": HELPERS,
    "package/__init__": "from .inside import exported\nfrom . import sub\nRELATIVE = 9\n",
    "package/inside": "def exported(value):\n    return value + 60\n",
    "package/sub/__init__": "from . import deep\n",
    "package/sub/deep": "from ..inside import exported as up\n\ndef bottom():\n    return up(4) + 1\n",
    "package/sub/other": "def away():\n    return 8\n",
}

NOTICED = [
    pytest.param("pipeline", "* RATE + inner", "* RATE - inner", id="operator in the body"),
    pytest.param("helpers", "min(value + extra", "max(value + extra", id="body of an imported helper, by alias"),
    pytest.param("helpers", "RATE = 2", "RATE = 3", id="constant of another module"),
    pytest.param("helpers", "LIMIT = 50", "LIMIT = 51", id="constant that a helper's helper reads"),
    pytest.param("helpers", "extra=1", "extra=2", id="default argument of a helper"),
    pytest.param("helpers", "return value - by", "return value + by", id="function through a module's attribute"),
    pytest.param("helpers", "by=1", "by=2", id="default of an argument by name only"),
    pytest.param("pipeline", "SIZES = [1, 2, 3]", "SIZES = [1, 2, 4]", id="list of this module"),
    pytest.param("pipeline", 'TABLE = {"a": tidy}', 'TABLE = {"a": max}', id="function inside a dict"),
    pytest.param("pipeline", "extra=4", "extra=5", id="argument of a partial"),
    pytest.param("pipeline", "low=0", "low=1", id="default of a lambda"),
    pytest.param("pipeline", "lambda item: item:", "lambda item: -item:", id="lambda as a lambda's default"),
    pytest.param("pipeline", "max(low, order", "min(low, order", id="body of a lambda"),
    pytest.param("pipeline", "return number + 7", "return number + 8", id="nested function"),
    pytest.param("pipeline", "lr: float = 0.1", "lr: float = 0.2", id="default argument of the step"),
    pytest.param("pipeline", "depth: int = 3", "depth: int = 4", id="default of a dataclass field"),
    pytest.param("pipeline", '["x"]', '["y"]', id="default factory of a dataclass field"),
    pytest.param("pipeline", "self.depth * 2", "self.depth * 3", id="method of a dataclass"),
    pytest.param("pipeline", "x: int = 1", "x: int = 2", id="default of a Struct field"),
    pytest.param("pipeline", "return self.x", "return -self.x", id="method of a Struct"),
    pytest.param("pipeline", "RED = 1", "RED = 2", id="value of an enumeration"),
    pytest.param("pipeline", "scale = 10", "scale = 11", id="attribute of a base class"),
    pytest.param("pipeline", "value * self.scale", "value + self.scale", id="method of a base class"),
    pytest.param("pipeline", "return 0.5", "return 0.6", id="property"),
    pytest.param("pipeline", "return 0.33", "return 0.34", id="static method"),
    pytest.param("pipeline", "return cls()", "return cls() or None", id="class method"),
    pytest.param("pipeline", "class Child(Base)", "class Child(Base, Options)", id="bases of a class"),
    pytest.param("pipeline", "(*args) * 2", "(*args) * 4", id="body of a decorator"),
    pytest.param("pipeline", "@twice\n", "", id="decorator taken away"),
    pytest.param("pipeline", "value - 1", "value - 9", id="decorated function"),
    pytest.param("pipeline", "value + 100", "value + 101", id="function behind lru_cache"),
    pytest.param("pipeline", '"whole"', '"part"', id="function registered for a type"),
    pytest.param("pipeline", "maker(5)", "maker(6)", id="closure cell"),
    pytest.param("pipeline", "value + amount", "value - amount", id="body of a closure"),
    pytest.param("helpers", "return self.value + self", "return self.value - self", id="method of an imported class"),
    pytest.param("helpers", "        return 1", "        return 2", id="method called by a method"),
    pytest.param("helpers", "start: int = 4", "start: int = 5", id="class attribute"),
    pytest.param("package/inside", "value + 60", "value + 61", id="re-export of a package"),
    pytest.param("package/__init__", "RELATIVE = 9", "RELATIVE = 8", id="constant in a package's __init__"),
    pytest.param("package/sub/deep", "up(4) + 1", "up(4) + 2", id="attribute of a module of a module"),
    pytest.param("pipeline", "import math as m", "import cmath as m", id="import under the same alias"),
    pytest.param("pipeline", "import clean as tidy", "import other as tidy", id="alias of another function"),
    pytest.param("pipeline", "> 1000", ">= 1000", id="comparison"),
    pytest.param("pipeline", '"too much"', '"far too much"', id="text in the body"),
]
UNNOTICED = [
    pytest.param("pipeline", "# a comment", "# another comment, and longer", id="comment in the body"),
    pytest.param("pipeline", "Work.", "Work hard, as a docstring may say.", id="docstring of the step"),
    pytest.param("pipeline", "    total = tidy", "\n\n    total = tidy", id="blank lines"),
    pytest.param("pipeline", "sum(SIZES) +", "sum(\n        SIZES\n    ) +", id="layout"),
    pytest.param("pipeline", "class Base:\n", 'class Base:\n    """A base."""\n\n', id="docstring of a class"),
    pytest.param(
        "helpers",
        "def clean(value, extra=1):\n",
        'def clean(value, extra=1):\n    """Clean."""\n',
        id="docstring of a helper",
    ),
    pytest.param("pipeline", "value + 12345", "value + 54321", id="function that it does not use"),
    pytest.param(
        "pipeline",
        "def elsewhere(value: int) -> int:\n    return value",
        "def elsewhere(value: int) -> int:\n    return -value",
        id="another step",
    ),
    pytest.param("helpers", "return value * 3", "return value * 4", id="helper that only another step imports"),
    pytest.param("pipeline", "SIZES = [1, 2, 3]", "SIZES = [1, 2, 1 + 2]", id="the same constant in other words"),
]


@pytest.fixture
def written(project):
    project.write(**FILES)
    return project


def test_the_same_code_has_the_same_key(written) -> None:
    first, second = written.key(value=1.0, lr=0.1), written.key(value=1.0, lr=0.1)
    assert first == second
    assert first.reason == ""
    assert explain(first, second) == ()


@pytest.mark.parametrize(("file", "before", "after"), NOTICED)
def test_edits_that_matter_are_noticed(written, file: str, before: str, after: str) -> None:
    first = written.key(value=1.0, lr=0.1)
    written.edit(file, before, after)
    second = written.key(value=1.0, lr=0.1)
    assert first.digest != second.digest
    assert explain(first, second)


OTHER = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.Gt: ast.LtE, ast.Lt: ast.GtE}


def mutants(text: str) -> Iterator[tuple[str, str]]:
    """Yield a module's text once for each number, text and operator in it, that one changed; and what was changed."""
    for number, node in enumerate(ast.walk(ast.parse(text))):
        tree = ast.parse(text)
        twin: Any = list(ast.walk(tree))[number]
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            twin.value = node.value + 1
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            twin.value = node.value + "x"
        elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in OTHER:
            twin.op = OTHER[type(node.op)]()
        elif isinstance(node, ast.Compare):
            twin.ops = [OTHER.get(type(node.ops[0]), ast.Eq)()]
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.Name):
            twin.value = ast.Constant(3)
        else:
            continue
        yield ast.unparse(ast.fix_missing_locations(tree)), f"line {node.lineno}: {ast.unparse(node)[:60]}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "files", "least"), [("work", list(FILES), 60), ("lazily", ["helpers", "package/sub/other"], 3)]
)
def test_no_mutant_with_another_result_has_the_same_key(written, name: str, files: list[str], least: int) -> None:
    """The one that counts: change everything in turn, and wherever the step's result differs, so must its key."""

    def outcome() -> tuple[str, str]:
        key = written.key(name, value=2.0)
        try:
            return key.digest, repr(getattr(sys.modules["pipeline"], name).function(2.0))
        except Exception as error:  # noqa: BLE001
            return key.digest, repr(error)

    key, result = outcome()
    stale, differing = [], 0
    for file in files:
        text, path = FILES[file], written.folder / f"{file}.py"
        for mutant, what in mutants(text):
            path.write_text(mutant)
            try:
                written.load()
            except (Invalid, NotFound):  # does not import
                continue
            other_key, other_result = outcome()
            differing += other_result != result
            if other_result != result and other_key == key:
                stale.append(f"{file}, {what}")
        path.write_text(text)
    assert stale == []
    assert differing >= least


@pytest.mark.parametrize(("file", "before", "after"), UNNOTICED)
def test_edits_that_do_not_matter_are_not(written, file: str, before: str, after: str) -> None:
    first = written.key(value=1.0, lr=0.1)
    written.edit(file, before, after)
    assert explain(first, written.key(value=1.0, lr=0.1)) == ()


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [("helpers", "return value * 3", "return value * 4"), ("package/sub/other", "return 8", "return 9")],
)
def test_imports_inside_a_function_are_followed(written, file: str, before: str, after: str) -> None:
    first = written.key("lazily", value=1)
    assert first.reason == ""
    written.edit(file, before, after)
    assert first.digest != written.key("lazily", value=1).digest


def test_a_difference_names_what_was_edited(written) -> None:
    first = written.key(value=1.0, lr=0.1)
    written.edit("helpers", "LIMIT = 50", "LIMIT = 51")
    (difference,) = explain(first, written.key(value=1.0, lr=0.1))
    assert str(difference) == "constant helpers.LIMIT changed from 50 to 51"
    (difference,) = explain(written.key(value=1.0, lr=0.1), written.key(value=1.0, lr=0.5))
    assert (difference.part, difference.before, difference.after) == ("input lr", "0.1", "0.5")


def test_a_global_changed_by_assignment_is_noticed_without_a_new_import(written) -> None:
    written.load()
    pipeline, helpers = sys.modules["pipeline"], sys.modules["helpers"]
    keys = written.keys()

    def now() -> str:
        return keys.of(pipeline.work, {"value": 1.0, "lr": 0.1}).digest

    seen = [now()]
    assert now() == seen[0]
    helpers.LIMIT = 1
    seen.append(now())
    pipeline.SIZES.append(9)
    seen.append(now())
    helpers.Counter._step = lambda self: 5
    seen.append(now())
    helpers.other = lambda value: value
    seen.append(now())
    helpers.clean.__defaults__ = (17,)
    seen.append(now())
    helpers.limit.__code__ = (lambda: 3).__code__
    seen.append(now())
    pipeline.add_five.__closure__[0].cell_contents = 55
    seen.append(now())
    pipeline.min = max  # hides a builtin
    assert now() == seen[-1]  # which work itself does not use
    helpers.min = max
    seen.append(now())
    assert len(set(seen)) == len(seen)


def test_the_code_of_a_value_belongs_to_the_key(project) -> None:
    project.write(
        kinds="class Scorer:\n    def score(self, x):\n        return x\n\ndef weigh(x):\n    return x\n",
        pipeline="""
            import kinds
            from interlock import step, pipeline
            @step
            def work(scorer): return scorer.score(1)
            @pipeline
            def main(): return 1
        """,
    )

    def keys() -> list[str]:
        project.load()
        kinds = sys.modules["kinds"]
        scorer, weigh = kinds.Scorer(), kinds.weigh
        made = [scorer, weigh, lambda x: kinds.weigh(x) + 1, [scorer], {"f": weigh}, kinds.Scorer]
        return [project.keys().of(sys.modules["pipeline"].work, {"scorer": value}).digest for value in made]

    before = keys()
    assert keys() == before
    project.edit("kinds", "        return x", "        return -x")
    after = keys()
    # The third reaches the module through a closure cell, and with it all that the module holds.
    assert [a != b for a, b in zip(before, after, strict=True)] == [True, False, True, True, False, True]
    project.edit("kinds", "def weigh(x):\n    return x", "def weigh(x):\n    return x + 1")
    final = keys()
    assert [a != b for a, b in zip(after, final, strict=True)] == [False, True, True, False, True, False]


def test_names_that_change_places_are_noticed(project) -> None:
    project.write(
        pipeline="""
            from interlock import step, pipeline
            def up(x): return x + 1
            def down(x): return x - 1
            first = up
            second = down
            third = up
            TABLE = {"a": lambda x: x, "b": lambda x: -x}
            TABLE["c"] = TABLE["a"]
            @step
            def work(x): return first(second(third(x))) + TABLE["a"](x) + TABLE["b"](2 * x) + TABLE["c"](3 * x)
            @pipeline
            def main(): return 1
        """
    )
    seen = [project.key(x=1).digest]
    project.edit("pipeline", "third = up", "third = down")
    seen.append(project.key(x=1).digest)
    project.edit("pipeline", '"a": lambda x: x, "b": lambda x: -x', '"a": lambda x: -x, "b": lambda x: x')
    seen.append(project.key(x=1).digest)
    project.edit("pipeline", 'TABLE["c"] = TABLE["a"]', 'TABLE["c"] = TABLE["b"]')
    seen.append(project.key(x=1).digest)
    assert len(set(seen)) == len(seen)


def test_the_code_of_a_value_does_not_hide_that_of_the_step(project) -> None:
    project.write(
        pipeline="""
            from interlock import step, pipeline
            MINE = lambda x: x + 1
            @step
            def work(f): return f(MINE(1))
            @pipeline
            def main(): return 1
        """
    )
    yours = eval("lambda x: x * 3", {"__name__": "pipeline"})
    first = project.key(f=yours)
    project.edit("pipeline", "x + 1", "x + 2")
    assert first.digest != project.key(f=yours).digest


def test_registrations_with_other_packages_belong_to_every_key(project) -> None:
    project.write(
        pipeline="""
            import polars as pl
            import spaces
            from interlock import step, pipeline
            @step
            def work(frame: pl.DataFrame): return frame.ours.first()
            @pipeline
            def main(): return 1
        """,
        spaces="""
            import polars as pl
            class Ours:
                def __init__(self, frame): self.frame = frame
                def first(self): return helper(self.frame)
            def helper(frame): return frame[0]
            pl.api.register_dataframe_namespace("ours")(Ours)
        """,
    )
    first = project.key(frame=1)
    project.edit("spaces", "frame[0]", "frame[1]")
    with pytest.warns(UserWarning, match="ours"):
        second = project.key(frame=1)
    assert first.digest != second.digest


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('eval("value + 1")', "cannot be followed (builtins.eval)"),
        ('exec("x = 1")', "cannot be followed (builtins.exec)"),
        ('e("value")', "cannot be followed (builtins.eval)"),
        ('builtins.eval("1")', "cannot be followed (builtins.eval)"),
        ('importlib.import_module("helpers")', "cannot be followed (importlib.import_module)"),
        ('load("helpers")', "cannot be followed (importlib.import_module)"),
        ('__import__("helpers")', "cannot be followed (builtins.__import__)"),
        ('globals()["x"]', "cannot be followed (builtins.globals)"),
        ('sys.modules["helpers"]', "cannot be followed (sys.modules)"),
        ("work.function.__globals__", "cannot be followed (__globals__)"),
        ('open("x.csv").read()', "reads files (io.open)"),
        ('Path("x").read_text()', "reads files (read_text)"),
        ('pl.read_parquet("x.parquet")', "reads files (polars.read_parquet)"),
        ('scan("x.parquet")', "reads files (polars.scan_parquet)"),
        ('np.load("x.npy")', "reads files (numpy.load)"),
        ('os.environ["HOME"]', "reads the environment (os.environ)"),
        ('os.getenv("HOME")', "reads the environment (os.getenv)"),
        ("time.time()", "reads the clock (time.time)"),
        ("datetime.now()", "reads the clock (datetime.datetime.now)"),
        ("dt.date.today()", "reads the clock (datetime.date.today)"),
        ("random.random()", "random numbers (random.random)"),
        ("np.random.rand(3)", "random numbers (numpy.random.rand)"),
        ("shuffle([1])", "random numbers (random.shuffle)"),
        ("EXPRESSION", "pipeline.EXPRESSION cannot be digested"),
        ('subprocess.run(["true"])', "another process or machine (subprocess.run)"),
        ('interlock.data.load("people@latest")', "another process or machine (interlock.data.load)"),
        ("lock.locked()", "pipeline.lock cannot be digested"),
        ("helper()", "cannot be followed (builtins.eval)"),
        ("Hidden().go()", "cannot be followed (builtins.eval)"),
        ("count()", "changes the global COUNT"),
        ("setting()", "changes the global helpers.RATE"),
        ("inside(1)", "reads the environment (os.environ)"),
    ],
)
def test_what_cannot_be_followed_is_not_cached_and_says_why(project, body: str, reason: str) -> None:
    project.write(
        helpers="RATE = 1\ndef plain(value): return value\n",
        pipeline=f"""
            import builtins, datetime as dt, importlib, os, subprocess, sys, threading, time
            import interlock
            from builtins import eval as e
            from datetime import datetime
            from importlib import import_module as load
            from pathlib import Path
            import numpy as np
            import polars as pl
            from polars import scan_parquet as scan
            import random
            from random import shuffle
            import helpers
            from interlock import step, pipeline
            EXPRESSION = pl.col("a").map_batches(helpers.plain)
            lock = threading.Lock()
            COUNT = 0
            def helper(): return eval("1")
            class Hidden:
                def go(self): return eval("1")
            def count():
                global COUNT
                COUNT += 1
            def setting(): helpers.RATE = 5
            def inside(value):
                def deeper(): return os.environ
                return deeper()
            @step
            def work(value): return {body}
            @pipeline
            def main(): return 1
        """,
    )
    assert reason in project.key(value=1).reason


@pytest.mark.parametrize(
    "body",
    [
        "random.Random(3).random()",
        "np.random.default_rng(3).normal()",
        "[random.seed(3), random.random()]",
        "[np.random.seed(3), np.random.rand()]",
        "pl.DataFrame({'a': [1]}).select(pl.col('a').map_batches(helper))",
        "json.loads('[1]')",
        "time.perf_counter()",
        "dt.date(2020, 1, 2).isoformat()",
        "re.compile('x').findall('x')",
        "log.info('hello')",
        "os.path.join('a', 'b')",
        "getattr(Settings, 'depth')",
        "[helper(x) for x in range(3)]",
        "Path('a') / 'b'",
    ],
)
def test_ordinary_code_is_cached(project, body: str) -> None:
    project.write(
        pipeline=f"""
            import datetime as dt, json, logging, os, random, re, time
            from pathlib import Path
            import numpy as np
            import polars as pl
            from interlock import step, pipeline
            log = logging.getLogger(__name__)
            class Settings: depth = 3
            def helper(value): return value
            @step
            def work(value): return {body}
            @pipeline
            def main(): return 1
        """
    )
    assert project.key(value=1).reason == ""


def test_values_without_a_digest_are_not_cached(project) -> None:
    import threading

    import polars as pl

    project.write(
        pipeline="from interlock import step, pipeline\n@step\ndef work(value): return 1\n@pipeline\ndef main(): pass\n"
    )
    assert "input 'value' has no digest" in project.key(value=threading.Lock()).reason
    assert "LazyFrame is a plan" in project.key(value=pl.LazyFrame({"a": [1]})).reason
    assert "input 'value' has no digest" in project.key(value=(item for item in "ab")).reason
    assert project.key(value=[1, (2.5, None)]).reason == ""


def test_declared_files_and_variables_belong_to_the_key(project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write(
        pipeline="""
            import os
            from interlock import step, pipeline
            @step(reads=["data/*.csv"], environ=["REGION"])
            def work(): return open("data/a.csv").read() + os.environ["REGION"]
            @step
            def given(path): return path
            @pipeline
            def main(): return 1
        """
    )
    data = project.folder / "data"
    data.mkdir()
    (data / "a.csv").write_text("1")
    monkeypatch.setenv("REGION", "north")
    seen = [project.key()]
    assert seen[0].reason == ""
    (data / "a.csv").write_text("2")
    seen.append(project.key())
    (data / "b.csv").write_text("2")
    seen.append(project.key())
    monkeypatch.setenv("REGION", "south")
    seen.append(project.key())
    assert len({key.digest for key in seen}) == 4
    assert "south" not in str(seen[-1].parts)
    paths = [project.key("given", path=data / "a.csv")]
    (data / "a.csv").write_text("3")
    paths.append(project.key("given", path=data / "a.csv"))
    (data / "a.csv").unlink()
    paths.append(project.key("given", path=data / "a.csv"))
    assert len({key.digest for key in paths}) == 3


def test_packages_count_with_what_they_need(written) -> None:
    written.edit("pipeline", "import functools\n", "import functools\nimport sklearn.linear_model\n")
    parts = written.key(value=1.0, lr=0.1).parts
    assert {"package scikit-learn", "package numpy", "package interlock"} <= set(parts)
    assert "package polars" not in parts
    assert parts["python"] == f"{sys.version_info[0]}.{sys.version_info[1]}"


def test_a_step_may_refuse_the_cache(project) -> None:
    project.write(
        pipeline="""
            from interlock import step, pipeline
            @step(cache=False)
            def work(): return 1
            @pipeline
            def main(): return 1
        """
    )
    assert project.key().reason == "the step says cache=False"

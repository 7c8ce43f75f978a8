"""Values come back as they were, equal content has equal digests, and foreign bytes are never opened."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import math
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from interlock.core.errors import Corrupt, Denied, Invalid, NotFound
from interlock.store.objects import FolderObjects
from interlock.train.private import Seal
from interlock.train.values import Kept, Values


class Point(msgspec.Struct, frozen=True):
    """A record."""

    x: int
    y: list[float]


@dataclasses.dataclass
class Options:
    """A record with a rule of its own."""

    depth: int
    frame: Any = None

    def __post_init__(self) -> None:
        self.depth += 1


class Pair(NamedTuple):
    """A named tuple."""

    left: int
    right: str


class Colour(enum.Enum):
    """An enumeration."""

    RED = 1


@pytest.fixture
def values(tmp_path: Path) -> Values:
    return Values(FolderObjects(tmp_path / "objects"), tmp_path / "values.key")


def same(a: Any, b: Any) -> bool:
    """Return whether two values are equal, types, signs of zero and NaN included."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return bool(a == b)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=6000),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
        | st.frozensets(st.text() | st.integers(), max_size=4)
    ),
    max_leaves=12,
)


@given(value=plain)
def test_plain_data_comes_back_exactly(value: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "plain"
    values = Values(FolderObjects(folder), folder / "key")
    kept = values.store(value)
    back = values.load(kept)
    assert same(back, value)
    assert values.store(back).digest == kept.digest == values.digest(value).digest
    assert same(values.copy(value), value)


def test_values_that_are_only_equal_have_digests_of_their_own(values: Values) -> None:
    looks_equal = [1, 1.0, True, "1", b"1", [1], (1,), {1}, frozenset({1}), {1: None}, [[1]], 0.0, -0.0, 0, False, None]
    looks_equal += [
        {"float": "nan"},
        float("nan"),
        {"a": 1, "b": 2},
        {"b": 2, "a": 1},
        2**70,
        float(2**70),
        np.int64(1),
    ]
    assert len({values.digest(value).digest for value in looks_equal}) == len(looks_equal)


FRAME = pl.DataFrame(
    {
        "whole": [1, None, 3],
        "real": [1.5, float("nan"), None],
        "text": ["a", None, "č"],
        "truth": [True, False, None],
        "day": [dt.date(2020, 1, 1), None, dt.date(1, 1, 1)],
        "instant": pl.Series([dt.datetime(2020, 1, 1, tzinfo=dt.UTC)] * 3).dt.convert_time_zone("Europe/Prague"),
        "span": [dt.timedelta(1), None, dt.timedelta(microseconds=3)],
        "list": [[1], [], None],
        "record": [{"a": 1}, {"a": None}, None],
        "bytes": [b"x", b"", None],
        "nothing": [None] * 3,
        "exact": [decimal.Decimal("1.20")] * 3,
        "code": pl.Series(["z", "a", "z"], dtype=pl.Categorical),
        "one of": pl.Series(["z", "a", None], dtype=pl.Enum(["z", "a"])),
        "small": pl.Series([1, 2, 3], dtype=pl.Int8),
        "big": pl.Series([2**64 - 1, 0, 1], dtype=pl.UInt64),
    }
)


@pytest.mark.parametrize("name", [*FRAME.columns, ""])
def test_polars_frames_come_back_with_their_types(values: Values, name: str) -> None:
    frame = FRAME.select(name) if name else FRAME
    kept = values.store(frame)
    back = values.load(kept)
    assert back.schema == frame.schema
    assert back.equals(frame)
    assert Values(values.objects, Path(values.objects.root / "other")).digest(back).digest == kept.digest
    pieces = pl.concat([frame.head(1), frame.tail(2)], rechunk=False)
    assert values.digest(pieces).digest == kept.digest


def test_a_frame_s_digest_does_not_depend_on_threads(values: Values) -> None:
    code = (
        "import sys, pathlib, polars as pl\n"
        "from interlock.train.leaves import frame_bytes\nimport hashlib\n"
        "frame = pl.DataFrame({'a': range(600_000), 'b': [str(i % 7) for i in range(600_000)]})\n"
        "print(hashlib.sha256(frame_bytes(frame)).hexdigest())"
    )
    found = set()
    for threads in ("1", "2"):
        environment = {**os.environ, "POLARS_MAX_THREADS": threads, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        found.add(done.stdout)
    assert len(found) == 1


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": [1, 2], "s": ["x", None], "f": [1.0, np.nan], "b": [True, False], "t": ["", "é"]}),
        pd.DataFrame({"a": []}, dtype="int8"),
        pd.DataFrame(index=range(3)),
        pd.DataFrame({"a": [1, 2]}, index=["x", "y"]),
        pd.DataFrame({"a": pd.Categorical(["x", "y"]), "when": pd.to_datetime(["2020-01-01", None])}),
        pd.DataFrame({1: [1, 2]}),
    ],
    ids=["simple", "empty", "no columns", "index", "categories", "numbered columns"],
)
def test_pandas_frames_come_back_as_they_were(values: Values, frame: pd.DataFrame) -> None:
    kept = values.store(frame)
    back = values.load(kept)
    pd.testing.assert_frame_equal(back, frame, check_freq=True)
    assert values.digest(back).digest == kept.digest


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array([np.nan, -0.0]),
        np.array([]),
        np.array(["a", "bc"]),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array([None, "x"], dtype=object),
    ],
)
def test_arrays_come_back_as_they_were(values: Values, array: Any) -> None:
    back = values.load(values.store(array))
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array)


def test_records_estimators_and_the_rest_come_back(values: Values) -> None:
    fitted = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    series = pl.Series("s", [1, 2])
    whole = {
        "point": Point(1, [0.5]),
        "options": Options(3, FRAME.select("whole")),
        "pair": Pair(1, "x"),
        "colour": Colour.RED,
        "when": dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
        "exact": decimal.Decimal("1.10"),
        "huge": 10**400,
        "path": Path("a/b"),
        "scalar": np.float64(0.5),
    }
    back = values.load(values.store((whole, fitted, series)))
    assert back[0]["options"].depth == 4, "__post_init__ does not run again"
    assert back[0]["options"].frame.equals(whole["options"].frame)
    assert {**back[0], "options": 0} == {**whole, "options": 0}
    assert back[1].predict([[1.0]]) == [1]
    assert back[2].equals(series)
    assert type(back[0]["scalar"]) is np.float64


@pytest.mark.parametrize(
    "value",
    [threading.Lock(), lambda x: x, (i for i in "ab"), pl.LazyFrame({"a": [1]}), pl.DataFrame({"a": [object()]})],
    ids=["lock", "lambda", "generator", "plan", "objects"],
)
def test_what_cannot_be_kept_is_refused(values: Values, value: Any) -> None:
    with pytest.raises(Invalid):
        values.store([value])


def test_a_value_that_holds_itself_is_refused(values: Values) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(Invalid, match="holds itself"):
        values.store(loop)


def test_stored_values_are_not_written_again_unless_they_changed(values: Values) -> None:
    frame = pl.DataFrame({"a": range(2000), "b": np.random.default_rng(0).normal(size=2000)})
    fitted = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    kept = values.store([frame, fitted])
    assert values.digest([frame, fitted]).digest == kept.digest
    back = values.load(kept)
    assert values.digest(back).digest == kept.digest, "a loaded estimator has the digest it was stored with"
    frame[0, "a"] = 7
    fitted.coef_[0, 0] += 1
    assert values.digest([frame, back[1]]).digest != kept.digest
    assert values.digest([back[0], fitted]).digest != kept.digest
    assert values.digest(back).digest == kept.digest


def test_a_copy_can_be_changed_freely(values: Values) -> None:
    original = {
        "list": [[1]],
        "frame": pl.DataFrame({"a": [1]}),
        "pandas": pd.DataFrame({"a": [1]}),
        "array": np.array([1]),
        "model": LogisticRegression(),
        "options": Options(1, [1]),
        "set": {1},
    }
    before = values.digest(original).digest
    copy = values.copy(original)
    copy["list"][0].append(2)
    copy["frame"][0, "a"] = 9
    copy["pandas"].loc[0, "a"] = 9
    copy["array"][0] = 9
    copy["model"].C = 9
    copy["options"].frame.append(2)
    copy["set"].add(2)
    assert values.digest(original).digest == before
    lock = threading.Lock()
    assert values.copy(lock) is lock


class Bomb:
    """What a hostile pickle looks like."""

    def __reduce__(self) -> Any:
        return os.mkdir, (str(Bomb.target),)

    target = Path()


def test_a_foreign_pickle_is_never_opened(values: Values, tmp_path: Path) -> None:
    Bomb.target = tmp_path / "boom"
    digest = values.objects.put(pickle.dumps([Bomb()]) + b" " * 5000)
    tree = f'{{"pickle":"{digest}"}}'.encode()
    elsewhere = Seal(tmp_path / "elsewhere" / "key")
    for seal in ("", "0" * 64, elsewhere.of(tree), values.seal.of(b"1")):
        assert not values.is_here(Kept(tree, seal))
        with pytest.raises(Denied, match="seal"):
            values.load(Kept(tree, seal))
    assert not Bomb.target.exists()
    values.load(Kept(tree, values.seal.of(tree)))
    assert Bomb.target.exists(), "the same bytes under our own seal do run: the seal is what protects"


def test_the_key_is_private(values: Values, tmp_path: Path) -> None:
    key = tmp_path / "values.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert Seal(key).of(b"x") == values.seal.of(b"x")
    key.chmod(0o640)
    with pytest.raises(Denied, match="can be read by others"):
        Seal(key)


def test_lost_and_changed_parts_are_told_apart(values: Values) -> None:
    kept = values.store(b"x" * 5000)
    assert values.is_here(kept)
    (digest,) = values.objects.digests()
    path = values.objects.root / digest[:2] / digest[2:]
    path.chmod(0o600)
    path.write_bytes(b"y" * 5000)
    with pytest.raises(Corrupt):
        values.load(kept)
    path.unlink()
    assert not values.is_here(kept)
    with pytest.raises(NotFound):
        values.load(kept)

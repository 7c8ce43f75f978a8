"""Files that are read in a process apart: what is whole comes as it is, what is damaged ends only that process."""

from __future__ import annotations

import datetime as dt
import os
import signal
from decimal import Decimal
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import polars as pl
import pytest

from interlock.core.errors import Invalid
from interlock.data.formats import read_table
from interlock.store import apart
from interlock.store import apart_reader as reader

_spec = spec_from_file_location("damaged", Path(__file__).parents[1] / "data" / "damaged.py")
damaged = module_from_spec(_spec)
_spec.loader.exec_module(damaged)


def test_every_type_comes_as_polars_itself_reads_it(tmp_path):
    path = tmp_path / "types.parquet"
    day = dt.datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001 - a column without zones
    frame = pl.DataFrame(
        {
            "text": ["a", None],
            "category": pl.Series(["x", "y"], dtype=pl.Categorical),
            "enum": pl.Series(["x", None], dtype=pl.Enum(["x", "y"])),
            "i8": pl.Series([1, None], dtype=pl.Int8),
            "u64": pl.Series([2**63, 1], dtype=pl.UInt64),
            "f32": pl.Series([0.5, float("nan")], dtype=pl.Float32),
            "truth": [True, None],
            "day": [day.date(), None],
            "time": [day, None],
            "zoned": pl.Series([day, None]).dt.replace_time_zone("UTC"),
            "length": [dt.timedelta(seconds=1), None],
            "decimal": [Decimal("1.50"), None],
            "bytes": [b"\xff", None],
            "list": [[1, 2], None],
            "struct": [{"a": 1}, None],
            "nothing": [None, None],
        }
    )
    frame.write_parquet(path)
    wanted = pl.read_parquet(path)
    found = apart.table(path, "parquet")
    assert found.schema == wanted.schema
    assert found.equals(wanted)
    assert apart.columns(path, "parquet").schema == wanted.schema


@pytest.mark.parametrize("kind", ["parquet", "arrow", "stream"])
def test_rows_come_in_order_from_any_row_on(tmp_path, kind):
    path, frame = tmp_path / "numbers", pl.DataFrame({"a": range(1000), "b": ["t"] * 1000})
    write = {"parquet": frame.write_parquet, "arrow": frame.write_ipc, "stream": frame.write_ipc_stream}
    write[kind](path)
    found = pl.concat(apart.rows(path, kind, ["a"], 333, 100))
    assert found.columns == ["a"]
    assert found["a"].to_list() == list(range(333, 1000))
    assert list(apart.rows(path, kind, ["a"], 5000))[:1] in ([], [pl.DataFrame(schema={"a": pl.Int64})])
    if kind != "stream":
        assert apart.count(path, kind) == 1000


@pytest.mark.parametrize(
    ("make", "kind", "why"),
    [
        (damaged.aborting, "parquet", "its reader ended with SIGABRT"),
        (damaged.shortened, "parquet", "rows early"),
        (damaged.reaching, "stream", "."),
    ],
)
def test_a_damaged_file_is_refused_and_the_next_one_read(tmp_path, make, kind, why):
    path = make(tmp_path / "bad")
    with pytest.raises(apart.Unreadable, match=why):
        apart.table(path, kind)
    damaged.parquet(tmp_path / "good")
    assert apart.table(tmp_path / "good", "parquet").equals(damaged.people())


def test_a_reader_that_ended_meanwhile_is_replaced(tmp_path):
    damaged.parquet(tmp_path / "good")
    apart.table(tmp_path / "good", "parquet")
    for waiting in apart._idle:
        os.kill(waiting._child.pid, signal.SIGKILL)
    assert apart.count(tmp_path / "good", "parquet") == damaged.ROWS


def test_a_reader_whose_rows_nobody_takes_is_ended(tmp_path, monkeypatch):
    path = tmp_path / "long.parquet"
    pl.DataFrame({"a": range(500_000)}).write_parquet(path)
    ended, end = [], apart._Reader.end
    monkeypatch.setattr(apart._Reader, "end", lambda self, **now: ended.append(end(self, **now)))
    rows = apart.rows(path, "parquet", size=1000)
    next(rows)
    rows.close()
    assert ended == [-signal.SIGKILL]
    assert apart.count(path, "parquet") == 500_000


def test_a_file_that_unpacks_to_more_than_half_of_the_memory_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "bomb.parquet"
    pl.select(pl.repeat(7, 4_000_000).alias("a")).write_parquet(path)
    assert path.stat().st_size < 200_000
    monkeypatch.setattr(apart, "memory_free", lambda: 16_000_000)
    with pytest.raises(apart.Unreadable, match="unpacks to more than 8,000,000 bytes"):
        apart.table(path, "parquet")


def test_what_the_system_refuses_keeps_its_number(tmp_path):
    with pytest.raises(FileNotFoundError):
        apart.table(tmp_path / "none", "parquet")


def test_columns_and_counts_leave_their_reader_alive(tmp_path):
    path = tmp_path / "small.parquet"
    pl.DataFrame({"a": [1, 2]}).write_parquet(path)
    apart._end_all()
    assert apart.count(path, "parquet") == 2
    (kept,) = apart._idle
    for _ in range(3):
        assert apart.columns(path, "parquet").columns == ["a"]
        assert apart.count(path, "parquet") == 2
        assert apart._idle == [kept]


def test_a_reader_that_falls_silent_is_ended(tmp_path, monkeypatch):
    path = tmp_path / "small.parquet"
    pl.DataFrame({"a": [1, 2]}).write_parquet(path)
    apart._end_all()
    assert apart.count(path, "parquet") == 2
    kept = apart._take()
    monkeypatch.setattr(apart, "_SILENCE_S", 0.05)
    os.kill(kept._child.pid, signal.SIGSTOP)
    assert kept.hear() is None
    assert kept.end() == -signal.SIGKILL


def test_no_thread_watches_what_is_heard(tmp_path, monkeypatch):
    path = tmp_path / "numbers.parquet"
    pl.DataFrame({"a": range(10_000)}).write_parquet(path)
    monkeypatch.setattr("threading.Thread.start", lambda _: pytest.fail("a thread was started"))
    assert sum(frame.height for frame in apart.rows(path, "parquet", size=1000)) == 10_000


@pytest.mark.parametrize(
    ("stat", "free"),
    [
        ("anon 5\ninactive_file 300000000\nactive_file 7\n", 400_000_000),
        ("anon 5\n", 100_000_000),
        (None, 100_000_000),
        ("inactive_file x\n", 100_000_000),
    ],
)
def test_pages_of_files_that_nobody_uses_are_free(tmp_path, monkeypatch, stat, free):
    monkeypatch.setattr(reader, "_GROUP", tmp_path)
    (tmp_path / "memory.max").write_text("1000000000\n")
    (tmp_path / "memory.current").write_text("900000000\n")
    if stat is not None:
        (tmp_path / "memory.stat").write_text(stat)
    assert reader.memory_free() == free


def test_a_full_group_has_some_memory_left(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "_GROUP", tmp_path)
    for name in ("max", "current"):
        (tmp_path / f"memory.{name}").write_text("1000000000\n")
    assert reader.memory_free() == 64 << 20


def test_free_memory_is_known():
    assert 0 < reader.memory_free() < 2**50


def test_ingest_names_the_file_and_says_why(tmp_path):
    from interlock.core.errors import Invalid

    with pytest.raises(Invalid, match=r"people\.parquet cannot be read as parquet: it is damaged"):
        read_table(damaged.aborting(tmp_path / "0"), "people.parquet")


def test_bytes_in_memory_are_read_apart_too(tmp_path):
    damaged.parquet(tmp_path / "good")
    content = (tmp_path / "good").read_bytes()
    assert apart.table_of(content, "parquet", "The rows").equals(damaged.people())
    with pytest.raises(Invalid, match=r"^The rows cannot be read as parquet: it is damaged.*SIGABRT\.$"):
        apart.table_of(damaged.aborting(tmp_path / "bad").read_bytes(), "parquet", "The rows")

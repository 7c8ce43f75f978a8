"""Metric points a CPU second and bytes a point: segments against a SQLite table with a row a point, in one run.

    python benchmarks/series.py [--points 400000] [--rounds 3]

Both sides store the same points (4 runs, 10 keys, steps, instants with jitter, noisy values) through apsw in WAL mode
with `synchronous=FULL`, one transaction for each flush of a run. The baseline is the leanest table that can still be
asked for one series: an integer instead of run and key, the primary key being the table. "server" is what a server pays
for segments that a client packed, "all" adds the packing. Values are doubles full of noise, or doubles that were
float32, as training frameworks log them. Bars, for full segments of doubles: 10x the points a CPU second (server), a
third of the bytes.
"""

from __future__ import annotations

import argparse
import math
import platform
import random
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import apsw

from interlock.store.packing import seal
from interlock.store.segments import pack, zstd
from interlock.store.series import Series
from interlock.store.sqlite import SqliteDatabase

RUNS = 4
KEYS = [f"metric_{key}" for key in range(10)]
FULL = 4000
POINTS_BAR, BYTES_BAR = 10.0, 3.0

Columns = tuple[list[int], list[int], list[float]]
Flush = tuple[str, dict[str, Columns]]


class Cost(NamedTuple):
    """Microseconds of CPU a point (packing is 0 for rows), and bytes a point."""

    store_us: float
    pack_us: float
    read_us: float
    bytes: float


def columns(start: int, points: int, chance: random.Random, *, single: bool) -> Columns:
    """Return one flush of one metric: a decaying curve with noise, logged about every 120 ms."""
    steps = list(range(start, start + points))
    at, ats, values = 1_790_000_000_000_000 + start * 120_000, [], []
    for step in steps:
        at += int(chance.gauss(120_000, 9_000))
        ats.append(at)
        value = 2 * math.exp(-step / 3000) + chance.gauss(0, 0.02)
        values.append(struct.unpack("f", struct.pack("f", value))[0] if single else value)
    return steps, ats, values


def flushes(total: int, points: int, *, single: bool) -> list[Flush]:
    """Return the flushes of all runs, in the order in which they come: run, and one metric's columns by key."""
    chance = random.Random(5)
    count = max(total // (points * len(KEYS)), 1)
    return [
        (f"run-{n % RUNS}", {key: columns(n // RUNS * points, points, chance, single=single) for key in KEYS})
        for n in range(count)
    ]


def size(folder: Path) -> int:
    """Return the bytes of a folder's files."""
    return sum(path.stat().st_size for path in folder.iterdir())


def rows_a_point(data: list[Flush], total: int) -> Cost:
    """Return what the baseline costs; its rows are made beforehand."""
    ids: dict[tuple[str, str], int] = {}
    ready = [
        [
            (ids.setdefault((run, key), len(ids)), *point)
            for key, part in parts.items()
            for point in zip(*part, strict=True)
        ]
        for run, parts in data
    ]
    with tempfile.TemporaryDirectory() as folder:
        db = apsw.Connection(f"{folder}/rows.db")
        db.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
        columns = "series INT, step INT, at INT, value REAL, PRIMARY KEY (series, step, at)"
        db.execute(f"CREATE TABLE points ({columns}) WITHOUT ROWID")
        start = time.process_time()
        for rows in ready:
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT INTO points VALUES (?, ?, ?, ?)", rows)
            db.execute("COMMIT")
        stored = time.process_time() - start
        start = time.process_time()
        read = [
            db.execute("SELECT step, at, value FROM points WHERE series = ?", (n,)).fetchall() for n in ids.values()
        ]
        reading = time.process_time() - start
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        return Cost(stored / total * 1e6, 0.0, reading / sum(map(len, read)) * 1e6, size(Path(folder)) / total)


def segments(data: list[Flush], total: int) -> Cost:
    """Return what our segments cost."""
    start = time.process_time()
    packed = [(run, {key: pack(*part) for key, part in parts.items()}) for run, parts in data]
    packing = time.process_time() - start
    with tempfile.TemporaryDirectory() as folder:
        database = SqliteDatabase(Path(folder) / "segments.db")
        empty = database.one("PRAGMA page_count")["page_count"] * 4096
        series = Series(database)
        start = time.process_time()
        for run, parts in packed:
            database.write(
                lambda tx, run=run, parts=parts: [
                    series.append(tx, run, seal(run, key, part)) for key, part in parts.items()
                ]
            )
        stored = time.process_time() - start
        start = time.process_time()
        read = sum(len(series.points(run, key)) for run in {run for run, _ in data} for key in KEYS)
        reading = time.process_time() - start
        if read != total:
            raise SystemExit(f"{read} points were read back, not {total}")
        database.close()
        return Cost(*(s / total * 1e6 for s in (stored, packing, reading)), (size(Path(folder)) - empty) / total)


def best(costs: list[Cost]) -> Cost:
    """Return the least of each figure."""
    return Cost(*(min(column) for column in zip(*costs, strict=True)))


def compare(total: int, points: int, rounds: int, *, single: bool) -> tuple[float, float]:
    """Print one line; return by how much segments need less CPU (server) and fewer bytes than rows."""
    data = flushes(total, points, single=single)
    count = len(data) * len(KEYS) * points
    rows, ours = zip(*[(rows_a_point(data, count), segments(data, count)) for _ in range(rounds)], strict=True)
    row, our = best(list(rows)), best(list(ours))
    server, everything = row.store_us / our.store_us, row.store_us / (our.store_us + our.pack_us)
    print(
        f"{points:6} {'float32' if single else 'double':8}"
        f"{1 / row.store_us:7.2f} {1 / our.store_us:7.2f} {server:6.1f}x {everything:6.1f}x"
        f"{1 / row.read_us:7.2f} {1 / our.read_us:6.2f}"
        f"{row.bytes:8.1f} {our.bytes:6.1f}   1/{row.bytes / our.bytes:.2f}"
    )
    return server, row.bytes / our.bytes


def main() -> int:
    """Print the table; return 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=400_000, help="points in all")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many rounds counts")
    given = parser.parse_args()
    print(f"Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()}, zstd {zstd.zstd_version}")
    print(f"{given.points} points, best of {given.rounds}; speeds in million points a CPU second")
    print("points values     stored: rows server  ratio     all  read: rows ours   bytes: rows ours  ratio")
    for points in (10, 100, 1000):
        compare(given.points, points, given.rounds, single=False)
    compare(given.points, FULL, given.rounds, single=True)
    server, bytes_ = compare(given.points, FULL, given.rounds, single=False)
    held = server >= POINTS_BAR and bytes_ >= BYTES_BAR
    print(f"bars (the last line: {POINTS_BAR:.0f}x the points, 1/{BYTES_BAR:.0f} of the bytes): ", end="")
    print("held" if held else "MISSED")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())

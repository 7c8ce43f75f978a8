"""What the ledger costs: events a second against a plain table, and the time of a proof against rebuilding the tree.

Bars: 5,000 events a second in batches of 1,000 a transaction; a proof in less than 5 ms among 1,000,000 entries. The
baseline of appending is the same events (their data as JSON, the same two indexes) inserted into one table without a
tree, in the same database settings, batches of both taking turns. The baseline of proving is what a log that stores
no nodes does: hash all leaves again.

Usage: python benchmarks/ledger.py [entries]
"""

from __future__ import annotations

import platform
import random
import resource
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import msgspec

from interlock.core.clock import SystemClock, to_micros
from interlock.store import merkle
from interlock.store.ledger import Ledger
from interlock.store.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.core.ports import Transaction

BATCH = 1000
PROOFS = 1000
BAR_EVENTS = 5000
BAR_PROOF_S = 0.005
DATA = {"params": {"depth": 6, "rate": 0.05}, "tags": {"team": "risk"}, "segments": ["3f" * 32]}
PLAIN = """
CREATE TABLE plain_events (
    idx BIGINT PRIMARY KEY, at BIGINT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, actor TEXT NOT NULL,
    data BYTEA NOT NULL
);
CREATE INDEX plain_events_kind ON plain_events (kind, idx);
CREATE INDEX plain_events_subject ON plain_events (subject, idx)
"""


def append(ledger: Ledger, tx: Transaction, first: int) -> None:
    """Append one batch of events to the ledger."""
    for number in range(first, first + BATCH):
        ledger.append(tx, "run.logged", f"run:{number % 5000}", DATA, "user:bench")


def insert(tx: Transaction, first: int) -> None:
    """Insert the same batch into the plain table."""
    for number in range(first, first + BATCH):
        tx.run(
            "INSERT INTO plain_events VALUES (:idx, :at, 'run.logged', :subject, 'user:bench', :data)",
            {
                "idx": number,
                "at": to_micros(SystemClock().now()),
                "subject": f"run:{number % 5000}",
                "data": msgspec.json.encode(DATA),
            },
        )


def grow(ledger: Ledger, database: SqliteDatabase, plain: SqliteDatabase, entries: int) -> list[tuple[float, float]]:
    """Append to both, taking turns; return the seconds and CPU seconds of the ledger, then of the plain table."""
    spent = [(0.0, 0.0), (0.0, 0.0)]

    def timed(place: int, target: SqliteDatabase, change: Callable[[Transaction], None]) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        target.write(change)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        spent[place] = (spent[place][0] + wall, spent[place][1] + cpu)

    for first in range(0, entries, BATCH):
        timed(0, database, lambda tx, first=first: append(ledger, tx, first))
        timed(1, plain, lambda tx, first=first: insert(tx, first))
    return spent


def prove(ledger: Ledger, entries: int) -> list[float]:
    """Return the seconds of proofs of random entries, each of which is verified."""
    rng, root, found = random.Random(7), ledger.root(), []
    for _ in range(PROOFS):
        index = rng.randrange(entries)
        start = time.perf_counter()
        proof = ledger.inclusion_proof(index, entries)
        found.append(time.perf_counter() - start)
        leaf = merkle.leaf_hash(ledger.stored(index).entry)
        if not merkle.verify_inclusion(index, entries, leaf, proof, root):
            raise SystemExit(f"the proof of {index} does not hold")
    return sorted(found)


def peak_mib() -> float:
    """Return the most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    """Print the figures; return 1 when a bar is missed."""
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    versions = f"Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()}, PyNaCl {version('pynacl')}"
    print(f"{versions}, {platform.machine()}, {entries:,} entries in batches of {BATCH:,}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database, plain = SqliteDatabase(folder / "ledger.db"), SqliteDatabase(folder / "plain.db")
        for statement in PLAIN.split(";"):
            plain.write(lambda tx, statement=statement: tx.run(statement))
        ledger = Ledger(database, SystemClock(), folder / "keys", "interlock/bench")
        (wall, cpu), (wall_plain, cpu_plain) = grow(ledger, database, plain, entries)
        rate, rate_plain = entries / wall, entries / wall_plain
        print(f"append: {rate:,.0f} events/s; plain table {rate_plain:,.0f}/s; {wall / wall_plain:.2f} x the time")
        micros, micros_plain = cpu / entries * 1e6, cpu_plain / entries * 1e6
        print(f"        {micros:.1f} CPU us an event; plain table {micros_plain:.1f}; {micros / micros_plain:.2f} x")
        times = prove(ledger, entries)
        median, slow = statistics.median(times), times[int(PROOFS * 0.99)]
        start = time.perf_counter()
        ledger.checkpoint()
        print(f"checkpoint, made and synced: {(time.perf_counter() - start) * 1e3:.1f} ms")
        memory, start = peak_mib(), time.perf_counter()
        found = ledger.verify()
        spent = time.perf_counter() - start
        grown = peak_mib() - memory
        print(
            f"verify: {spent:.1f} s, {entries / spent:,.0f} entries/s; ok: {found.ok}; memory grew by {grown:.0f} MiB"
        )
        leaves = [row["entry"] for row in database.all("SELECT entry FROM ledger_entries ORDER BY idx")]
        start = time.perf_counter()
        merkle.inclusion_proof(leaves, entries // 3)
        rebuilt = time.perf_counter() - start
        del leaves
        print(
            f"proof:  median {median * 1e3:.3f} ms, 99% {slow * 1e3:.3f} ms;"
            f" hashing all leaves {rebuilt * 1e3:,.0f} ms, {rebuilt / median:,.0f} x"
        )
        database.close()
        plain.close()
        size, size_plain = ((folder / file).stat().st_size / entries for file in ("ledger.db", "plain.db"))
        print(f"bytes an event: {size:.0f}; plain table {size_plain:.0f}; {size / size_plain:.2f} x")
    held = rate >= BAR_EVENTS and median < BAR_PROOF_S and found.ok
    print(f"bars: {BAR_EVENTS:,} events/s, proof < {BAR_PROOF_S * 1e3:.0f} ms: {'held' if held else 'MISSED'}")
    return int(not held)


if __name__ == "__main__":
    sys.exit(main())

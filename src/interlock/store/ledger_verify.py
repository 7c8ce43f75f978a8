"""Checking a ledger: all of it recomputed from the entries' bytes, and the first thing that is wrong named.

One pass in the order of the entries, a thousand at a time. It reads a ledger that grows meanwhile: how much there is
to check is settled in one statement at the start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.errors import Finding
from interlock.store.ledger_entries import ERASED, Entry, decode, is_commitment
from interlock.store.ledger_frontier import Frontier, Report
from interlock.store.ledger_signed import SignedStates
from interlock.store.merkle import leaf_hash

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.core.ports import Reader, Row
    from interlock.store.notes import PublicKey

_CHUNK: Final = 1024
_CHUNK_LEVELS: Final = 11  # a chunk of 1024 leaves completes nodes of levels 0 to 10, at most one above
_LISTED: Final = 100
_MAX_LEVEL: Final = 62
_MAX_UNEXPLAINED: Final = 100_000


_ENTRIES: Final = (
    "SELECT e.idx, e.at, e.kind, e.subject, e.actor, e.entry, p.hmac_key, p.payload FROM ledger_entries e"
    " LEFT JOIN ledger_payloads p ON p.idx = e.idx WHERE e.idx >= :low AND e.idx < :high"
)
_ENTRIES_BARE: Final = _ENTRIES.replace("e.kind, e.subject, e.actor", "'' AS kind, '' AS subject, '' AS actor")


class Verification(msgspec.Struct, frozen=True):
    """What checking a ledger found.

    Attributes:
        ok: whether everything stored is what was written.
        entries: how many entries there are.
        checkpoints: how many checkpoints hold.
        erased: how many payloads were erased, each by an event that says so.
        root: the root over all entries, in hexadecimal; "" where it is in doubt.
        first_bad: the smallest index that something is wrong at, or None. A node counts as the first leaf below it, a
            checkpoint as its size, and what lies beyond the entries as their number.
        problems: what is wrong, the first hundred; `rows` holds the index.
    """

    ok: bool
    entries: int
    checkpoints: int
    erased: int
    root: str
    first_bad: int | None
    problems: tuple[Finding, ...]


def verify(reader: Reader, key: PublicKey | None, remembered: str | None) -> Verification:
    """Return what is wrong with the ledger that a reader sees.

    Args:
        reader: the database.
        key: the key that verifies checkpoints, None where none was made.
        remembered: the newest checkpoint that the key is known to have signed.

    Cost: reads everything once; memory for a thousand entries.
    """
    report = Report()
    walk = _Walk(reader, report, key)
    try:
        walk.run(remembered)
    except UnicodeDecodeError as error:
        report.add("unreadable", walk.end, f"A column that places rows holds bytes that are no text: {error}.")
    roots = walk.frontier.roots()
    return Verification(
        ok=not report.findings,
        entries=walk.end,
        checkpoints=walk.signed.sound,
        erased=walk.erased,
        root=roots[0].hex() if len(roots) == 1 else "",
        first_bad=report.first_bad,
        problems=tuple(report.findings),
    )


class _Walk:
    """One check of one ledger."""

    def __init__(self, reader: Reader, report: Report, key: PublicKey | None) -> None:
        self._reader = reader
        self._report = report
        self.frontier = Frontier(self._node, report)
        self.signed = SignedStates(reader, report, key)
        self.end = 0
        self.erased = 0
        self._nodes: dict[tuple[int, int], bytes] = {}
        self._nodes_seen: dict[object, int] = {}
        self._entries_seen = 0
        self._unexplained: set[int] = set()  # payloads that are gone, no event found yet that says why

    def run(self, remembered: str | None) -> None:
        """Check everything; say what is wrong to the report."""
        entries, levels, newest = self._extent()
        self.signed.begin(self.end, newest, self.frontier.roots())
        for low in range(0, self.end, _CHUNK):
            self._chunk(low, min(low + _CHUNK, self.end))
        for index in self._unexplained:
            self._report.add(
                "payload", index, f"The payload of entry {index} is gone, and no event says it was erased."
            )
        if entries > self._entries_seen:
            self._beyond("entry", "ledger_entries WHERE", 0)
        for level, amount in levels.items():
            if amount > self._nodes_seen.get(level, 0):
                self._beyond("node", "ledger_nodes WHERE level = :level AND", level)
        self._orphans()
        self.signed.finish(remembered)

    def _extent(self) -> tuple[int, dict[object, int], object]:
        """Settle how many entries to check; return the numbers of entry rows and node rows, and the last checkpoint."""
        rows = self._reader.all(
            "SELECT 'entries' AS what, 0 AS place, COUNT(*) AS amount FROM ledger_entries"
            " UNION ALL SELECT 'nodes', level, COUNT(*) FROM ledger_nodes GROUP BY level"
            " UNION ALL SELECT 'checkpoints', MAX(size), COUNT(*) FROM ledger_checkpoints"
        )
        entries = next(row["amount"] for row in rows if row["what"] == "entries")
        newest = next(row["place"] for row in rows if row["what"] == "checkpoints")
        levels = {row["place"]: row["amount"] for row in rows if row["what"] == "nodes"}
        # A row put far away does not make the ledger longer; one taken out of one table does not make it shorter.
        counts = self._reader.one(
            "SELECT (SELECT COUNT(*) FROM ledger_entries WHERE idx >= 0 AND idx < :most) AS entries,"
            " (SELECT COUNT(*) FROM ledger_nodes WHERE level = 0 AND idx >= 0 AND idx < :most) AS leaves",
            {"most": max(entries, levels.get(0, 0))},
        )
        self.end = max(counts["entries"], counts["leaves"]) if counts else 0
        return entries, levels, newest

    def _chunk(self, low: int, high: int) -> None:
        rows = self._entries(low, high)
        self._nodes = {}
        for level in range(_CHUNK_LEVELS):
            self._load_nodes(level, low >> level, high >> level)
        signed = self.signed.sizes(low, high)
        for index in range(low, high):
            self.frontier.push(self._entry(index, rows))
            if index + 1 in signed:
                self.signed.check(index + 1, self.frontier.roots())

    def _entries(self, low: int, high: int) -> dict[int, Row | None]:
        """Return the rows of entries and payloads by index; None for one that is there but cannot be read."""
        found: dict[int, Row | None] = {}
        for index, row in self._rows(_ENTRIES, {"low": low, "high": high}):
            self._entries_seen += 1
            if (
                row is None
            ):  # a text column is no text; without these columns, all that hangs on the entry can be checked
                row = next(self._rows(_ENTRIES_BARE, {"low": index, "high": index + 1}), (index, None))[1]  # noqa: PLW2901
                self._report.add("entry", index, f"A column of entry {index} holds bytes that are no text.")
            if row is None or type(row["idx"]) is int:
                found[index] = row
            else:
                self._report.add("entry", self.end, f"An entry is numbered {row['idx']!r}.")
        return found

    def _rows(self, sql: str, values: dict[str, int]) -> Iterator[tuple[int, Row | None]]:
        """Return the rows from index `low` up to `high`, None for one whose text is no text, which SQLite allows."""
        low, high = values["low"], values["high"]
        try:
            for row in self._reader.all(sql, values):
                yield row["idx"], row
        except UnicodeDecodeError:
            if high - low <= 1:
                yield low, None
                return
            middle = (low + high) // 2
            yield from self._rows(sql, values | {"high": middle})
            yield from self._rows(sql, values | {"low": middle})

    def _entry(self, index: int, rows: dict[int, Row | None]) -> bytes | None:
        """Check an entry's columns and payload; return its hash, None where there is none to compute."""
        row = rows.get(index)
        if row is None:
            if index not in rows:
                self._report.add("entry", index, f"Entry {index} is missing.")
            return None
        data = row["entry"]
        if not isinstance(data, bytes):
            self._report.add("entry", index, f"Entry {index} is stored as text.")
            return None
        found, entry = leaf_hash(data), decode(data)
        if entry is None or entry.index != index:
            self._report.add("entry", index, f"Entry {index} does not hold an entry of this index.")
            return found
        wrong = [name for name in ("at", "kind", "subject", "actor") if row[name] != getattr(entry, name)]
        if wrong:
            self._report.add("column", index, f"Entry {index} and its columns differ: {', '.join(wrong)}.")
        self._payload(entry, row)
        if entry.erases is not None and found == self._node(0, index):
            self._erasure(entry.erases, index)
        return found

    def _payload(self, entry: Entry, row: Row) -> None:
        key, payload = row["hmac_key"], row["payload"]
        if key is None and payload is None:
            self.erased += 1
            event = self._reader.one(
                "SELECT idx FROM ledger_entries WHERE subject = :subject AND kind = :kind AND idx > :idx",
                {"subject": f"event:{entry.index}", "kind": ERASED, "idx": entry.index},
            )
            if event is None and len(self._unexplained) < _MAX_UNEXPLAINED:
                self._unexplained.add(entry.index)
        elif not is_commitment(entry.payload, key, payload):
            self._report.add(
                "payload", entry.index, f"The payload of entry {entry.index} is not the one it was made of."
            )

    def _erasure(self, target: int, index: int) -> None:
        """Check an erasure against the payload it erased, by the entry itself: its columns may be wrong."""
        self._unexplained.discard(target)
        if target < index and self._reader.one("SELECT idx FROM ledger_payloads WHERE idx = :idx", {"idx": target}):
            self._report.add(
                "payload", target, f"The payload of entry {target} was erased by {index}, and is there again."
            )

    def _load_nodes(self, level: int, low: int, high: int) -> None:
        sql = "SELECT idx, hash FROM ledger_nodes WHERE level = :level AND idx >= :low AND idx < :high"
        for index, row in self._rows(sql, {"level": level, "low": low, "high": high}):
            self._nodes_seen[level] = self._nodes_seen.get(level, 0) + 1
            found = row["hash"] if row else None
            # What is no hash is as wrong as a wrong one, but it is not missing.
            self._nodes[level, index] = found if isinstance(found, bytes) else b""
            if type(index) is not int:
                self._report.add("node", self.end, f"A hash of level {level} is numbered {index!r}.")

    def _node(self, level: int, index: int) -> bytes | None:
        if level >= _CHUNK_LEVELS and (level, index) not in self._nodes:
            self._load_nodes(level, index, index + 1)
        return self._nodes.get((level, index))

    def _beyond(self, what: str, where: str, level: object) -> None:
        """Name the rows of a table that lie where none can be."""
        shift = level if type(level) is int and 0 <= level <= _MAX_LEVEL else None
        rows = self._reader.all(
            f"SELECT idx FROM {where} (idx < 0 OR idx >= :first) ORDER BY idx LIMIT :limit",  # noqa: S608 - our own words
            {"level": level, "first": 0 if shift is None else self.end >> shift, "limit": _LISTED},
        )
        for row in rows:
            index = row["idx"]
            place = self.end if shift is None or type(index) is not int else max(self.end, index << shift)
            self._report.add(what, place, f"There is a {what} at {index!r} (level {level!r}), where none can be.")

    def _orphans(self) -> None:
        rows = self._reader.all(
            "SELECT p.idx FROM ledger_payloads p LEFT JOIN ledger_entries e ON e.idx = p.idx WHERE e.idx IS NULL"
            " ORDER BY p.idx LIMIT :limit",
            {"limit": _LISTED},
        )
        for row in rows:
            index = row["idx"]
            place = index if type(index) is int and index >= 0 else self.end
            self._report.add("payload", place, f"There is a payload for {index!r}, where there is no entry.")

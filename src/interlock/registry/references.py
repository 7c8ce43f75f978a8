"""What names which object: every table is searched, and every object that is text.

A table that nobody thought of is searched too, so a room that keeps a digest anywhere keeps its object. Tables that
hold no digests of objects are named here and left out, because some of them are large.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from interlock.core.ports import ObjectStore, Reader

# Series and the tree of the ledger hold digests of other things than objects.
NO_OBJECTS: Final = frozenset(
    {
        "ledger_checkpoints",
        "ledger_entries",
        "ledger_nodes",
        "ledger_payloads",  # read by kind, see below
        "metric_inbox",
        "metric_latest",
        "metric_segments",
        "run_log_parts",  # what programs printed
        "schema_migrations",
    }
)
# These events name files that their owner may have taken away since; the tables say which are still there.
OF_FILES: Final = (
    "run.artifact_logged",
    "logged_model.artifact_logged",
    "trace.artifact_logged",
    "objects.removed",
)
_DIGEST: Final = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_DIGEST_LENGTH: Final = 64
_SMALL: Final = 1 << 20
_TEXTUAL: Final = frozenset({b"{", b"["})
_PAGE: Final = 5000
_NUMBERS: Final = frozenset({"BIGINT", "DOUBLE PRECISION", "INTEGER", "REAL"})


def digests_in(data: bytes) -> set[str]:
    """Return what looks like a digest in some bytes."""
    return {found.decode() for found in _DIGEST.findall(data)}


def roots(reader: Reader) -> set[str]:
    """Return every digest that a table names.

    Cost: reads each column of each table once, but for the tables of `NO_OBJECTS`.
    """
    found: set[str] = set()
    for table, columns in _tables(reader):
        for column in columns:
            values = reader.all(
                f'SELECT DISTINCT "{column}" AS value FROM "{table}" WHERE length("{column}") >= {_DIGEST_LENGTH}'  # noqa: S608 - names of the schema
            )
            for row in values:
                found |= digests_in(_bytes(row["value"]))
    return found | _named_by_events(reader)


def closure(objects: ObjectStore, found: Iterable[str], known: dict[str, set[str]]) -> set[str]:
    """Return objects with all that they name, directly or through others: manifests, records, trees of values.

    Args:
        objects: where they rest.
        found: digests to begin with; those that are no objects here are left out.
        known: what objects name, as far as it was looked up before; what is looked up now is added.

    Raises:
        Corrupt: an object that others need has changed, so nobody can say what it named.

    Cost: reads each object that is small or JSON once.
    """
    reached: set[str] = set()
    waiting = list(found)
    while waiting:
        digest = waiting.pop()
        size = None if digest in reached else objects.size(digest)
        if size is not None:
            reached.add(digest)
            if digest not in known:
                known[digest] = digests_in(_text_of(objects, digest, size))
            waiting += known[digest] - reached
    return reached


def _text_of(objects: ObjectStore, digest: str, size: int) -> bytes:
    """Return the bytes of an object that may name others; none of a large one that is no JSON."""
    if size > _SMALL:
        with objects.open(digest) as source:
            if source.read(1) not in _TEXTUAL:
                return b""
    return objects.get(digest)


def _tables(reader: Reader) -> Iterator[tuple[str, list[str]]]:
    names = reader.all("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
    for row in names:
        if row["name"] not in NO_OBJECTS:
            columns = reader.all("SELECT name, type FROM pragma_table_info(:name)", {"name": row["name"]})
            yield row["name"], [column["name"] for column in columns if column["type"] not in _NUMBERS]


def _named_by_events(reader: Reader) -> set[str]:
    kinds: dict[str, Any] = {f"kind{number}": kind for number, kind in enumerate(OF_FILES)}
    query = (
        "SELECT p.idx, p.payload FROM ledger_payloads p JOIN ledger_entries e ON e.idx = p.idx"  # noqa: S608 - our names
        f" WHERE p.idx > :after AND e.kind NOT IN ({', '.join(f':{name}' for name in kinds)})"
        f" ORDER BY p.idx LIMIT {_PAGE}"
    )
    found: set[str] = set()
    after = -1
    while rows := reader.all(query, kinds | {"after": after}):
        after = rows[-1]["idx"]
        for row in rows:
            found |= digests_in(_bytes(row["payload"]))
    return found


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)

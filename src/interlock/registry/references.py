"""What names which object: columns of tables (see `store.tables`), and objects that name others.

Nothing is read whole. A record of ours is read and checked from its first byte to its last, in pieces; of other objects
only those that are small or begin like JSON are, since nothing else that we write names anything. What looks like a
digest counts as one, so that too much is kept rather than too little.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

from interlock.core.errors import Conflict, NotFound
from interlock.store.migrations import migrations
from interlock.store.objects import changed
from interlock.store.tables import EVENTS_OF_FILES, TABLES, undeclared

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from interlock.core.ports import ObjectStore, Reader, Row
    from interlock.store.tables import Table

LIST_EVENT: Final = "objects.removed"  # names a list of what went, which is kept; what stands in it is not
_DIGEST: Final = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_DIGEST_LENGTH: Final = 64
_SMALL: Final = 1 << 20
_CHUNK: Final = 1 << 20
_PAGE: Final = 1000
_EVENTS: Final = "ledger_payloads"


class Name(NamedTuple):
    """A digest that something names: what it is called in reports, and whether it is a record, any bytes or a list."""

    digest: str
    kind: str
    how: str


def check_declared() -> None:
    """Accept a schema of which every column says whether it names objects.

    Raises:
        Conflict: one does not.
    """
    if missing := undeclared(migrations()):
        raise Conflict(
            f"Nothing says whether these columns name objects: {', '.join(missing)}.",
            about="database",
            hint="Say it in store/tables.py; until then, nothing is removed.",
        )


def names(reader: Reader) -> Iterator[Name]:
    """Return what the tables name, one after the other in the order of `TABLES`.

    Args:
        reader: a snapshot, so that a row that moves from one page to another is not missed.

    Cost: reads each row of the tables that name objects once, a page at a time.
    """
    for name, table in TABLES.items():
        if name == _EVENTS:
            yield from events_after(reader, -1)
        elif table.names:
            for row in _rows(reader, name, table):
                yield from _named(table, row)


def events_after(reader: Reader, after: int) -> Iterator[Name]:
    """Return what the events after one (-1: all) name."""
    kind = TABLES[_EVENTS].names["payload"].kind
    left_out: dict[str, Any] = {f"kind{number}": name for number, name in enumerate(EVENTS_OF_FILES)}
    query = (
        "SELECT p.idx, e.kind, p.payload FROM ledger_payloads p JOIN ledger_entries e ON e.idx = p.idx"  # noqa: S608 - our names
        f" WHERE p.idx > :after AND e.kind NOT IN ({', '.join(f':{name}' for name in left_out)})"
        f" ORDER BY p.idx LIMIT {_PAGE}"
    )
    while rows := reader.all(query, left_out | {"after": after}):
        after = rows[-1]["idx"]
        for row in rows:
            how = "list" if row["kind"] == LIST_EVENT else "inside"
            yield from (Name(digest, kind, how) for digest in digests_in(_bytes(row["payload"])))


def last_event(reader: Reader) -> int:
    """Return the number of the newest event; -1 when there is none."""
    found = reader.one("SELECT max(idx) AS idx FROM ledger_payloads")
    return -1 if found is None or found["idx"] is None else int(found["idx"])


def named_among(reader: Reader, digests: Sequence[str], after: int) -> set[str]:
    """Return which of some digests are named by a column that holds digests, or by an event after one.

    Cost: compares these columns once, in the database.
    """
    values = {f"d{number}": digest for number, digest in enumerate(digests)}
    listed = ", ".join(f":{name}" for name in values)
    found = {name.digest for name in events_after(reader, after)}
    for name, table in TABLES.items():
        columns = [column for column, naming in table.names.items() if naming.how != "inside"]
        if columns:
            either = " OR ".join(f"{column} IN ({listed})" for column in columns)
            rows = reader.all(f"SELECT {', '.join(columns)} FROM {name} WHERE {either}", values)  # noqa: S608 - ours
            found.update(value for row in rows for value in row.values())
    return found & set(digests)


def reached(objects: ObjectStore, here: Collection[str], named: Sequence[Name]) -> dict[str, str]:
    """Return the objects that something names, directly or through others, by digest, with their kinds.

    Args:
        objects: where they rest.
        here: the digests of all objects.
        named: what the tables name; the first to reach an object says its kind.

    Raises:
        Corrupt: a record that others need has changed, so nobody can say what it named.

    Cost: reads each object that may name others once, a piece at a time; memory for a digest an object.
    """
    kinds: dict[str, str] = {}
    records = {name.digest for name in named if name.how == "records"}
    lists = {name.digest for name in named if name.how == "list"}
    for name in named:
        waiting = [name.digest]
        while waiting:
            digest = waiting.pop()
            if digest in here and digest not in kinds:
                kinds[digest] = name.kind
                if digest in records or digest not in lists:
                    waiting += _named_by(objects, digest, whole=digest in records)
    return kinds


def digests_in(data: bytes) -> set[str]:
    """Return what looks like a digest in some bytes."""
    return {found.decode() for found in _DIGEST.findall(data)}


def _named_by(objects: ObjectStore, digest: str, *, whole: bool) -> set[str]:
    """Return what an object names; nothing where it names nothing, or was removed meanwhile."""
    try:
        source = objects.open(digest)
    except NotFound:
        return set()
    with source:
        if not whole and (objects.size(digest) or 0) > _SMALL and not _begins_like_json(source):
            return set()
        source.seek(0)
        return scan(source, digest)


def _begins_like_json(source: BinaryIO) -> bool:
    """Return whether a file could be JSON that names something: a first piece of blanks could be, too."""
    head = source.read(_DIGEST_LENGTH).removeprefix(b"\xef\xbb\xbf").lstrip()
    return head[:1] in {b"", b"{", b"["}


def scan(source: BinaryIO, digest: str) -> set[str]:
    """Return what looks like a digest in a file, whose own digest is checked. Cost: one piece of memory."""
    checker, found, kept = hashlib.sha256(), set(), b"\n"
    while True:
        chunk = source.read(_CHUNK)
        checker.update(chunk)
        data = kept + chunk
        # One that touches the end may go on in the next piece; the first byte only tells what was before.
        for match in _DIGEST.finditer(data, 1):
            if match.end() < len(data) or not chunk:
                found.add(match[0].decode())
        if not chunk:
            break
        kept = data[-_DIGEST_LENGTH - 1 :]
    if checker.hexdigest() != digest:
        raise changed(digest)
    return found


def _rows(reader: Reader, name: str, table: Table) -> Iterator[Row]:
    """Return the rows of a table, page by page along its key."""
    columns = ", ".join((*table.key, *(column for column in table.names if column not in table.key)))
    keys = ", ".join(table.key)
    marks = ", ".join(f":k{number}" for number in range(len(table.key)))
    after = ""
    values: dict[str, Any] = {}
    while rows := reader.all(f"SELECT {columns} FROM {name}{after} ORDER BY {keys} LIMIT {_PAGE}", values):  # noqa: S608 - ours
        yield from rows
        after = f" WHERE ({keys}) > ({marks})"
        values = {f"k{number}": rows[-1][key] for number, key in enumerate(table.key)}


def _named(table: Table, row: Row) -> Iterator[Name]:
    for column, naming in table.names.items():
        for digest in digests_in(_bytes(row[column])):
            yield Name(digest, naming.kind, naming.how)


def _bytes(value: Any) -> bytes:
    if value is None:
        return b""
    return value.encode() if isinstance(value, str) else bytes(value)

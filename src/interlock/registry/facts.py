"""What searches know of a version beside its row: params, metrics, features and data, copied when it is registered.

They are copies of the version's pins and files, which never change, so neither do these. What is damaged when it is to
be copied is told in the log and tried again, a while later, until it can be read; the rest is found meanwhile.
"""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakKeyDictionary

import msgspec

from interlock.core.errors import Corrupt, Invalid, NotFound, StorageFull
from interlock.core.refs import parse
from interlock.registry import pins
from interlock.registry.content import look
from interlock.registry.records import Facts, Feature

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interlock.core.ports import Reader, Row, Transaction
    from interlock.registry.records import ModelVersion, Pins
    from interlock.store import Store

_BATCH: Final = 100
_PAUSE_S: Final = 30.0  # between two looks of one process at what is damaged: searches are many
_DAMAGES: Final = (NotFound, Corrupt, msgspec.MsgspecError, OSError)
_log = logging.getLogger(__name__)


class _Look(NamedTuple):
    """When something damaged was looked at, in seconds of a clock that only goes on, and what was wrong."""

    at: float
    wrong: str


_looked: WeakKeyDictionary[Store, dict[tuple[str, int], _Look]] = WeakKeyDictionary()


def write_facts(tx: Transaction, model: str, version: int, facts: Facts) -> None:
    """Copy what is known of a version, once, in the caller's transaction."""
    key: dict[str, Any] = {"model": model, "version": version}
    for table, rows in _rows(facts).items():
        _insert(tx, table, key, rows)
    tx.run("UPDATE model_versions SET facts = 1 WHERE model = :model AND version = :version", key)


def _rows(facts: Facts) -> dict[str, list[dict[str, Any]]]:
    """Return the rows that hold what is known of a version, by their table."""
    return {
        "model_version_params": [{"name": name, "value": value} for name, value in facts.params.items()],
        "model_version_metrics": [{"key": name, "value": _number(text)} for name, text in facts.metrics.items()],
        "model_version_features": [
            {"name": feature.name, "type": feature.type, "position": position}
            for position, feature in enumerate(facts.features, 1)
        ],
        "model_version_data": [{"name": name, "number": number} for name, number in sorted(set(_datasets(facts.data)))],
    }


def _insert(tx: Transaction, table: str, key: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    if rows:
        columns = [*key, *rows[0]]
        marks = ", ".join(f":{column}" for column in columns)
        tx.run_many(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", [key | row for row in rows])  # noqa: S608 - our names


def features_of_version(store: Store, version: ModelVersion) -> list[Feature]:
    """Return the columns that a version's model takes, in its order.

    Raises:
        NotFound: a file of it is not here any more.
        Corrupt: a file that says it has changed.
    """
    complete(store)
    key = {"model": version.model, "version": version.version}
    where = "WHERE model = :model AND version = :version"
    done = store.database.one(f"SELECT facts FROM model_versions {where}", key)  # noqa: S608 - a constant
    if done is not None and not done["facts"]:
        return list(_features(store, version.bundle))
    query = f"SELECT name, type FROM model_version_features {where} ORDER BY position"  # noqa: S608 - a constant
    return [Feature(row["name"], row["type"]) for row in store.database.all(query, key)]


def complete(store: Store) -> None:
    """Copy what is known of versions that were registered before this was done.

    What is damaged is told in the log once, and looked at again after half a minute. Where the disk is full it stays as
    it is: searches go on without it until there is room.

    Cost: one look-up in an index that is empty where there are none.
    """
    query = (
        "SELECT model, version, bundle, pins, data FROM model_versions"  # noqa: S608 - a number of ours
        f" WHERE facts = 0 AND (model, version) > (:model, :version) ORDER BY model, version LIMIT {_BATCH}"
    )
    last: dict[str, Any] = {"model": "", "version": 0}
    while rows := store.database.all(query, last):
        last = {"model": rows[-1]["model"], "version": rows[-1]["version"]}
        found = [(row, *_read(store, row)) for row in rows if _due(store, row)]
        found = [one for one in found if one[2] or _lacking(store.database, one[0], one[1])]
        if not found:
            continue

        def change(tx: Transaction, found: list[tuple[Row, Facts, bool]] = found) -> None:
            for row, facts, whole in found:
                _settle(tx, row, facts, whole=whole)

        try:
            store.database.write(change)
        except StorageFull:
            return


def _settle(tx: Transaction, row: Row, facts: Facts, *, whole: bool) -> None:
    """Write what was read of a version, unless somebody else did it, or gave the model another name."""
    key = {"model": row["model"], "version": row["version"]}
    now = tx.one("SELECT facts FROM model_versions WHERE model = :model AND version = :version", key)
    if now is None or now["facts"]:
        return
    if not whole:
        for table in _lacking(tx, row, facts):
            _insert(tx, table, key, _rows(facts)[table])
        return
    for table in _rows(facts):
        tx.run(f"DELETE FROM {table} WHERE model = :model AND version = :version", key)  # noqa: S608 - our names
    write_facts(tx, row["model"], row["version"], facts)


def _lacking(reader: Reader, row: Row, facts: Facts) -> list[str]:
    """Return the tables that hold nothing of a version although something of it was read."""
    key = {"model": row["model"], "version": row["version"]}
    query = "SELECT 1 AS one FROM {} WHERE model = :model AND version = :version LIMIT 1"
    return [table for table, rows in _rows(facts).items() if rows and reader.one(query.format(table), key) is None]


def _due(store: Store, row: Row) -> bool:
    """Return whether a version may be looked at: it is not damaged, or that was seen some while ago."""
    seen = _looked.get(store, {}).get((row["model"], row["version"]))
    return seen is None or time.monotonic() - seen.at >= _PAUSE_S


def _read(store: Store, row: Row) -> tuple[Facts, bool]:
    """Return what is copied of a version, and whether that is all of it; each part is read on its own."""
    held: Pins | None = None
    features: tuple[Feature, ...] = ()
    wrong = []
    try:
        held = pins.read(store.objects, row["pins"])
    except _DAMAGES as error:
        wrong.append(f"params and metrics: {error}")
    try:
        features = _features(store, row["bundle"])
    except _DAMAGES as error:
        wrong.append(f"features: {error}")
    _tell(store, row, "; ".join(wrong))
    refs = held.data if held and held.data else tuple(filter(None, row["data"].split("\n")))
    return Facts(held.params if held else {}, held.metrics if held else {}, refs, features), not wrong


def _features(store: Store, bundle: str) -> tuple[Feature, ...]:
    """Return the columns that a version's files say its model takes; none where they are no model."""
    try:
        return look(store.objects, bundle).features
    except Invalid:  # it is whole, and will never say more
        return ()


def _tell(store: Store, row: Row, wrong: str) -> None:
    """Log what cannot be read of a version, when it is new, and remember it; or forget what was."""
    looks, key = _looked.setdefault(store, {}), (row["model"], row["version"])
    before = looks.pop(key, None)
    if wrong:
        looks[key] = _Look(time.monotonic(), wrong)
        if before is None or before.wrong != wrong:
            _log.warning("model:%s@%d is not found by all that it is, for it cannot be read: %s", *key, wrong)


def _number(text: str) -> float | None:
    number = float(text)
    return None if math.isnan(number) else number


def _datasets(refs: Iterable[str]) -> Iterable[tuple[str, int]]:
    """Return names and versions of datasets; what is no reference of ours is a name without a version, 0."""
    for text in refs:
        try:
            ref = parse(text, "data")
        except Invalid:
            yield text, 0
        else:
            yield ref.name, ref.version or 0

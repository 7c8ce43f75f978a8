"""What searches know of a version beside its row: params, metrics, features and data, copied when it is registered.

They are copies of the version's pins and files, which never change, so neither do these.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from interlock.core.errors import Corrupt, Invalid, NotFound
from interlock.core.refs import parse
from interlock.registry import pins
from interlock.registry.content import look
from interlock.registry.records import Facts, Feature

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interlock.core.ports import Transaction
    from interlock.registry.records import ModelVersion, Pins
    from interlock.store import Store

_BATCH: Final = 100


def write_facts(tx: Transaction, model: str, version: int, facts: Facts) -> None:
    """Copy what is known of a version, once, in the caller's transaction."""
    key: dict[str, Any] = {"model": model, "version": version}
    tx.run_many(
        "INSERT INTO model_version_params (model, version, name, value) VALUES (:model, :version, :name, :value)",
        [key | {"name": name, "value": value} for name, value in facts.params.items()],
    )
    tx.run_many(
        "INSERT INTO model_version_metrics (model, version, key, value) VALUES (:model, :version, :key, :value)",
        [key | {"key": name, "value": _number(text)} for name, text in facts.metrics.items()],
    )
    tx.run_many(
        "INSERT INTO model_version_features (model, version, name, type, position)"
        " VALUES (:model, :version, :name, :type, :position)",
        [
            key | {"name": feature.name, "type": feature.type, "position": position}
            for position, feature in enumerate(facts.features, 1)
        ],
    )
    tx.run_many(
        "INSERT INTO model_version_data (model, version, name, number) VALUES (:model, :version, :name, :number)",
        [key | {"name": name, "number": number} for name, number in sorted(set(_datasets(facts.data)))],
    )
    tx.run("UPDATE model_versions SET facts = 1 WHERE model = :model AND version = :version", key)


def features_of_version(store: Store, version: ModelVersion) -> list[Feature]:
    """Return the columns that a version's model takes, in its order."""
    complete(store)
    rows = store.database.all(
        "SELECT name, type FROM model_version_features WHERE model = :model AND version = :version ORDER BY position",
        {"model": version.model, "version": version.version},
    )
    return [Feature(row["name"], row["type"]) for row in rows]


def complete(store: Store) -> None:
    """Copy what is known of versions that were registered before this was done.

    Cost: one look-up in an index that is empty where there are none.
    """
    query = "SELECT model, version, bundle, pins, data FROM model_versions WHERE facts = 0"
    while rows := store.database.all(f"{query} ORDER BY model, version LIMIT {_BATCH}"):
        found = [
            (row["model"], row["version"], _read(store, row["bundle"], row["pins"], row["data"].split("\n")))
            for row in rows
        ]

        def change(tx: Transaction, found: list[tuple[str, int, Facts]] = found) -> None:
            for model, version, facts in found:
                row = tx.one(
                    "SELECT facts FROM model_versions WHERE model = :model AND version = :version",
                    {"model": model, "version": version},
                )
                if row is not None and not row["facts"]:  # nobody else did it, or gave the model another name
                    write_facts(tx, model, version, facts)

        store.database.write(change)


def _read(store: Store, bundle: str, pinned: str, data: Iterable[str]) -> Facts:
    """Return what is copied of a version; what can no longer be read is left out."""
    held: Pins | None = None
    features: tuple[Feature, ...] = ()
    try:
        held = pins.read(store.objects, pinned)
        features = look(store.objects, bundle).features
    except (NotFound, Invalid, Corrupt):
        pass
    refs = held.data if held and held.data else tuple(filter(None, data))
    return Facts(held.params if held else {}, held.metrics if held else {}, refs, features)


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

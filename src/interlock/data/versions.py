"""How datasets and their versions are written: rows and events, in one transaction."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import msgspec

from interlock.core.clock import to_micros
from interlock.core.errors import Conflict
from interlock.core.refs import Ref
from interlock.data.contract import Contract
from interlock.data.records import DatasetVersion

if TYPE_CHECKING:
    import polars as pl

    from interlock.core.ports import Transaction
    from interlock.store import Store


def insert(store: Store, tx: Transaction, draft: DatasetVersion, *, seen: str, said: str | None) -> DatasetVersion:
    """Return the version that a draft became: the newest when its rows are the same, else the next number.

    Args:
        store: the workspace.
        tx: the transaction.
        draft: the version but for its number.
        seen: the contract that the dataset had when the draft was judged.
        said: the declaration that comes with it, or None when the present one stays.

    Raises:
        Conflict: somebody else changed the contract meanwhile.
    """
    name = draft.name
    row = tx.one("SELECT record FROM dataset_versions WHERE name = :name ORDER BY version DESC LIMIT 1", {"name": name})
    newest = msgspec.json.decode(row["record"], type=DatasetVersion) if row else None
    same = newest if newest and newest.digest == draft.digest else None
    if same and said is None:
        return same
    held = tx.one("SELECT declaration, contract FROM datasets WHERE name = :name", {"name": name})
    before = (held["declaration"], held["contract"]) if held else ("", "")
    if before[1] not in {seen, draft.contract}:
        raise Conflict(
            f"The contract of dataset {name!r} was changed meanwhile.", about="dataset_version", hint="Try again."
        )
    after = (before[0] if said is None else said, draft.contract)
    if before != after:
        write_dataset(store, tx, name, after)
    if same:
        return same
    version = newest.version + 1 if newest else 1
    made = msgspec.structs.replace(draft, version=version, ref=str(Ref("data", name, version)))
    _write_version(store, tx, made)
    return made


def _write_version(store: Store, tx: Transaction, made: DatasetVersion) -> None:
    """Write a version's row and its event."""
    tx.run(
        "INSERT INTO dataset_versions (name, version, digest, rows, profile, contract, record, created_at)"
        " VALUES (:name, :version, :digest, :rows, :profile, :contract, :record, :at)",
        {
            "name": made.name,
            "version": made.version,
            "digest": made.digest,
            "rows": made.rows,
            "profile": made.profile,
            "contract": made.contract,
            "record": msgspec.json.encode(made),
            "at": to_micros(made.created_at),
        },
    )
    data = {
        "digest": made.digest,
        "rows": made.rows,
        "sources": [source.digest for source in made.sources] + [*made.parents],
        "contract": made.contract,
    }
    store.ledger.append(tx, "dataset_version.created", made.ref, data)


def write_dataset(store: Store, tx: Transaction, name: str, digests: tuple[str, str]) -> None:
    """Write a dataset's row and the event of its contract.

    Args:
        store: the workspace.
        tx: the transaction.
        name: the dataset.
        digests: of its declaration and of its contract, each "" where there is none.
    """
    declaration, contract = digests
    tx.run(
        "INSERT INTO datasets (name, created_at, declaration, contract)"
        " VALUES (:name, :at, :declaration, :contract)"
        " ON CONFLICT (name) DO UPDATE SET declaration = excluded.declaration, contract = excluded.contract",
        {"name": name, "at": to_micros(store.clock.now()), "declaration": declaration, "contract": contract},
    )
    columns = len(msgspec.json.decode(store.objects.get(contract), type=Contract).columns) if contract else 0
    store.ledger.append(tx, "contract.set", f"data:{name}", {"digest": contract, "columns": columns})


def to_parquet(frame: pl.DataFrame) -> bytes:
    """Return the rows as the bytes of a Parquet file."""
    sink = io.BytesIO()
    frame.write_parquet(sink, compression="zstd")
    return sink.getvalue()

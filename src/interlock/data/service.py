"""The data service: datasets in, versions out."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from interlock.core.canonical import digest as object_digest
from interlock.core.clock import from_micros
from interlock.core.errors import Finding, Invalid, NotFound
from interlock.core.files import StoredFile
from interlock.core.operations import Permission, operation
from interlock.core.refs import LATEST, check_name, parse
from interlock.data.contract import Contract
from interlock.data.profile import Profile, profile
from interlock.data.read import Rows, read_files, read_paths
from interlock.data.records import Dataset, DatasetVersion, Declaration
from interlock.data.validate import check_target, derived, refuse, validate
from interlock.data.versions import insert, to_parquet, write_dataset

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import polars as pl

    from interlock.core.ports import Transaction
    from interlock.store import Store


Files = list[StoredFile]
Findings = list[Finding]
Datasets = list[Dataset]
Versions = list[DatasetVersion]


class _Origin(NamedTuple):
    """What a version was made from: files and the condition on their rows, or other things."""

    sources: tuple[StoredFile, ...] = ()
    where: str = ""
    parents: tuple[str, ...] = ()


class DataService:
    """Datasets: ingest, validate, profile, contracts, versions."""

    name = "data"

    def __init__(self, store: Store) -> None:
        self._store = store

    @operation(Permission.DATA_WRITE, emits=("contract.set",))
    def declare(self, name: str, declaration: Declaration) -> Dataset:
        """Say which columns of a dataset mean what, and what its contract must hold.

        Args:
            name: the dataset; it is made if it is new.
            declaration: id, time, target, sensitive columns, and edits of the contract.

        Raises:
            Invalid: a role or an edit names a column that the dataset does not have, or does not fit its column; of a
                dataset without a version, that is told at the first.
        """
        check_name(name, "dataset")
        store = self._store
        made = self._made(name, declaration)
        contract = store.objects.put(msgspec.json.encode(made)) if made else ""
        digest = store.objects.put(msgspec.json.encode(declaration))

        def change(tx: Transaction) -> None:
            row = tx.one("SELECT declaration, contract FROM datasets WHERE name = :name", {"name": name})
            if row and (row["declaration"], row["contract"]) == (digest, contract):
                return
            write_dataset(store, tx, name, (digest, contract))

        store.database.write(change)
        return self.show(name)

    @operation(Permission.DATA_WRITE, emits=("dataset_version.created", "contract.set"))
    def ingest(self, name: str, files: Files, where: str = "") -> DatasetVersion:
        """Store the rows of files as the next version of a dataset, if they fulfil its contract.

        The first version's contract is inferred from its rows. Rows equal to the newest version's make no new version.

        Args:
            name: the dataset; it is made if it is new.
            files: Parquet or CSV files, read in this order.
            where: a condition on rows, such as "AGEP BETWEEN 18 AND 54".

        Raises:
            Invalid: a file cannot be read, or breaks the contract; `findings` name columns and rows; nothing is stored.
        """
        check_name(name, "dataset")
        rows = read_files(self._store.uploads, files, where, self._contract(name))
        return self._add(name, rows.frame, _Origin(tuple(files), where), rows=rows)

    @operation(Permission.DATA_READ)
    def validate(self, name: str, files: Files, where: str = "") -> Findings:
        """List what is wrong with files as the next version of a dataset; nothing is stored.

        Args:
            name: the dataset whose contract is asked.
            files: Parquet or CSV files.
            where: a condition on rows.

        Raises:
            NotFound: the dataset has no contract yet.
            Invalid: a file cannot be read at all.
        """
        contract = self.contract(name)
        rows = read_files(self._store.uploads, files, where, contract)
        return rows.told(validate(rows.frame, contract))

    @operation(Permission.DATA_READ)
    def list(self) -> Datasets:
        """List all datasets."""
        rows = self._store.database.all("SELECT name FROM datasets ORDER BY name")
        return [self.show(row["name"]) for row in rows]

    @operation(Permission.DATA_READ)
    def show(self, name: str) -> Dataset:
        """Show one dataset.

        Args:
            name: the dataset.

        Raises:
            NotFound: there is none of this name.
        """
        store = self._store
        row = store.database.one("SELECT * FROM datasets WHERE name = :name", {"name": name})
        if row is None:
            raise NotFound.named("dataset", name, self._names())
        versions = store.database.all(
            "SELECT rows FROM dataset_versions WHERE name = :name ORDER BY version", {"name": name}
        )
        return Dataset(
            name,
            len(versions),
            versions[-1]["rows"] if versions else 0,
            self.declaration(name),
            from_micros(row["created_at"]),
        )

    @operation(Permission.DATA_READ)
    def version(self, ref: str) -> DatasetVersion:
        """Show one version of a dataset.

        Args:
            ref: such as data:people@1; without a version, the newest.

        Raises:
            NotFound: there is no such version.
        """
        wanted = parse(ref, "data")
        newest = "version = (SELECT max(version) FROM dataset_versions WHERE name = :name)"
        if wanted.alias not in {"", LATEST}:
            raise Invalid(
                f"A dataset has no alias {wanted.alias!r}; write a number or 'latest'.", about="dataset_version"
            )
        row = self._store.database.one(
            f"SELECT record FROM dataset_versions WHERE name = :name AND {'version = :version' if wanted.version else newest}",  # noqa: S608, E501 - both halves are ours
            {"name": wanted.name, "version": wanted.version},
        )
        if row is None:
            known = [v.ref for v in self.versions(wanted.name)] if wanted.version else self._names()
            raise NotFound.named("dataset_version", str(wanted), known)
        return msgspec.json.decode(row["record"], type=DatasetVersion)

    @operation(Permission.DATA_READ)
    def versions(self, name: str) -> Versions:
        """List the versions of a dataset, oldest first.

        Args:
            name: the dataset.
        """
        rows = self._store.database.all(
            "SELECT record FROM dataset_versions WHERE name = :name ORDER BY version",
            {"name": parse(name, "data").name},
        )
        return [msgspec.json.decode(row["record"], type=DatasetVersion) for row in rows]

    @operation(Permission.DATA_READ)
    def profile(self, ref: str) -> Profile:
        """Show what a version holds, column by column.

        Args:
            ref: the version, such as data:people@1.
        """
        return msgspec.json.decode(self._store.objects.get(self.version(ref).profile), type=Profile)

    @operation(Permission.DATA_READ)
    def contract(self, name: str) -> Contract:
        """Show what the next version of a dataset must look like.

        Args:
            name: the dataset.

        Raises:
            NotFound: the dataset does not exist, or has no contract before its first version.
        """
        found = self._contract(parse(name, "data").name)
        if found is None:
            self.show(name)
            raise NotFound(f"Dataset {name!r} has no contract yet.", about="contract", hint="Ingest a first version.")
        return found

    def declaration(self, name: str) -> Declaration:
        """Return what the owner said of a dataset; empty when nothing was said."""
        row = self._store.database.one("SELECT declaration FROM datasets WHERE name = :name", {"name": name})
        if row is None or not row["declaration"]:
            return Declaration()
        return msgspec.json.decode(self._store.objects.get(row["declaration"]), type=Declaration)

    def frame(self, ref: str) -> pl.DataFrame:
        """Return the rows of a version as a Polars frame."""
        import io

        import polars as pl

        return pl.read_parquet(io.BytesIO(self._store.objects.get(self.version(ref).digest)))

    def is_declared(self, name: str, declaration: Declaration) -> bool:
        """Return whether a dataset is as a declaration says, its contract too.

        Raises:
            Invalid: the declaration does not fit the dataset.
        """
        made = self._made(name, declaration)
        contract = object_digest(msgspec.json.encode(made)) if made else ""
        row = self._store.database.one("SELECT contract FROM datasets WHERE name = :name", {"name": name})
        return row is not None and row["contract"] == contract and self.declaration(name) == declaration

    def check(self, name: str, declaration: Declaration, paths: Sequence[Path], where: str) -> tuple[str, ...]:
        """Return the columns that `bring` would store of files of this machine; nothing is stored.

        Raises:
            Invalid: as `bring`.

        Cost: reads the files.
        """
        check_name(name, "dataset")
        rows = read_paths([(path, path.name) for path in paths], where, self._made(name, declaration))
        self._judged(name, rows.frame, declaration, rows)
        return tuple(rows.frame.columns)

    def bring(self, name: str, declaration: Declaration, files: Files, where: str) -> DatasetVersion:
        """Return the version that files became under what their owner says of them: both are kept, or neither.

        Raises:
            Invalid: as `declare` and `ingest`.
        """
        check_name(name, "dataset")
        rows = read_files(self._store.uploads, files, where, self._made(name, declaration))
        return self._add(name, rows.frame, _Origin(tuple(files), where), declaration, rows)

    def add(
        self,
        name: str,
        frame: pl.DataFrame,
        *,
        sources: tuple[StoredFile, ...] = (),
        where: str = "",
        parents: tuple[str, ...] = (),
    ) -> DatasetVersion:
        """Return the version that a table became: the way in for tables that are in memory already.

        Raises:
            Invalid: the table breaks the contract, or lacks a column that a role names; nothing is stored.
            Conflict: somebody else changed the contract meanwhile.
        """
        return self._add(name, frame, _Origin(sources, where, parents))

    def _made(self, name: str, declaration: Declaration) -> Contract | None:
        """Return the contract that a dataset's first version and these words of its owner make; None without any."""
        first = self._first(name)
        return derived(name, declaration, first) if first else None

    def _judged(
        self, name: str, frame: pl.DataFrame, declaration: Declaration | None, rows: Rows | None
    ) -> tuple[Profile, Contract]:
        """Return the profile of a table, and the contract that it fulfils: the present one, or a declaration's.

        Raises:
            Invalid: it does not.
        """
        described, said = profile(frame), declaration or self.declaration(name)
        held = self._contract(name) if declaration is None else None
        contract = held or derived(name, said, self._first(name) or described)
        findings = validate(frame, contract)
        refuse(name, rows.told(findings) if rows else findings)
        check_target(name, said, described)
        return described, contract

    def _add(
        self,
        name: str,
        frame: pl.DataFrame,
        origin: _Origin,
        declaration: Declaration | None = None,
        rows: Rows | None = None,
    ) -> DatasetVersion:
        seen = self._contract_digest(name)
        described, contract = self._judged(name, frame, declaration, rows)
        self._store.uploads.keep(source.digest for source in origin.sources)
        objects = self._store.objects
        draft = DatasetVersion(
            ref="",
            name=name,
            version=0,
            digest=objects.put(to_parquet(frame)),
            rows=frame.height,
            columns=tuple(frame.columns),
            sources=origin.sources,
            where=origin.where,
            parents=origin.parents,
            profile=objects.put(msgspec.json.encode(described)),
            contract=objects.put(msgspec.json.encode(contract)),
            created_at=self._store.clock.now(),
        )
        said = objects.put(msgspec.json.encode(declaration)) if declaration is not None else None
        return self._store.database.write(lambda tx: insert(self._store, tx, draft, seen=seen, said=said))

    def _first(self, name: str) -> Profile | None:
        """Return the profile of a dataset's first version, which its contract is inferred from, or None."""
        row = self._store.database.one(
            "SELECT profile FROM dataset_versions WHERE name = :name AND version = 1", {"name": name}
        )
        return msgspec.json.decode(self._store.objects.get(row["profile"]), type=Profile) if row else None

    def _contract(self, name: str) -> Contract | None:
        return self._contract_of(self._contract_digest(name))

    def _contract_digest(self, name: str) -> str:
        row = self._store.database.one("SELECT contract FROM datasets WHERE name = :name", {"name": name})
        return str(row["contract"]) if row else ""

    def _contract_of(self, digest: str) -> Contract | None:
        return msgspec.json.decode(self._store.objects.get(digest), type=Contract) if digest else None

    def _names(self) -> Sequence[str]:
        return [row["name"] for row in self._store.database.all("SELECT name FROM datasets")]

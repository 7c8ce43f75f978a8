"""The data service: datasets in, versions out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from interlock.core.clock import from_micros, to_micros
from interlock.core.errors import Conflict, Finding, Invalid, NotFound
from interlock.core.files import StoredFile
from interlock.core.operations import Permission, operation
from interlock.core.refs import LATEST, Ref, check_name, parse
from interlock.data.contract import Contract, edited, infer
from interlock.data.profile import Profile, profile
from interlock.data.read import read_files
from interlock.data.records import Dataset, DatasetVersion, Declaration
from interlock.data.validate import check_roles, validate

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from interlock.core.ports import Transaction
    from interlock.store import Store


Files = list[StoredFile]
Findings = list[Finding]
Datasets = list[Dataset]
Versions = list[DatasetVersion]


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
            NotFound: an edit names a column that the dataset does not have.
            Invalid: a role names one; of a dataset without a version, that is told at the first.
        """
        check_name(name, "dataset")
        store = self._store
        held = self._contract(name)
        if held is not None:
            check_roles(name, declaration, [rule.name for rule in held.columns])
        contract = store.objects.put(_contract_bytes(edited(held, declaration.columns))) if held else ""
        digest = store.objects.put(msgspec.json.encode(declaration))

        def change(tx: Transaction) -> None:
            row = tx.one("SELECT declaration, contract FROM datasets WHERE name = :name", {"name": name})
            if row and (row["declaration"], row["contract"]) == (digest, contract):
                return
            self._set(tx, name, digest, contract)

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
        frame = read_files(self._store.uploads, files, where, self._contract(name))
        return self.add(name, frame, sources=tuple(files), where=where)

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
        return validate(read_files(self._store.uploads, files, where, contract), contract)

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
        seen, declaration, described = self._contract_digest(name), self.declaration(name), profile(frame)
        held = self._contract_of(seen)
        if held is None:
            check_roles(name, declaration, frame.columns)
            free = tuple(filter(None, (declaration.id, declaration.time)))
            contract = edited(infer(described, free=free, unique=declaration.id), declaration.columns)
        else:
            contract = held
        _refuse(name, validate(frame, contract))
        self._store.uploads.keep(source.digest for source in sources)
        objects = self._store.objects
        draft = DatasetVersion(
            ref="",
            name=name,
            version=0,
            digest=objects.put(_parquet(frame)),
            rows=frame.height,
            columns=tuple(frame.columns),
            sources=sources,
            where=where,
            parents=parents,
            profile=objects.put(msgspec.json.encode(described)),
            contract=seen or objects.put(_contract_bytes(contract)),
            created_at=self._store.clock.now(),
        )
        return self._store.database.write(lambda tx: self._insert(tx, draft))

    def _insert(self, tx: Transaction, draft: DatasetVersion) -> DatasetVersion:
        """Return the version that a draft became: the newest when its rows are the same, else the next number."""
        name = draft.name
        row = tx.one(
            "SELECT version, digest, record FROM dataset_versions WHERE name = :name ORDER BY version DESC LIMIT 1",
            {"name": name},
        )
        if row and row["digest"] == draft.digest:
            return msgspec.json.decode(row["record"], type=DatasetVersion)
        held = tx.one("SELECT declaration, contract FROM datasets WHERE name = :name", {"name": name})
        if held and held["contract"] not in {"", draft.contract}:
            raise Conflict(
                f"The contract of dataset {name!r} was changed meanwhile.", about="dataset_version", hint="Try again."
            )
        if held is None or not held["contract"]:
            self._set(tx, name, held["declaration"] if held else "", draft.contract)
        version = row["version"] + 1 if row else 1
        made = msgspec.structs.replace(draft, version=version, ref=str(Ref("data", name, version)))
        tx.run(
            "INSERT INTO dataset_versions (name, version, digest, rows, profile, contract, record, created_at)"
            " VALUES (:name, :version, :digest, :rows, :profile, :contract, :record, :at)",
            {
                "name": name,
                "version": version,
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
        self._store.ledger.append(tx, "dataset_version.created", made.ref, data)
        return made

    def _set(self, tx: Transaction, name: str, declaration: str, contract: str) -> None:
        """Write a dataset's row and the event of its contract."""
        tx.run(
            "INSERT INTO datasets (name, created_at, declaration, contract)"
            " VALUES (:name, :at, :declaration, :contract)"
            " ON CONFLICT (name) DO UPDATE SET declaration = excluded.declaration, contract = excluded.contract",
            {"name": name, "at": to_micros(self._store.clock.now()), "declaration": declaration, "contract": contract},
        )
        columns = len(msgspec.json.decode(self._store.objects.get(contract), type=Contract).columns) if contract else 0
        self._store.ledger.append(tx, "contract.set", f"data:{name}", {"digest": contract, "columns": columns})

    def _contract(self, name: str) -> Contract | None:
        return self._contract_of(self._contract_digest(name))

    def _contract_digest(self, name: str) -> str:
        row = self._store.database.one("SELECT contract FROM datasets WHERE name = :name", {"name": name})
        return str(row["contract"]) if row else ""

    def _contract_of(self, digest: str) -> Contract | None:
        return msgspec.json.decode(self._store.objects.get(digest), type=Contract) if digest else None

    def _names(self) -> Sequence[str]:
        return [row["name"] for row in self._store.database.all("SELECT name FROM datasets")]


def _contract_bytes(contract: Contract) -> bytes:
    return msgspec.json.encode(contract)


def _parquet(frame: pl.DataFrame) -> bytes:
    import io

    sink = io.BytesIO()
    frame.write_parquet(sink, compression="zstd")
    return sink.getvalue()


def _refuse(name: str, findings: Sequence[Finding]) -> None:
    """Raise what is wrong with rows as a version of a dataset; nothing when nothing is.

    Raises:
        Invalid: there are findings; the hint shows the line that would widen the first range.
    """
    if not findings:
        return
    what = f"{len(findings)} finding{'s' if len(findings) > 1 else ''}"
    ranged = next((found.column for found in findings if found.rule == "range"), "COLUMN")
    raise Invalid(
        f"The rows break the contract of dataset {name!r} ({what}); nothing was ingested.",
        about="dataset_version",
        hint="Mend the file; or, if the contract is what is wrong, widen it in interlock.toml:"
        f" [data.{name}.columns] {ranged} = {{ range = [LOW, HIGH] }}.",
        findings=findings,
        dataset=name,
    )

"""What the data room remembers: datasets, their versions, and what owners say of them."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

import msgspec

from interlock.core.files import StoredFile
from interlock.data.contract import ColumnEdit


class Declaration(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the owner says of a dataset.

    Attributes:
        id: the column that names the data subject; access and erasure work on it.
        time: the column that says when a row happened.
        target: the column that models predict.
        sensitive: columns kept for the audit, never an input unless a waiver says so.
        columns: what the owner knows of single columns, over what is inferred.
    """

    id: str = ""
    time: str = ""
    target: str = ""
    sensitive: tuple[str, ...] = ()
    columns: dict[str, ColumnEdit] = {}


class Dataset(msgspec.Struct, frozen=True):
    """A dataset: its name, how many versions it has, and what its owner says of it."""

    name: str
    versions: int
    rows: int
    declaration: Declaration
    created_at: datetime


class DatasetVersion(msgspec.Struct, frozen=True):
    """One version of a dataset, which never changes.

    Attributes:
        ref: how to name it, such as `data:people@1`.
        digest: the Parquet object with its rows.
        sources: the files it was made from, as they came.
        where: the filter that was applied to them, or "".
        parents: references of what else it was made from.
        contract: the digest of the contract that it fulfils.
    """

    TABLE: ClassVar = ("ref", "rows", "sources", "where", "parents", "created_at")

    ref: str
    name: str
    version: int
    digest: str
    rows: int
    columns: tuple[str, ...]
    sources: tuple[StoredFile, ...]
    where: str
    parents: tuple[str, ...]
    profile: str
    contract: str
    created_at: datetime

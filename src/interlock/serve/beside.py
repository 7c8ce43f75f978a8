"""What records beside a model say of it: the columns it takes, in its order, and an example of rows.

They are those of our client (`signature.json`, `example.json`), or of MLflow's: `MLmodel`, of which the inputs of the
signature are read, and `input_example.json`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import msgspec

from interlock.core.bundles import Golden
from interlock.core.mlmodel import mlmodel_inputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.core.bundles import Column

SIGNATURE_FILE, EXAMPLE_FILE = "signature.json", "example.json"
MLMODEL_FILE, MLFLOW_EXAMPLE_FILE = "MLmodel", "input_example.json"
TOLERANCE: Final = 1e-6
_MOST_ROWS: Final = 100
Rows = list[dict[str, Any]]


class Beside(Protocol):
    """The files beside a model."""

    def record(self, path: str, kind: Any) -> Any:
        """Return a record, None where there is none; raises Corrupt where it holds something else."""
        ...

    def plain(self, path: str) -> bytes:
        """Return the bytes of a file, none of one that is not there or very long."""
        ...


class _Field(msgspec.Struct):
    name: str = ""
    type: str = ""


class _Signature(msgspec.Struct):
    inputs: tuple[_Field, ...] = ()


class _Split(msgspec.Struct):
    """MLflow's example of a data frame: `pandas_orient: split`."""

    columns: list[str]
    data: list[list[bool | int | float | str | None]]


def names_of(folder: Beside) -> list[str]:
    """Return the names of the columns that the records beside a model tell.

    Raises:
        Corrupt: a record of ours holds something else.
    """
    signature: _Signature | None = folder.record(SIGNATURE_FILE, _Signature)
    if signature is not None and signature.inputs:
        return [field.name for field in signature.inputs]
    if found := [name for name, _ in mlmodel_inputs(folder.plain(MLMODEL_FILE))]:
        return found
    rows = rows_of(folder)
    return list(rows[0]) if rows else []


def rows_of(folder: Beside) -> Rows:
    """Return the rows of the example beside a model; none where there is no example of a table.

    Raises:
        Corrupt: a record of ours holds something else.
    """
    rows: Rows | None = folder.record(EXAMPLE_FILE, Rows)
    if rows is not None:
        return rows
    try:
        split = msgspec.json.decode(folder.plain(MLFLOW_EXAMPLE_FILE), type=_Split)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []  # a tensor, a text, a list without names
    width = len(split.columns)
    if len(set(split.columns)) != width or any(len(row) != width for row in split.data):
        return []
    return [dict(zip(split.columns, row, strict=True)) for row in split.data[:_MOST_ROWS]]


def golden_of(folder: Beside, columns: Sequence[Column]) -> tuple[Golden, Literal["example", "zeros", ""]]:
    """Return rows to ask a model first, without answers as yet, and where they are from.

    Raises:
        Corrupt: a record of ours holds something else.
    """
    rows = rows_of(folder)
    names = [column.name for column in columns]
    ours = folder.record(EXAMPLE_FILE, Rows) is not None  # then it is a promise, and what does not fit is told
    whole = all(name in row for row in rows for name in names)
    if rows and whole and (ours or all(_fits(row, columns) for row in rows)):
        plain = [{column.name: _plain(row[column.name], column) for column in columns} for row in rows]
        return Golden(plain, [0.0] * len(plain), TOLERANCE), "example"
    if any(column.type == "string" for column in columns):
        return Golden([], [], TOLERANCE), ""
    zero = {column.name: False if column.type == "boolean" else 0 for column in columns}
    return Golden([zero], [0.0], TOLERANCE), "zeros"


def texts_of(folder: Beside) -> set[str]:
    """Return the columns that hold texts, as the records beside a model tell.

    Raises:
        Corrupt: a record of ours holds something else.
    """
    told = {name for name, kind in mlmodel_inputs(folder.plain(MLMODEL_FILE)) if kind == "string"}
    return told | {name for row in rows_of(folder) for name, value in row.items() if isinstance(value, str)}


def _fits(row: dict[str, Any], columns: Sequence[Column]) -> bool:
    """Return whether no number is wanted where the example has a text: a category as pandas writes it."""
    return not any(isinstance(row[column.name], str) and column.type != "string" for column in columns)


def _plain(value: Any, column: Column) -> Any:
    """Return a value as its column takes it: pandas writes true and false where a model counts in numbers."""
    if value is None:
        return None
    if column.type == "boolean":
        return bool(value)
    return int(value) if isinstance(value, bool) else value

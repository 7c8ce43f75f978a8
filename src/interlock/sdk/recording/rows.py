"""Rows that a fit was given: a part of them to score, a few as an example, and the signature of their columns."""

from __future__ import annotations

import warnings
from typing import Any, Final

import msgspec

from interlock.registry.flavors.frames import TRAINING_ROWS, drawn

EXAMPLE_ROWS: Final = 5
_SAMPLE_BYTES: Final = 32 << 20
_CELL_BYTES: Final = 8


class Field(msgspec.Struct, frozen=True):
    """One column: its name and its type, as the script's own library calls it."""

    name: str
    type: str


class Signature(msgspec.Struct, frozen=True):
    """What a model takes and gives, and how many rows it was fitted on."""

    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]
    rows: int


def height(rows: Any) -> int:
    """Return how many rows there are."""
    shape = getattr(rows, "shape", None)
    return int(shape[0]) if shape else len(rows)


def part(rows: Any, most: int) -> Any:
    """Return at most so many rows, evenly spread, in the form that they have."""
    step = -(-height(rows) // most)
    if step <= 1:
        return rows
    if hasattr(rows, "iloc"):
        return rows.iloc[::step]
    if hasattr(rows, "gather_every"):
        return rows.gather_every(step)
    return rows[::step]


def picks(count: int, width: int) -> list[int]:
    """Return the numbers of the rows that make a sample of a table of so many rows and columns."""
    room = _SAMPLE_BYTES // (_CELL_BYTES * max(width, 1))
    return drawn(count, max(EXAMPLE_ROWS, min(TRAINING_ROWS, room)))


def sample(rows: Any) -> Any:
    """Return at most 2,000 rows and 32 MiB of numbers, drawn by a fixed seed, in the form that they have."""
    count = height(rows)
    picked = picks(count, _width(rows))
    if len(picked) == count:
        return rows
    if hasattr(rows, "iloc"):
        return rows.iloc[picked]
    if isinstance(rows, list | tuple):
        return [rows[place] for place in picked]
    if hasattr(rows, "take") and hasattr(rows, "schema") and not hasattr(rows, "to_dicts"):  # Arrow's tables
        return rows.take(picked)
    return (rows.tocsr() if hasattr(rows, "tocsr") else rows)[picked]


def _width(rows: Any) -> int:
    shape = getattr(rows, "shape", None)
    if shape:
        return int(shape[1]) if len(shape) > 1 else 1
    return len(rows[0]) if len(rows) and hasattr(rows[0], "__len__") else 1


def head(rows: Any) -> Any:
    """Return the first rows, in the form that they have."""
    return rows.iloc[:EXAMPLE_ROWS] if hasattr(rows, "iloc") else rows[:EXAMPLE_ROWS]


def fields(rows: Any, stem: str = "x") -> tuple[Field, ...]:
    """Return the columns of a frame, an array or a list of rows; of what has no names they are x0, x1 ..."""
    import numpy as np

    if hasattr(rows, "columns") and hasattr(rows, "dtypes"):
        return tuple(Field(str(name), str(kind)) for name, kind in zip(rows.columns, list(rows.dtypes), strict=True))
    values = rows if hasattr(rows, "dtype") else np.asarray(rows)
    width = values.shape[1] if len(getattr(values, "shape", ())) > 1 else 1
    kind = str(getattr(values, "dtype", "object"))
    return tuple(Field(f"{stem}{place}" if width > 1 or stem == "x" else stem, kind) for place in range(width))


def signature(estimator: Any, inputs: Any) -> Signature:
    """Return what an estimator takes and, tried on a few rows, gives."""
    outputs: tuple[Field, ...] = ()
    first = head(inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nobody asked for these answers
        for method in ("predict", "predict_proba"):
            if callable(getattr(estimator, method, None)):
                given = getattr(estimator, method)(first)
                outputs += fields(given, "prediction" if method == "predict" else "probability")
    return Signature(fields(inputs), outputs, height(inputs))


def example(inputs: Any) -> list[dict[str, Any]] | None:
    """Return the first rows as dicts of plain values; None of what has no such form, such as sparse matrices."""
    first = head(inputs)
    names = [field.name for field in fields(first)]
    if hasattr(first, "to_dicts"):
        return list(first.to_dicts())
    if hasattr(first, "to_dict"):
        return list(first.to_dict(orient="records"))
    if hasattr(first, "toarray") or not (hasattr(first, "tolist") or isinstance(first, list)):
        return None
    rows = first.tolist() if hasattr(first, "tolist") else first
    return [dict(zip(names, row if isinstance(row, list | tuple) else [row], strict=True)) for row in rows]


def encoded(value: Any) -> bytes:
    """Return a value as JSON for people; what JSON has no form for, as text."""
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=_plain))


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)

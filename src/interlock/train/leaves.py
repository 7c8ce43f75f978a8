"""Frames and arrays as bytes: Parquet and .npy, the same bytes for the same content."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from interlock.core.errors import Invalid

if TYPE_CHECKING:
    import polars as pl

_ROWS = 1 << 18


def frame_bytes(frame: pl.DataFrame) -> bytes:
    """Return a frame as Parquet.

    Raises:
        Invalid: a column holds Python objects.

    Cost: about 60 ms for 278k rows of 19 columns (18 MB in memory), and as much to read.
    """
    opaque = [name for name, kind in frame.schema.items() if "Object" in str(kind)]
    if opaque:
        raise Invalid(
            f"Column {opaque[0]!r} holds Python objects, which a frame's file cannot.", about="value", hint="Cast it."
        )
    file = io.BytesIO()
    frame.rechunk().write_parquet(file, compression="zstd", compression_level=1, row_group_size=_ROWS)
    return file.getvalue()


def frame_from(data: bytes) -> pl.DataFrame:
    """Return the frame that `frame_bytes` wrote."""
    import polars as pl

    return pl.read_parquet(io.BytesIO(data))


def array_bytes(array: Any) -> bytes:
    """Return a NumPy array as .npy; its dtype holds no Python objects."""
    from numpy.lib import format as npy

    file = io.BytesIO()
    npy.write_array(file, array, allow_pickle=False)
    return file.getvalue()


def array_from(data: bytes) -> Any:
    """Return the array that `array_bytes` wrote."""
    from numpy.lib import format as npy

    return npy.read_array(io.BytesIO(data), allow_pickle=False)


def is_simple(frame: Any) -> bool:
    """Return whether a pandas frame is no more than named columns of numbers, truth values and texts.

    What is more (an index, categories, Python objects) keeps its form in a pickle only.
    """
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]

    index, names = frame.index, frame.columns
    plain_index = isinstance(index, pd.RangeIndex) and (index.start, index.step, index.name) == (0, 1, None)
    plain_names = names.name is None and names.is_unique and all(type(name) is str for name in names)
    if type(frame) is not pd.DataFrame or frame.attrs or not plain_index or not plain_names:
        return False
    return all(_is_number(kind) or str(kind) == "str" for kind in frame.dtypes)


def pandas_bytes(frame: Any) -> tuple[bytes, list[str]]:
    """Return a simple pandas frame as Parquet, and the dtype of each column."""
    import polars as pl

    columns = []
    for name, column in frame.items():
        if _is_number(column.dtype):
            columns.append(pl.Series(name, column.to_numpy()))
        else:
            texts = [value if isinstance(value, str) else None for value in column]
            columns.append(pl.Series(name, texts, dtype=pl.String))
    if not columns:
        return frame_bytes(pl.DataFrame(height=len(frame))), []
    return frame_bytes(pl.DataFrame(columns)), [str(kind) for kind in frame.dtypes]


def pandas_from(data: bytes, kinds: list[str]) -> Any:
    """Return the pandas frame that `pandas_bytes` wrote."""
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]

    frame = frame_from(data)
    columns: dict[str, Any] = {}
    for column, kind in zip(frame, kinds, strict=True):
        values: Any = column.to_list() if kind == "str" else column.to_numpy()
        columns[column.name] = pd.Series(values, dtype=kind)
    return pd.DataFrame(columns, index=pd.RangeIndex(frame.height))


def _is_number(kind: Any) -> bool:
    return type(kind).__module__.startswith("numpy") and (kind.kind in "iub" or kind.str[1:] in {"f4", "f8"})

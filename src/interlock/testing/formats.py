"""What every data format must do."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    from interlock.core.ports import DataFormat


def check_data_format(reader: DataFormat, write: Callable[[pl.DataFrame, Path], object]) -> None:
    """Accept a data format that reads back what was written in it.

    Args:
        reader: the format.
        write: writes a frame to a file of this format.

    Raises:
        AssertionError: rows, names, order or (where it is typed) types differ.
    """
    import polars as pl

    assert reader.name, "a format has a name"
    assert reader.suffixes, "a format has at least one suffix"
    assert all(s.startswith(".") and s == s.lower() for s in reader.suffixes), (
        "suffixes are lower-case and start with '.'"
    )
    frame = pl.DataFrame({"id": [1, 2, 3], "name": ["a", None, 'ü,\n"x"'], "amount": [0.5, -1.25, None]})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"table{reader.suffixes[0]}"
        write(frame, path)
        found = reader.read(path)
    assert found.columns == frame.columns, "columns keep names and order"
    if reader.typed:
        assert found.equals(frame), "typed formats give back every value in its type"
    else:
        assert all(dtype == pl.String for dtype in found.dtypes), "untyped formats give text"
        assert found.cast(frame.schema).equals(frame), "untyped formats give back every value as text"

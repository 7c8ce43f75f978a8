"""Rows that come as a Parquet file in a request's body.

It is read by pyarrow and not by polars: among 20,000 files with a few bytes changed, one made polars end the whole
process (a Rust allocation that fails aborts), none did pyarrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from interlock.core.errors import Invalid, MissingExtra
from interlock.serve.engine import Ask
from interlock.serve.turns import MAX_ROWS

if TYPE_CHECKING:
    from collections.abc import Collection

_LARGEST: Final = 256 * 1024 * 1024  # bytes of the columns, unpacked: a small file may stand for very much
_TRUTHS: Final = frozenset({"bool", "null"})


def read_parquet(body: bytes, names: Collection[str]) -> Ask:
    """Return the rows of a file; columns of other names are only named, not read.

    Args:
        body: the file.
        names: the columns that the models know.

    Raises:
        Invalid: it is no Parquet file, has too many rows or bytes, or a column of a type that no model takes.
        MissingExtra: pyarrow is not installed.

    Cost: some 0.5 ms a file and 0.05 us a value; 100 ms for the library, the first time.
    """
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.compute  # type: ignore[import-untyped]
        import pyarrow.parquet  # type: ignore[import-untyped]
    except ImportError:
        raise MissingExtra.named("sql", "pyarrow") from None
    try:
        return _read(pa, body, names)
    except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError):
        # What pyarrow says may repeat what is in the file.
        raise Invalid("The body is no Parquet file that can be read.", hint="Send the whole file as it is.") from None


def _read(pa: Any, body: bytes, names: Collection[str]) -> Ask:
    source = pa.BufferReader(body)
    file = pa.parquet.ParquetFile(source)
    schema = file.schema_arrow
    if len(set(schema.names)) != len(schema.names):
        raise Invalid("The Parquet file names a column twice.")
    known = [name for name in schema.names if name in names]
    _check_size(file, known)
    texts = []
    for name in known:
        kind = schema.field(name).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            texts.append(name)
        elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or str(kind) in _TRUTHS):
            raise Invalid(
                f"Column {name!r} of the Parquet file has a type that no model takes.",
                hint="Send text, whole numbers, numbers, or true and false.",
            )
    # Texts that repeat stay in one place until their size is known.
    table = pa.parquet.ParquetFile(source, read_dictionary=texts).read(columns=known, use_threads=False)
    for name in texts:
        _check_texts(pa, table.column(name))
    columns: dict[str, Any] = {name: table.column(name).to_pylist() for name in known}
    unread = [None] * table.num_rows
    columns.update({name: unread for name in schema.names if name not in columns})
    return Ask(columns, table.num_rows)


def _check_size(file: Any, known: list[str]) -> None:
    facts = file.metadata
    if facts.num_rows > MAX_ROWS:
        raise Invalid(
            f"The Parquet file has {facts.num_rows} rows, a request may have {MAX_ROWS}.",
            hint="Send fewer rows at a time, or score the file: interlock predict.",
        )
    size = 0
    for group in range(facts.num_row_groups):
        row_group = facts.row_group(group)
        chunks = [row_group.column(index) for index in range(row_group.num_columns)]
        size += sum(max(chunk.total_uncompressed_size, 0) for chunk in chunks if chunk.path_in_schema in known)
    if size > _LARGEST:
        raise _too_large()


def _check_texts(pa: Any, column: Any) -> None:
    """Accept texts that do not become too many bytes when each row has its own."""
    size = 0
    for chunk in column.chunks:
        lengths = pa.compute.take(pa.compute.binary_length(chunk.dictionary), chunk.indices)
        size += pa.compute.sum(lengths.cast("int64")).as_py() or 0
    if size > _LARGEST:
        raise _too_large()


def _too_large() -> Invalid:
    return Invalid(f"The Parquet file holds more than {_LARGEST} bytes.", hint="Send fewer rows at a time.")

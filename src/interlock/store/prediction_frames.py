"""Predictions as columns: frames whose inputs every tool can read, and from which every row comes back exactly.

Inputs are columns named `inputs.NAME` of the narrowest type that shows all their values. What such a column cannot
give back (a number among texts, an integer that no float holds, a column that a row did not have) stands in `exact`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.errors import MissingExtra
from interlock.store.prediction_rows import Prediction, Scalar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

INPUTS: Final = "inputs."
_INT64: Final = range(-(1 << 63), 1 << 63)
_EXACT_FLOAT: Final = 1 << 53  # up to here every integer is a float


class _Exact(msgspec.Struct, frozen=True):
    """Of one row: input columns it did not have, and values that their columns do not hold as they were."""

    absent: list[str]
    values: dict[str, Scalar]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Exact)


def need_polars() -> None:
    """Accept that Polars is there.

    Raises:
        MissingExtra: it is not.
    """
    try:
        import polars as pl  # noqa: F401
    except ImportError:
        raise MissingExtra.named("data", "polars") from None


def to_frame(rows: Sequence[Prediction]) -> pl.DataFrame:
    """Return predictions as a frame, in their order: the fields, a column `inputs.NAME` for each input, and `exact`.

    Cost: about 5 us a row with ten inputs.
    """
    need_polars()
    import polars as pl

    columns = [pl.Series(name, [getattr(row, name) for row in rows], dtype) for name, dtype in _fields().items()]
    exact: dict[int, _Exact] = {}
    names = dict.fromkeys(name for row in rows for name in row.inputs)
    columns += [_input_column(name, rows, exact) for name in names]
    packed = [_encoder.encode(exact[place]) if place in exact else None for place in range(len(rows))]
    return pl.DataFrame([*columns, pl.Series("exact", packed, pl.Binary)])


def to_rows(frame: pl.DataFrame) -> Iterator[Prediction]:
    """Yield the predictions of a frame that `to_frame` made."""
    import polars as pl

    plain = frame.with_columns(pl.col("at", "occurred_at").to_physical())
    names = [name.removeprefix(INPUTS) for name in plain.columns if name.startswith(INPUTS)]
    fields = [name for name in _fields() if name in plain.columns]  # older files lack the newest
    for row in plain.select(*fields, "exact", *(INPUTS + name for name in names)).iter_rows():
        inputs: dict[str, Scalar] = dict(zip(names, row[len(fields) + 1 :], strict=True))
        if (packed := row[len(fields)]) is not None:
            differing = _decoder.decode(packed)
            inputs |= differing.values
            for name in differing.absent:
                del inputs[name]
        yield Prediction(**dict(zip(fields, row, strict=False)), inputs=inputs)


def join(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the predictions of several frames by `occurred_at`, then id: the columns of all, without `exact`."""
    import polars as pl

    return pl.concat([to_frame([]), *frames], how="diagonal_relaxed").drop("exact").sort("occurred_at", "id")


def inputs_of(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the input columns of a frame of predictions under their own names."""
    names = [name for name in frame.columns if name.startswith(INPUTS)]
    return frame.select(names).rename({name: name.removeprefix(INPUTS) for name in names})


def _fields() -> dict[str, Any]:
    import polars as pl

    moment = pl.Datetime("us", "UTC")
    types = {"at": moment, "occurred_at": moment, "score": pl.Float64, "latency_s": pl.Float64}
    types |= dict.fromkeys(("revision", "row", "label"), pl.Int64)
    return {name: types.get(name, pl.String) for name in Prediction.__struct_fields__ if name != "inputs"}


def _input_column(name: str, rows: Sequence[Prediction], exact: dict[int, _Exact]) -> pl.Series:
    """Return the best column for an input's values; what it does not hold as it was goes into `exact`."""
    import polars as pl

    values = [row.inputs.get(name) for row in rows]
    kinds = set(map(type, values)) - {type(None)}
    if None in values:
        for place, row in enumerate(rows):
            if name not in row.inputs:
                exact.setdefault(place, _Exact([], {})).absent.append(name)
    if kinds == {int} and all(value is None or value in _INT64 for value in values):
        return pl.Series(INPUTS + name, values, pl.Int64)
    if len(kinds) <= 1 and kinds != {int}:
        simple = {str: pl.String, float: pl.Float64, bool: pl.Boolean}
        return pl.Series(INPUTS + name, values, simple[kinds.pop()] if kinds else pl.Null)
    numbers = kinds <= {int, float}
    shown = [None if value is None else float(value) if numbers else _text(value) for value in values]
    for place, value in enumerate(values):
        if value is not None and not _shows(value, numbers=numbers):
            exact.setdefault(place, _Exact([], {})).values[name] = value
    return pl.Series(INPUTS + name, shown, pl.Float64 if numbers else pl.String)


def _shows(value: Scalar, *, numbers: bool) -> bool:
    """Return whether a column of floats (`numbers`) or texts gives this value back."""
    if isinstance(value, int) and numbers:
        return abs(value) <= _EXACT_FLOAT
    return isinstance(value, float if numbers else str)


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

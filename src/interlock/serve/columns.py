"""A model's input columns: what they accept, and the arrays that the graph takes.

Nothing is guessed: the text "21" is no whole number, and a missing value is none either. What is refused is named by
column and row number, never by its value, because the answer may travel through logs that must not hold people's data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from interlock.core.errors import Corrupt, Finding, Invalid, NotFound

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from interlock.core.bundles import Bundle, Column

Value = object
Columns = Mapping[str, Sequence[Value]]

# What each type takes without a second look: the types that a JSON reader makes.
_PLAIN: Final[dict[str, frozenset[type]]] = {
    "integer": frozenset({int}),
    "float": frozenset({float, int}),
    "string": frozenset({str}),
    "boolean": frozenset({bool}),
}
_TAKES: Final = {
    "integer": "whole numbers",
    "float": "numbers",
    "string": "text",
    "boolean": "true or false",
}
_SHOWN_ROWS: Final = 10
_WHOLE_LIMIT: Final = 2**63  # what the graph, the log and its readers hold
_FLOAT_LIMIT: Final = 10**308
_TOO_LARGE: Final = "is too large for the model"
_DTYPES: Final = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(string)": "object",
    "tensor(bool)": "bool",
}


class Prepared(NamedTuple):
    """Rows that a model accepts.

    Attributes:
        values: one list a column, in the model's order; what the prediction log keeps.
        feeds: the graph's input arrays by name.
        missing: whether a number is missing somewhere (NaN in the arrays).
        rows: how many rows there are.
    """

    values: list[Sequence[Value]]
    feeds: dict[str, NDArray[np.generic]]
    missing: bool
    rows: int

    def take(self, rows: Sequence[int]) -> Prepared:
        """Return some of the rows."""
        at = list(rows)
        values: list[Sequence[Value]] = [[column[row] for row in at] for column in self.values]
        return Prepared(values, {name: array[at] for name, array in self.feeds.items()}, self.missing, len(at))


class _Group(msgspec.Struct, frozen=True):
    """Columns that share an element type, so that one array is built for all."""

    dtype: str
    indices: tuple[int, ...]
    names: tuple[str, ...]


class InputColumns:
    """The input columns of one bundle, over the inputs of its graph.

    Args:
        bundle: names, types and layout of the columns.
        graph: the graph's inputs, as pairs of name and ONNX type (`tensor(float)`).

    Raises:
        Corrupt: the graph does not take these columns.
    """

    def __init__(self, bundle: Bundle, graph: Sequence[tuple[str, str]]) -> None:
        self.columns = bundle.inputs
        self.names = tuple(column.name for column in bundle.inputs)
        self._matrix = graph[0][0] if bundle.layout == "matrix" else ""
        self._groups = _groups(bundle, graph)
        self._checks = tuple((column.name, _PLAIN[column.type], column) for column in bundle.inputs)

    def prepare(self, columns: Columns) -> Prepared:
        """Return rows, checked, as the arrays that the graph takes; columns the model does not know are left out.

        Args:
            columns: one list of values a column, all of one length.

        Raises:
            Invalid: a column is missing, has another length or holds what it does not take.

        Cost: about 0.2 us a column and 0.05 us a value.
        """
        values: list[Sequence[Value]] = []
        findings: list[Finding] = []
        for name, plain, column in self._checks:
            given = columns.get(name)
            if given is None:
                raise _missing(name, columns)
            if not plain.issuperset(map(type, given)):
                given = _mend(column, given, findings)
            values.append(given)
        if findings:
            raise refused(findings)
        rows = len(values[0])
        if len({*map(len, values)}) != 1:
            raise Invalid("The columns have different numbers of rows.", hint="Send one value a row in every column.")
        if rows == 0:
            raise Invalid("There are no rows.", hint="Send at least one row.")
        feeds, missing = self._arrays(values)
        return Prepared(values, feeds, missing, rows)

    def _arrays(self, values: list[Sequence[Value]]) -> tuple[dict[str, NDArray[np.generic]], bool]:
        import numpy as np

        feeds: dict[str, NDArray[np.generic]] = {}
        missing = False
        for group in self._groups:
            chosen = [values[i] for i in group.indices]
            try:
                with np.errstate(over="ignore"):
                    block: NDArray[np.generic] = np.array(chosen, dtype=group.dtype)
            except OverflowError:
                raise refused(self._too_large(group, values)) from None
            if group.dtype.startswith("float") and not (np.abs(block) < _WHOLE_LIMIT).all():
                missing = self._settle(group, values, block) or missing
            if self._matrix:
                feeds[self._matrix] = np.ascontiguousarray(block.T)
            else:
                for name, row in zip(group.names, block, strict=True):
                    feeds[name] = row.reshape(-1, 1)
        return feeds, missing

    def _settle(self, group: _Group, values: list[Sequence[Value]], block: NDArray[np.generic]) -> bool:
        """Return whether numbers are missing; refuse what is too large, and keep huge whole numbers as floats."""
        import numpy as np

        findings = self._too_large(group, values)
        for i, row in zip(group.indices, block, strict=True):
            if rows := np.isinf(row).nonzero()[0].tolist():
                findings.append(finding("range", self.columns[i].name, rows, _TOO_LARGE))
            elif self.columns[i].type == "float":
                values[i] = [float(v) if type(v) is int else v for v in values[i]]
        if findings:
            raise refused(findings)
        return bool(np.isnan(block).any())

    def _too_large(self, group: _Group, values: list[Sequence[Value]]) -> list[Finding]:
        found = []
        for i in group.indices:
            limit = _WHOLE_LIMIT if self.columns[i].type == "integer" else _FLOAT_LIMIT
            rows = [row for row, v in enumerate(values[i]) if type(v) is int and not -limit <= v < limit]
            if rows:
                found.append(finding("range", self.columns[i].name, rows, _TOO_LARGE))
        return found


def cast_text(inputs: Iterable[Column], columns: Columns) -> dict[str, list[Value]]:
    """Return columns of text, as a CSV file has them, in the types that a model's columns take.

    Args:
        inputs: the model's columns; others stay text.
        columns: the text. An empty field is a missing value.

    Raises:
        Invalid: a text does not spell what its column takes.
    """
    kinds = {column.name: column for column in inputs}
    cast: dict[str, list[Value]] = {}
    findings: list[Finding] = []
    for name, texts in columns.items():
        read = _READERS.get(kinds[name].type) if name in kinds else None
        if read is None:
            cast[name] = list(texts)
            continue
        bad: list[int] = []
        cast[name] = [_read(read, str(text), row, bad) for row, text in enumerate(texts)]
        if bad:
            findings.append(finding("type", name, bad, f"does not spell {_TAKES[kinds[name].type]}"))
    if findings:
        raise refused(findings)
    return cast


def finding(rule: str, column: str, rows: Sequence[int], trouble: str) -> Finding:
    """Return what is wrong with a column, with its first row numbers.

    Args:
        rule: the rule's name.
        column: the column.
        rows: all row numbers it is about.
        trouble: the rest of the sentence, such as `holds text`.
    """
    more = f" (and {len(rows) - 1} more rows)" if len(rows) > 1 else ""
    message = f"Column {column!r}, row {rows[0]}{more}: the value {trouble}."
    return Finding(rule, message, column, tuple(rows[:_SHOWN_ROWS]), len(rows))


def refused(findings: Sequence[Finding]) -> Invalid:
    """Return the error for rows that a model does not take."""
    more = f" {len(findings) - 1} more columns are wrong." if len(findings) > 1 else ""
    return Invalid(
        findings[0].message + more,
        hint="Send values of the model's column types; rows are counted from 0.",
        findings=findings,
    )


def _groups(bundle: Bundle, graph: Sequence[tuple[str, str]]) -> tuple[_Group, ...]:
    dtypes = {name: _DTYPES.get(kind, "") for name, kind in graph}
    names = tuple(column.name for column in bundle.inputs)
    if not names or len(set(names)) != len(names):
        raise Corrupt("The bundle names no input columns, or one of them twice.", about="bundle")
    if bundle.layout == "matrix":
        if len(graph) != 1 or any(column.type == "string" for column in bundle.inputs):
            raise Corrupt("The bundle says 'matrix', which is one graph input of numbers.", about="bundle")
        return (_Group(dtypes[graph[0][0]] or "float32", tuple(range(len(names))), names),)
    if set(dtypes) != set(names):
        wrong = ", ".join(sorted(set(dtypes) ^ set(names)))
        raise Corrupt(f"The bundle's columns are not the graph's inputs: {wrong}.", about="bundle")
    chosen: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        if not dtypes[name] or (dtypes[name] == "object") != (bundle.inputs[i].type == "string"):
            raise Corrupt(f"The graph's input {name!r} does not take {bundle.inputs[i].type} values.", about="bundle")
        chosen.setdefault(dtypes[name], []).append(i)
    return tuple(_Group(dtype, tuple(at), tuple(names[i] for i in at)) for dtype, at in chosen.items())


def _missing(name: str, columns: Columns) -> Invalid:
    near = NotFound.named("column", name, columns).hint if columns else "No columns were sent."
    return Invalid(
        f"Column {name!r} is missing.",
        hint=near,
        findings=[Finding("missing_column", f"Column {name!r} is missing.", name)],
    )


def _mend(column: Column, given: Sequence[Value], findings: list[Finding]) -> Sequence[Value]:
    """Return values as the column takes them: 21.0 is a whole number, None is a missing float."""
    given = given.tolist() if hasattr(given, "tolist") else given
    mended: list[Value] = []
    bad: list[int] = []
    trouble = ""
    for row, value in enumerate(given):
        kind = type(value)
        if kind in _PLAIN[column.type]:
            mended.append(value)
        elif value is None and column.type == "float":
            mended.append(None)
        elif isinstance(value, float) and column.type == "integer" and value.is_integer():
            mended.append(int(value))
        else:
            bad.append(row)
            trouble = trouble or f"{_holds(value)}, the column takes {_TAKES[column.type]}"
    if bad:
        findings.append(finding("type", column.name, bad, trouble))
    return mended


def _holds(value: Value) -> str:
    """Return what a value is, without the value."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "is missing"
    if isinstance(value, bool):
        return "is true or false"
    if isinstance(value, str):
        return "is text"
    if isinstance(value, int | float):
        return "is a fraction" if isinstance(value, float) and math.isfinite(value) else "is a number"
    return "is a list or an object"


def _read(read: Callable[[str], Value], text: str, row: int, bad: list[int]) -> Value:
    try:
        return read(text) if text else None
    except ValueError:
        bad.append(row)
        return None


def _number(text: str) -> float:
    if "_" in text:  # Python's own spelling of numbers, nobody else's
        raise ValueError(text)
    value = float(text)
    if math.isinf(value):
        raise ValueError(text)
    return value


def _whole(text: str) -> Value:
    if text.strip().lstrip("+-").isdecimal():
        return int(text)
    value = _number(text)
    if not value.is_integer():
        raise ValueError(text)
    return int(value)


def _truth(text: str) -> bool:
    try:
        return {"true": True, "false": False, "1": True, "0": False}[text.strip().lower()]
    except KeyError:
        raise ValueError(text) from None


_READERS: Final[dict[str, Callable[[str], Value]]] = {"integer": _whole, "float": _number, "boolean": _truth}

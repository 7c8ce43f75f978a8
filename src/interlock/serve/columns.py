"""A model's input columns: what they accept, and the arrays that the graph takes.

Nothing is guessed: the text "21" is no whole number, and a missing value is none either. A value may be missing where
training had rows without one: only there does the model know what that means. What is refused is named by column and
row number, never by its value, because the answer may travel through logs that must not hold people's data.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.errors import Corrupt, Finding, Invalid
from interlock.serve.prepared import FEW, Prepared

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
TAKES: Final = {
    "integer": "whole numbers",
    "float": "numbers",
    "string": "text",
    "boolean": "true or false",
}
_SHOWN_ROWS: Final = 10
_SHOWN_COLUMNS: Final = 50
_WHOLE_LIMIT: Final = 2**63  # what the graph, the log and its readers hold
_WHOLE_LIMITS: Final = {"int32": 2**31}
_MODERATE: Final = 2.0**63
_SQUARE_LIMIT: Final = _MODERATE**2
_FEW_SQUARES: Final = 2048
_FLOAT_LIMIT: Final = 10**308
_TOO_LARGE: Final = "is too large for the model"
_UNSEEN: Final = "is missing, and none was missing in training"
DTYPES: Final = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(string)": "object",
    "tensor(bool)": "bool",
}
"""The element types of ONNX, as NumPy calls them."""
# Which element types hold every value of a column's type.
_HOLDS: Final = {
    "integer": frozenset({"float32", "float64", "int64", "int32"}),
    "float": frozenset({"float32", "float64"}),
    "string": frozenset({"object"}),
    "boolean": frozenset({"float32", "float64", "int64", "int32", "bool"}),
}


class _Group(msgspec.Struct, frozen=True):
    """Columns that share an element type, so that one array is built for all.

    Attributes:
        dtype: the graph's element type.
        indices: which of the model's columns they are.
        names: what they are called.
    """

    dtype: str
    indices: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def real(self) -> bool:
        """Whether the elements are floats."""
        return self.dtype.startswith("float")

    @property
    def held(self) -> str:
        """The element type in which values are looked at: floats in full, before the graph's may overflow."""
        return "float64" if self.real else self.dtype


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
        kinds = {column.type for column in bundle.inputs}
        self._key = (self.columns, self._groups, self._matrix)
        self._floats = len(self._groups) == 1 and self._groups[0].real and kinds == {"float"}

    def __eq__(self, other: object) -> bool:
        """Return whether rows prepared for one are prepared for the other."""
        return isinstance(other, InputColumns) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def prepare(self, columns: Columns, *, even: bool = False) -> Prepared:
        """Return rows, checked, as the arrays that the graph takes; columns the model does not know are left out.

        Args:
            columns: one list of values a column, all of one length.
            even: whether the values of each column are of one type, so that one of them tells of all.

        Raises:
            Invalid: a column is missing, has another length or holds what it does not take.

        Cost: about 0.2 us a column and 0.05 us a value.
        """
        values: list[Sequence[Value]] = []
        findings: list[Finding] = []
        for name, plain, column in self._checks:
            given = columns.get(name)
            if given is None:
                raise _missing(self.columns, columns)
            if not plain.issuperset(map(type, given[:1] if even else given)):
                given = _mend(column, given, findings)
            values.append(given)
        if findings:
            raise refused(findings)
        rows = len(values[0])
        if len({*map(len, values)}) != 1:
            raise Invalid("The columns have different numbers of rows.", hint="Send one value a row in every column.")
        if rows == 0:
            raise Invalid("There are no rows.", hint="Send at least one row.")
        return self._arrays(values, rows)

    def typed_columns(self, columns: Sequence[Sequence[Value]]) -> Prepared:
        """Return the same of columns in the model's order, all of one length."""
        return self._arrays(list(columns), len(columns[0]))

    def typed(self, rows: Sequence[Sequence[Value]]) -> Prepared:
        """Return rows whose values a reader has checked against the columns' types, in the model's order.

        Args:
            rows: at least one.

        Raises:
            Invalid: a number is too large, or is missing where none may be.

        Cost: a fifth of `prepare`.
        """
        import numpy as np

        if self._matrix and self._groups[0].real:  # a matrix is one group
            try:
                block: NDArray[Any] = np.array(rows, dtype=np.float64)
            except OverflowError:  # a whole number that no float holds: below, its column is named
                return self._arrays([*zip(*rows, strict=True)], len(rows))
            if _moderate(block):
                feeds: dict[str, NDArray[np.generic]] = {self._matrix: block.astype(self._groups[0].dtype)}
                values: list[Sequence[Value]] | None = None
                if not self._floats or len(rows) <= FEW:
                    values = [*zip(*rows, strict=True)]
                return Prepared(values, feeds, False, len(rows), block.T if self._floats else None)
        return self._arrays([*zip(*rows, strict=True)], len(rows))

    def _arrays(self, values: list[Sequence[Value]], rows: int) -> Prepared:
        import numpy as np

        feeds: dict[str, NDArray[np.generic]] = {}
        missing = False
        kept: NDArray[Any] | None = None
        for group in self._groups:
            chosen = [values[i] for i in group.indices]
            try:
                block: NDArray[Any] = np.array(chosen, dtype=group.held)
            except OverflowError:
                raise refused(self._too_large(group, values)) from None
            if group.real and not _moderate(block):
                missing = self._settle(group, values, block) or missing
            if self._floats:
                kept = block
            if self._matrix:
                feeds[self._matrix] = block.T.astype(group.dtype, order="C")
            else:
                block = block.astype(group.dtype, copy=False)
                for name, row in zip(group.names, block, strict=True):
                    feeds[name] = row.reshape(-1, 1)
        return Prepared(values, feeds, missing, rows, kept)

    def _settle(self, group: _Group, values: list[Sequence[Value]], block: NDArray[Any]) -> bool:
        """Return whether numbers are missing; refuse what is too large, and keep huge whole numbers as floats."""
        import numpy as np

        findings = self._too_large(group, values)
        with np.errstate(over="ignore"):
            large = np.isinf(block.astype(group.dtype))
        for i, row, lacks in zip(group.indices, large, np.isnan(block), strict=True):
            if rows := row.nonzero()[0].tolist():
                findings.append(finding("range", self.columns[i].name, rows, _TOO_LARGE))
            elif self.columns[i].nulls is False and (rows := lacks.nonzero()[0].tolist()):
                findings.append(finding("missing", self.columns[i].name, rows, _UNSEEN))
            elif self.columns[i].type == "float":
                values[i] = [float(v) if type(v) is int else v for v in values[i]]
        if findings:
            raise refused(findings)
        return bool(np.isnan(block).any())

    def _too_large(self, group: _Group, values: list[Sequence[Value]]) -> list[Finding]:
        """Return the whole numbers that graph, log or a float cannot hold."""
        found = []
        for i in group.indices:
            limit = _FLOAT_LIMIT if self.columns[i].type == "float" else _WHOLE_LIMITS.get(group.dtype, _WHOLE_LIMIT)
            rows = [row for row, v in enumerate(values[i]) if type(v) is int and not -limit <= v < limit]
            if rows:
                found.append(finding("range", self.columns[i].name, rows, _TOO_LARGE))
        return found


def _moderate(block: NDArray[Any]) -> bool:
    """Return whether no number is missing, and none comes near what 32 bits hold.

    A sum of squares is the cheapest proof: no value hides in it, and NaN makes it false. Of many numbers it is left to
    threads of the linear algebra library, which cost more than they save, so there the extremes are looked at.
    """
    import numpy as np

    if block.size <= _FEW_SQUARES:
        return bool(np.vdot(block, block) < _SQUARE_LIMIT)
    return bool(block.max() < _MODERATE and block.min() > -_MODERATE)


def finding(rule: str, column: str, rows: Sequence[int], trouble: str) -> Finding:
    """Return what is wrong with a column, with its first row numbers.

    Args:
        rule: the rule's name.
        column: the column.
        rows: all row numbers it is about.
        trouble: the rest of the sentence, such as `holds text`.
    """
    more = f" (and {len(rows) - 1} more row{'s' if len(rows) > 2 else ''})" if len(rows) > 1 else ""
    message = f"Column {column!r}, row {rows[0]}{more}: the value {trouble}."
    return Finding(rule, message, column, tuple(rows[:_SHOWN_ROWS]), len(rows))


def refused(
    findings: Sequence[Finding], *, hint: str = "Send values of the model's column types; rows are counted from 0."
) -> Invalid:
    """Return the error for rows that a model does not take.

    Args:
        findings: what is wrong, a column each.
        hint: what to do next.
    """
    others = len({found.column for found in findings}) - 1
    more = ""
    if others > 0:
        more = " 1 more column is wrong." if others == 1 else f" {others} more columns are wrong."
    return Invalid(
        findings[0].message + more,
        hint=hint,
        findings=findings,
    )


def _groups(bundle: Bundle, graph: Sequence[tuple[str, str]]) -> tuple[_Group, ...]:
    dtypes = {name: DTYPES.get(kind, "") for name, kind in graph}
    names = tuple(column.name for column in bundle.inputs)
    if not names or len(set(names)) != len(names):
        raise Corrupt("The bundle names no input columns, or one of them twice.", about="bundle")
    if bundle.layout == "matrix":
        if len(graph) != 1 or any(column.type == "string" for column in bundle.inputs):
            raise Corrupt("The bundle says 'matrix', which is one graph input of numbers.", about="bundle")
        dtypes = dict.fromkeys(names, DTYPES.get(graph[0][1], ""))
    elif set(dtypes) != set(names):
        wrong = ", ".join(sorted(set(dtypes) ^ set(names)))
        raise Corrupt(f"The bundle's columns are not the graph's inputs: {wrong}.", about="bundle")
    chosen: dict[str, list[int]] = {}
    for i, (name, column) in enumerate(zip(names, bundle.inputs, strict=True)):
        if dtypes[name] not in _HOLDS[column.type]:
            raise Corrupt(f"The graph's input for {name!r} does not hold {column.type} values.", about="bundle")
        chosen.setdefault(dtypes[name], []).append(i)
    return tuple(_Group(dtype, tuple(at), tuple(names[i] for i in at)) for dtype, at in chosen.items())


def listed(columns: Sequence[Column]) -> str:
    """Return columns as a hint names them: `age (whole numbers), city (text)`."""
    shown = ", ".join(f"{column.name} ({TAKES[column.type]})" for column in columns[:_SHOWN_COLUMNS])
    more = len(columns) - _SHOWN_COLUMNS
    return f"{shown} and {more} more, which GET / lists" if more > 0 else shown


def _missing(inputs: Sequence[Column], columns: Columns) -> Invalid:
    """Return the error that names every column that was not sent, and what the model takes."""
    names = [column.name for column in inputs]
    strange = [name for name in columns if name not in names]
    findings = []
    for name in names:
        if columns.get(name) is None:
            near = difflib.get_close_matches(name, strange, n=1, cutoff=0.6)
            message = f"Column {name!r} is missing" + (f"; is {near[0]!r} it?" if near else ".")
            findings.append(Finding("missing_column", message, name))
    message = findings[0].message
    if len(findings) > 1:
        message = f"{len(findings)} columns are missing: {', '.join(repr(found.column) for found in findings)}."
    return Invalid(message, hint=f"The model takes {listed(inputs)}.", findings=findings)


def _mend(column: Column, given: Sequence[Value], findings: list[Finding]) -> Sequence[Value]:
    """Return values as the column takes them: 21.0 is a whole number, None is a missing float or text."""
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
        elif value is None and column.type == "string" and column.nulls:
            mended.append("")  # what training made of it
        elif isinstance(value, float) and column.type == "integer" and value.is_integer():
            mended.append(int(value))
        else:
            bad.append(row)
            trouble = trouble or f"{_holds(value)}, the column takes {TAKES[column.type]}"
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

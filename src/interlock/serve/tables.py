"""A model over tables: a Polars frame becomes the engine's arrays without a Python object a value.

It takes and refuses what `columns.InputColumns` does, and its numbers are those of `LoadedModel.run`, to the bit. What
is refused is named by column and row, never by value. Libraries calculate the rows that are left over from
whole vectors in another order, with another last bit; here such rows stand beside copies of the last one, so that no
number depends on where a table was cut.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from interlock.core.errors import Corrupt, Finding, Invalid, Unavailable
from interlock.serve.blame import Blame
from interlock.serve.columns import DTYPES, TAKES, finding, refused
from interlock.serve.prepared import FAR, Prepared
from interlock.serve.table_columns import Fault, fit, values_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from interlock.core.bundles import Column
    from interlock.core.ports import ObjectStore
    from interlock.serve.model import LoadedModel

_MOST_BLAMED: Final = 100  # rows a table whose columns are looked for by trying; more are named without
_AT_ONCE: Final = 10
_BLOCK: Final = 4096
_VECTOR: Final = 8
_STRANGE: Final = "is one that the model cannot work with"


class Answers(NamedTuple):
    """The answers to the rows of a table.

    Attributes:
        scores: as `model.Scores` has them, one a row; NaN where a row was refused.
        picked: the index of each row's class; none of a regression.
        faults: why rows were refused, in the order of the columns.
        bad: which rows were refused, or None when none was.
    """

    scores: NDArray[np.float64]
    picked: NDArray[np.intp] | None
    faults: tuple[Fault, ...] = ()
    bad: NDArray[np.bool_] | None = None


class _Ready(NamedTuple):
    """A table that may be answered: each column as an array and as it came, and whether a number is missing.

    Attributes:
        looked: whether every value was looked at; else the floats are once they lie together, which is faster.
    """

    arrays: list[NDArray[Any]]
    series: list[pl.Series]
    missing: bool
    rows: int
    looked: bool


class _Unlooked(Exception):
    """A number is missing or too large in a table that was not looked at."""


class _Places(NamedTuple):
    """Arrays that an engine takes, and where each column of the model is in them."""

    feeds: dict[str, NDArray[Any]]
    columns: list[NDArray[Any]]


class TableModel:
    """A model that answers tables; several threads may use it where `threads` says so.

    Args:
        model: the model.

    Raises:
        Corrupt: its engine takes arrays that are not known here.
    """

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self.inputs: Sequence[Column] = model.bundle.inputs
        self.names = [column.name for column in self.inputs]
        self.threads = model.engine.threads
        taken = list(model.engine.inputs)
        self._matrix = taken[0][0] if model.bundle.layout == "matrix" else ""
        by_name = dict.fromkeys(self.names, taken[0][1]) if self._matrix else dict(taken)
        try:
            self._dtypes = [DTYPES[by_name[name]] for name in self.names]
        except KeyError as error:
            raise Corrupt(f"The model takes {error}, which no table holds.", about="bundle") from None

    def check(self, schema: Mapping[str, pl.DataType], *, text: bool = False) -> None:
        """Accept the columns of a table, before any row of it is read.

        Args:
            schema: its columns and their types.
            text: whether its columns are text whatever they mean, as in a CSV file.

        Raises:
            Invalid: a column is missing, or none of its values could be taken.
        """
        missing = [name for name in self.names if name not in schema]
        findings = [Finding("missing_column", f"Column {name!r} is missing.", name) for name in missing]
        for column in self.inputs:
            if column.name in schema and not text and (holds := fit(column.type, schema[column.name])):
                message = f"Column {column.name!r} holds {holds}, and the model takes {TAKES[column.type]}."
                findings.append(Finding("type", message, column.name))
        if findings:
            more = f" {len(findings) - 1} more columns do not fit." if len(findings) > 1 else ""
            takes = ", ".join(f"{column.name} ({TAKES[column.type]})" for column in self.inputs[:50])
            raise Invalid(
                findings[0].message + more, about="table", hint=f"The model takes {takes}.", findings=findings
            )

    def score(self, frame: pl.DataFrame, first: int = 0) -> Answers:
        """Return the answers to all rows of a table.

        Args:
            frame: at least the model's columns.
            first: the number of its first row, from which refused rows are counted.

        Raises:
            Invalid: a row is refused.
            Unavailable: the model's answer is no probability, or no number.
        """
        ready, faults = self._prepare(frame, look=not self._matrix)
        if not faults:
            with contextlib.suppress(_Unlooked):
                return self._strictly(ready, first)
            ready, faults = self._prepare(frame)
        if faults:
            raise refused([finding(f.rule, f.column, (f.rows + first).tolist(), f.trouble) for f in faults])
        return self._strictly(ready, first)

    def score_sound(self, frame: pl.DataFrame) -> Answers:
        """Return the answers to the rows that the model takes, and what is wrong with the others.

        Args:
            frame: at least the model's columns.

        Raises:
            Unavailable: the model's answer is no probability, or no number, though its rows are sound.
        """
        import numpy as np

        ready, faults = self._prepare(frame)
        bad = np.zeros(frame.height, dtype=np.bool_)
        for fault in faults:
            bad[fault.rows] = True
        kept = (~bad).nonzero()[0]
        if faults:
            frame = frame[kept]
            ready, _ = self._prepare(frame)
        try:
            found = self._answer(ready)
        except Invalid:
            guilty = self._guilty(self._whole(ready))
            if not len(guilty):
                raise
            faults += self._named(frame, guilty, kept)
            bad[kept[guilty]] = True
            kept = (~bad).nonzero()[0]
            good = np.ones(frame.height, dtype=np.bool_)
            good[guilty] = False
            found = self._answer(self._prepare(frame.filter(good))[0])
        if not faults:
            return found
        scores = np.full(len(bad), np.nan)
        scores[kept] = found.scores
        picked = None
        if found.picked is not None:
            picked = np.zeros(len(bad), dtype=np.intp)
            picked[kept] = found.picked
        return Answers(scores, picked, tuple(faults), bad)

    def _strictly(self, ready: _Ready, first: int) -> Answers:
        try:
            return self._answer(ready)
        except Invalid as error:
            raise _moved(error, first) from None

    def _prepare(self, frame: pl.DataFrame, *, look: bool = True) -> tuple[_Ready, list[Fault]]:
        """Return a table's columns as the engine's numbers and texts, and the values that it must not get."""
        faults: list[Fault] = []
        series = frame.select(self.names).get_columns()
        arrays, missing = [], False
        for column, values, dtype in zip(self.inputs, series, self._dtypes, strict=True):
            made = values_of(column, values, dtype, look=look)
            arrays.append(made.array)
            missing |= made.missing
            faults += made.faults
        return _Ready(arrays, series, missing, frame.height, look), faults

    def _answer(self, ready: _Ready) -> Answers:
        import numpy as np

        if ready.rows == 0:
            return Answers(np.empty(0), np.empty(0, dtype=np.intp) if self.model.bundle.classes else None)
        try:
            with np.errstate(over="ignore"):
                table = self._run(ready)
        except (Unavailable, _Unlooked):
            raise
        except Exception:
            self.model.run(self._whole(ready))  # says whose fault it is
            raise
        if not self._sound(table).all():
            self.model.run(self._whole(ready))
            raise Unavailable("The model's answer is no number.", about="model")
        return self._of(table)

    def _run(self, ready: _Ready) -> NDArray[Any]:
        """Return the engine's table, asked for blocks that stay in the processor's cache and are whole vectors."""
        import numpy as np

        size = ready.rows + -ready.rows % _VECTOR if self.model.engine.name == "worker" else _BLOCK
        size = min(size, ready.rows + -ready.rows % _VECTOR)
        places = self._places(size)
        made = []
        for low in range(0, ready.rows, size):
            count = min(size, ready.rows - low)
            padded = count + -count % _VECTOR
            for array, place in zip(ready.arrays, places.columns, strict=True):
                place[:count] = array[low : low + count]
                if padded > count:
                    place[count:padded] = place[count - 1]
            feeds = {name: block[:padded] for name, block in places.feeds.items()}
            if not ready.looked and not np.isfinite(feeds[self._matrix]).all():
                raise _Unlooked
            made.append(self.model.engine.run(feeds)[:count])
        return made[0] if len(made) == 1 else np.concatenate(made)

    def _places(self, rows: int) -> _Places:
        """Return arrays for so many rows, as the engine takes them."""
        import numpy as np

        if self._matrix:
            block: NDArray[Any] = np.empty((rows, len(self.names)), dtype=self._dtypes[0])
            return _Places({self._matrix: block}, [block[:, i] for i in range(len(self.names))])
        feeds: dict[str, NDArray[Any]] = {
            name: np.empty((rows, 1), dtype=dtype) for name, dtype in zip(self.names, self._dtypes, strict=True)
        }
        return _Places(feeds, [block[:, 0] for block in feeds.values()])

    def _whole(self, ready: _Ready) -> Prepared:
        """Return all rows in one, as `LoadedModel.run` takes them."""
        places = self._places(ready.rows)
        for array, place in zip(ready.arrays, places.columns, strict=True):
            place[:] = array
        values: list[Any] = list(ready.series)
        return Prepared(values, places.feeds, ready.missing, ready.rows)

    def _of(self, table: NDArray[Any]) -> Answers:
        """Return what `LoadedModel.run` makes of a table."""
        import numpy as np

        if not self.model.bundle.classes:
            return Answers(table[:, 0].astype(np.float64), None)
        if len(self.model.bundle.classes) == 2:
            scores = table[:, -1]
            return Answers(scores.astype(np.float64), (scores > 0.5).astype(np.intp))
        best = table.argmax(axis=1)
        return Answers(table[np.arange(len(best)), best].astype(np.float64), best)

    def _sound(self, table: NDArray[Any]) -> NDArray[np.bool_]:
        import numpy as np

        kept: NDArray[Any] = np.abs(table - 0.5) <= FAR if self.model.bundle.classes else np.isfinite(table)
        return np.asarray(kept.all(axis=1))

    def _guilty(self, prepared: Prepared) -> NDArray[np.intp]:
        """Return the rows without a sound answer; where a call fails as a whole, its halves are tried apart."""
        import numpy as np

        waiting, found = [(0, prepared.rows)], []
        while waiting:
            low, high = waiting.pop()
            part = {name: array[low:high] for name, array in prepared.feeds.items()}
            try:
                found += (low + (~self._sound(self.model.engine.run(part))).nonzero()[0]).tolist()
            except Unavailable:
                raise
            except Exception:  # noqa: BLE001 - the engine's own kinds
                if high - low == 1:
                    found.append(low)
                    continue
                middle = (low + high) // 2
                waiting += [(middle, high), (low, middle)]
        return np.array(sorted(found), dtype=np.intp)

    def _named(self, frame: pl.DataFrame, guilty: NDArray[np.intp], kept: NDArray[np.intp]) -> list[Fault]:
        """Return faults for rows that the engine refused, with their columns as far as trying tells them."""
        import numpy as np

        found: list[Fault] = []
        golden = self.model.golden_columns(1)
        good = {name: values[0] for name, values in golden.items() if values}
        named = np.zeros(len(guilty), dtype=np.bool_)
        for low in range(0, min(len(guilty), _MOST_BLAMED), _AT_ONCE) if good else ():
            rows = guilty[low : low + _AT_ONCE]
            values = frame.select(self.names)[rows].to_dict(as_series=False)
            for blamed in Blame(good, self._unsound).find(values):
                places = np.array(blamed.rows, dtype=np.intp)
                trouble = blamed.message.partition(": the value ")[2].rstrip(".") or _STRANGE
                found.append(Fault(blamed.rule, blamed.column, kept[rows[places]], trouble))
                named[low + places] = True
        if not named.all():
            found.append(Fault("value", "", kept[guilty[~named]], _STRANGE))
        return found

    def _unsound(self, columns: Mapping[str, Sequence[object]]) -> list[int] | None:
        try:
            table = self.model.engine.run(self.model.prepare(columns).feeds)
        except Exception:  # noqa: BLE001 - the engine's own kinds, and values that are refused already
            return None
        found: list[int] = (~self._sound(table)).nonzero()[0].tolist()
        return found


def open_table(objects: ObjectStore, ref: str, digest: str) -> TableModel:
    """Return a version that answers tables, be it a bundle or not; its engine is the one that a server takes.

    It is not chosen for the number of rows: a booster's own library and its graph differ in the last bits, and a table
    gets the answers that the endpoint gives.

    Args:
        objects: where its files rest.
        ref: what it is called.
        digest: the manifest of its files, or "" where they rest elsewhere.

    Raises:
        Invalid: its files rest elsewhere, or none of them can answer.
        Denied: only its original could answer.
        Corrupt: its bytes have changed.

    Cost: loads the model.
    """
    from interlock.serve.model import LoadedModel

    if not digest:
        raise Invalid(f"The files of {ref} rest elsewhere.", about="model", hint="Register files that are here.")
    return TableModel(LoadedModel.open(objects, digest))


def _moved(error: Invalid, first: int) -> Invalid:
    """Return an error whose rows are counted from elsewhere."""
    if not first or not error.findings:
        return error
    moved = [
        finding(f.rule, f.column, [row + first for row in f.rows] + [-1] * (f.count - len(f.rows)), _trouble(f))
        for f in error.findings
    ]
    return refused(moved, hint=error.hint)


def _trouble(found: Finding) -> str:
    return found.message.partition(": the value ")[2].removesuffix(".") or _STRANGE

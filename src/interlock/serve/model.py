"""A model that answers: prepared rows go to its engine, and what comes back is looked at before anybody gets it."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.errors import Corrupt, Error, Finding, Invalid, Unavailable
from interlock.serve.blame import Blame
from interlock.serve.columns import Columns, InputColumns, refused
from interlock.serve.loading import Parts, load_bundle, seconds
from interlock.serve.opening import open_folder
from interlock.serve.prepared import FAR

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from interlock.core.bundles import Bundle, Golden
    from interlock.core.ports import ObjectStore
    from interlock.serve.engines.port import Runner, Table
    from interlock.serve.prepared import Prepared

_FEW: Final = 16
_SLOW_S: Final = 0.002  # what an engine in another process takes at least: the event loop must never wait for one


class Scores(msgspec.Struct, frozen=True, eq=False):
    """The answers to some rows, one a row.

    Attributes:
        scores: the probability of the positive class; of more than two classes that of the class that was chosen; of a
            regression the value.
        labels: the classes that were chosen; None of a regression.
        codes: the same as whole numbers, for the prediction log: a class that is a text by its place among the classes,
            0 of a regression.
        table: what the engine answered, (rows, answers).
    """

    scores: list[float]
    labels: list[Any]
    codes: list[int]
    table: Any = None

    def part(self, first: int, end: int) -> Scores:
        """Return the answers to some of the rows."""
        table = self.table if self.table is None else self.table[first:end]
        return Scores(self.scores[first:end], self.labels[first:end], self.codes[first:end], table)

    @property
    def probabilities(self) -> list[list[float]]:
        """The probability of every class, in the model's order, one list a row."""
        rows: list[list[float]] = self.table.tolist()
        return [[1.0 - row[0], row[0]] for row in rows] if self.table.shape[1] == 1 else rows


class LoadedModel:
    """A model in memory.

    Attributes:
        digest: the manifest digest of its files.
        bundle: what the model is.
        golden: requests with the scores that training saw, or, of a model that came without some, those that it gave
            when it was opened; `parts.source` says which.
        engine: what calculates.
        parts: all that it was made of.
        load_s: how long loading took.
        call_s: how long one row takes.
        row_s: how long each further row of a call takes, as far as the golden rows tell.
    """

    def __init__(self, digest: str, parts: Parts) -> None:
        self.digest = digest
        self.parts = parts
        self.bundle: Bundle = parts.bundle
        self.golden: Golden = parts.golden
        self.engine: Runner = parts.engine
        self.load_s = 0.0
        self.call_s = 0.0
        self.row_s = 0.0
        self.inputs = InputColumns(parts.bundle, parts.engine.inputs)
        self._labels: Sequence[Any] = parts.bundle.classes
        self._texts = any(isinstance(label, str) for label in parts.bundle.classes)
        self._regression = parts.bundle.task == "regression"
        self._binary = len(parts.bundle.classes) == 2

    @classmethod
    def load(
        cls, objects: ObjectStore, digest: str, *, code_models: bool = False, rows: int = 0, graph: bool = False
    ) -> LoadedModel:
        """Return the model of a bundle, every byte of it checked.

        Args:
            objects: where the bundle rests.
            digest: the bundle's manifest.
            code_models: whether the policy allows an original in a process of its own.
            rows: how many rows a call will have, where that is known, as in a batch: the engine is chosen for it.
            graph: take the ONNX graph, whatever else could answer.

        Raises:
            NotFound: the bundle, or a file of it, is not there.
            Corrupt: it is no bundle, or its bytes have changed.
            Denied: only its original could answer, which the policy does not allow.

        Cost: reads three files; a small model takes 1-50 ms, an original in a process of its own 2 s.
        """
        began = time.perf_counter()
        return cls._timed(digest, load_bundle(objects, digest, code_models=code_models, rows=rows, graph=graph), began)

    @classmethod
    def open(cls, objects: ObjectStore, digest: str, *, code_models: bool = False) -> LoadedModel:
        """Return the model of a folder, be it a bundle or not.

        Args:
            objects: where the folder rests.
            digest: its manifest.
            code_models: whether the policy allows an original in a process of its own.

        Raises:
            NotFound: the folder, or a file of it, is not there.
            Corrupt: its bytes have changed, or a file is not what it says.
            Invalid: nothing in it can answer; the error says why.
            Denied: only its original could answer, which the policy does not allow.
            MissingExtra: its library is not installed.

        Cost: as `load`.
        """
        began = time.perf_counter()
        found = open_folder(objects, digest, code_models=code_models)
        if found is None:
            return cls._timed(digest, load_bundle(objects, digest, code_models=code_models, foreign=True), began)
        model = cls._timed(digest, found, began)
        model.prove()
        return model

    @classmethod
    def _timed(cls, digest: str, parts: Parts, began: float) -> LoadedModel:
        model = cls(digest, parts)
        model.load_s = time.perf_counter() - began
        model.call_s = model.row_s = model.time_call()
        if (further := len(model.golden.rows) - 1) > 0 and model.engine.name != "worker":
            model.row_s = max(0.0, seconds(model.bundle, model.golden, model.engine) - model.call_s) / further
        return model

    def prepare(self, columns: Columns) -> Prepared:
        """Return rows as the engine takes them; see `InputColumns.prepare`."""
        return self.inputs.prepare(columns)

    def scores(self, columns: Columns) -> NDArray[np.float64]:
        """Return the scores of rows (see `Scores`), one a row.

        Args:
            columns: one list of values a column; further columns are left out.

        Raises:
            Invalid: the model does not take these columns or values.
            Unavailable: the model's answer is no probability, or no number.
        """
        import numpy as np

        return np.asarray(self.run(self.prepare(columns)).scores, dtype=np.float64)

    def run(self, prepared: Prepared) -> Scores:
        """Return the answers to rows that `prepare` accepted.

        Raises:
            Invalid: the rows lack numbers that the model cannot do without.
            Unavailable: the model's answer is no probability, or no number; or its engine is down.
        """
        try:
            table = self.engine.run(prepared.feeds)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - the engine's own kinds, for bad rows and broken models alike
            raise self._failed(prepared, error) from None
        # A graph may answer more or fewer rows than it was asked; what it answers then is nobody's.
        found = self._answer(table) if len(table) == prepared.rows else None
        if found is None:
            raise self._failed(prepared, None)
        return found

    def golden_columns(self, limit: int | None = None) -> dict[str, list[object]]:
        """Return the golden rows, or the first of them, by column."""
        rows = self.golden.rows[:limit]
        return {name: [row.get(name) for row in rows] for name in (rows[0] if rows else ())}

    def time_call(self) -> float:
        """Return the seconds that one golden row takes, 0.0 when there is none that works."""
        found = seconds(self.bundle, self.golden, self.engine, 1)
        return max(found, _SLOW_S) if self.engine.name == "worker" else found

    def close(self) -> None:
        """Let go of what its engine holds outside this process's memory."""
        self.engine.close()

    def _answer(self, table: Table) -> Scores | None:
        """Return the answers, None where they are unsound.

        Not chosen once and kept: a model that holds a method of its own stays in memory until the collector comes, and
        the one that a server starts with, which is hidden from the collector, for ever.
        """
        if self._regression:
            return self._values(table)
        return self._two(table) if self._binary else self._many(table)

    def _two(self, table: Table) -> Scores | None:
        scores: list[float] = table[:, -1].tolist()
        if not _sound(table, scores):
            return None
        labels = [self._labels[p > 0.5] for p in scores]
        codes = [int(p > 0.5) for p in scores] if self._texts else labels
        return Scores(scores, labels, codes, table)

    def _many(self, table: Table) -> Scores | None:
        if not _sound(table, None):
            return None
        best: list[int] = table.argmax(axis=1).tolist()
        labels = [self._labels[i] for i in best]
        scores = [row[i] for row, i in zip(table.tolist(), best, strict=True)]
        return Scores(scores, labels, best if self._texts else labels, table)

    def _values(self, table: Table) -> Scores | None:
        values: list[float] = table[:, 0].tolist()
        if not all(map(math.isfinite, values)):
            return None
        return Scores(values, [None] * len(values), [0] * len(values), table)

    def _failed(self, prepared: Prepared, error: Exception | None) -> Invalid | Unavailable:
        """Return whose fault a failure is: the rows' when the model still answers its golden row, else its own."""
        if (prepared.missing or error is not None) and (findings := self._blame(prepared)):
            unseen = any(found.rule == "value" for found in findings)
            hint = "A column of categories takes those that training saw." if unseen else "Send a value there."
            return refused(findings, hint=f"{hint} Rows are counted from 0.")
        if prepared.missing:
            return Invalid(
                "A number is missing, and this model does not work without.",
                hint="Send a value in every numeric column.",
            )
        if error is not None and self._answers_golden():
            return Invalid(
                "The model cannot work with a value of these rows.",
                hint="A text column may hold a category that training never saw.",
            )
        wanted = "number" if self._regression else "probability"
        return Unavailable(
            f"The model's answer is no {wanted}." if error is None else "The model failed to answer.",
            about="model",
            hint="Nothing was recorded. Look at the deployment's status, or roll back.",
            model=self.digest,
        )

    def _blame(self, prepared: Prepared) -> list[Finding]:
        """Return the values that the model cannot work with, each tried alone in a golden row that it answers."""
        if not self._answers_golden():
            return []
        good = {name: values[0] for name, values in self.golden_columns(1).items()}
        return Blame(good, self._unsound).find(dict(zip(self.inputs.names, prepared.values, strict=True)))

    def _unsound(self, columns: Columns) -> list[int] | None:
        """Return the rows whose answer is no probability or number; None when the model fails over them."""
        import numpy as np

        try:
            table = self.engine.run(self.prepare(columns).feeds)
        except Exception:  # noqa: BLE001 - the engine's own kinds
            return None
        sound: NDArray[Any] = np.isfinite(table) if self._regression else np.abs(table - 0.5) <= FAR
        return [row for row, right in enumerate(sound.tolist()) if not all(right)]

    def _answers_golden(self) -> bool:
        try:
            self.engine.run(self.prepare(self.golden_columns(1)).feeds)
        except Exception:  # noqa: BLE001 - the engine's own kinds
            return False
        return True

    def prove(self) -> None:
        """Give a model that came without golden answers those that it gives now.

        Raises:
            Corrupt: it does not answer its own example.
        """
        rows = self.golden.rows
        if not rows:
            return
        try:
            scores = self.run(self.prepare(self.golden_columns())).scores
        except Error as error:
            self.golden = msgspec.structs.replace(self.golden, rows=[], scores=[])
            if self.parts.source == "zeros":  # nobody said that it answers zeros
                self.parts = self.parts._replace(source="", golden=self.golden)
                return
            raise Corrupt(f"The model does not answer the example beside it: {error}", about="model_version") from None
        self.golden = msgspec.structs.replace(self.golden, scores=scores)
        self.parts = self.parts._replace(golden=self.golden)


def _sound(table: Table, scores: list[float] | None) -> bool:
    """Return whether all answers are probabilities; a handful of rows is looked at faster without arrays."""
    # Turned around so that NaN is far too.
    if scores is not None and len(scores) <= _FEW:
        return all(abs(p - 0.5) <= FAR for p in scores)
    return bool((abs(table - 0.5) <= FAR).all())

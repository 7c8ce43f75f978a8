"""From rows to parts: batches are read, scored by threads and put together again in their order."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from interlock.core.errors import Conflict, Invalid
from interlock.deploy.batch_inputs import batches
from interlock.deploy.batch_records import BATCH_ROWS, Part
from interlock.serve.table_columns import Fault, cast_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import polars as pl

    from interlock.deploy.batch_folder import OutputFolder
    from interlock.deploy.batch_inputs import Source
    from interlock.deploy.batch_records import Options, Plan, Watch
    from interlock.serve.tables import Answers, TableModel

ID: Final = "prediction_id"
MODEL: Final = "model"
PROBABILITY: Final = "probability"
_SUFFIX: Final = {"parquet": "parquet", "csv": "csv", "arrow": "arrow"}
_THREADS: Final = 8  # at most, and as many as this process may use


class _Piece(NamedTuple):
    """Some rows of a file that belong to one part; `ends` says whether it is the part's last."""

    frame: pl.DataFrame
    first: int
    ends: bool


class _Done(NamedTuple):
    """A piece with its answers: rows of the output, and which were refused."""

    rows: pl.DataFrame
    bad: pl.DataFrame | None
    taken: int
    refused: int


class _Parts:
    """Puts scored rows together to parts, of which one at a time is written.

    Args:
        done: parts that are done.
        first: the number of the row that comes next.
        write: begins to write the part of some rows, which begin at a number.
    """

    def __init__(self, done: Sequence[Part], first: int, write: Callable[[int, list[_Done]], Future[Part]]) -> None:
        self._parts = list(done)
        self._first = first
        self._write = write
        self._rows: list[_Done] = []
        self._writing: Future[Part] | None = None
        self.begun = False

    def add(self, rows: _Done, *, ends: bool) -> None:
        """Take further rows, and whether they end a part."""
        self._rows.append(rows)
        self.begun = True
        if ends:
            self._end()

    def finish(self) -> list[Part]:
        """Return all parts, which are on disk then."""
        if self._rows:
            self._end()
        self._settle()
        return self._parts

    def _end(self) -> None:
        self._settle()
        self._writing = self._write(self._first, self._rows)
        self._first += sum(rows.taken for rows in self._rows)
        self._rows = []

    def _settle(self) -> None:
        if self._writing is not None:
            self._parts.append(self._writing.result())
            self._writing = None


class Work:
    """The work of one plan.

    Args:
        plan: gives what shall be done, when the files' digests are known; it is in the folder then.
        options: of the plan.
        model: who answers.
        folder: where parts go.
        watch: is told how it goes.
        batch_rows: how many rows are read and scored at a time.
    """

    def __init__(
        self,
        plan: Callable[[], Plan],
        options: Options,
        model: TableModel,
        folder: OutputFolder,
        watch: Watch,
        batch_rows: int = BATCH_ROWS,
    ) -> None:
        self._plan = plan
        self._options = options
        self._model = model
        self._folder = folder
        self._watch = watch
        self._batch_rows = min(batch_rows, options.part_rows)
        cores = len(os.sched_getaffinity(0))
        self._threads = min(cores, _THREADS) if model.threads else 1

    def run(self, number: int, source: Source, done: Sequence[Part]) -> list[Part]:
        """Return the parts of a file, those included that were done before.

        Args:
            number: of the file, from 0.
            source: the file.
            done: its parts that are done, in their order.

        Raises:
            Invalid: a row is refused and the plan says `fail`, or the file cannot be read.
        """
        if done and done[-1].taken < self._options.part_rows:
            return list(done)
        start = sum(part.taken for part in done)
        scorer = ThreadPoolExecutor(self._threads, "score")
        writer = ThreadPoolExecutor(1, "write")
        parts = _Parts(done, start, lambda first, rows: writer.submit(self._part, number, first, rows))
        waiting: deque[tuple[Future[_Done], bool]] = deque()

        def take() -> None:
            scored, ends = waiting.popleft()
            rows = scored.result()
            self._watch.took(rows.taken)
            parts.add(rows, ends=ends)

        try:
            for piece in self._pieces(source, start):
                waiting.append((scorer.submit(self._score, source, piece), piece.ends))
                if len(waiting) > self._threads:
                    take()
            while waiting:
                take()
            if start == 0 and not parts.begun:  # a file without rows has a part without rows
                parts.add(self._score(source, _Piece(self._empty(source), 0, ends=True)), ends=True)
            return parts.finish()
        finally:
            scorer.shutdown(wait=True, cancel_futures=True)
            writer.shutdown(wait=True)

    def _pieces(self, source: Source, start: int) -> Iterator[_Piece]:
        wanted, at = self._options.part_rows, start
        # Text takes four times the memory of the numbers that it spells.
        rows = max(self._batch_rows // 4, 1) if source.text else self._batch_rows
        for frame in batches(source, self._columns(), start, rows):
            low = 0
            while low < frame.height:
                size = min(frame.height - low, self._batch_rows, wanted - at % wanted)
                yield _Piece(frame.slice(low, size), at, (at + size) % wanted == 0)
                low, at = low + size, at + size

    def _columns(self) -> list[str]:
        return list(dict.fromkeys((*self._model.names, *self._options.carried)))

    def _empty(self, source: Source) -> pl.DataFrame:
        import polars as pl

        from interlock.deploy.batch_inputs import schema_of

        schema = schema_of(source)
        return pl.DataFrame(schema={name: schema[name] for name in self._columns()})

    def _score(self, source: Source, piece: _Piece) -> _Done:
        """Return a piece with its answers; this runs in threads."""
        options = self._options
        frame, faults = _typed(self._model, piece.frame) if source.text else (piece.frame, [])
        faults += _unnamed(frame, options.id_column)
        try:
            if options.bad_rows == "fail":
                if faults:
                    raise _refused(faults, piece.first)
                return self._done(source, piece, self._model.score(frame, piece.first), [])
            return self._done(source, piece, self._model.score_sound(frame), faults)
        except Invalid as error:
            hint = error.hint.removesuffix(" Rows are counted from 0.").removesuffix("; rows are counted from 0.")
            raise Invalid(
                f"{source.path.name}: {error.message}",
                about="table",
                hint=f"{hint.rstrip('.')}. Rows are counted from 0, without a header. Nothing was published; with"
                " --bad-rows null or skip it goes on from here without such rows.",
                findings=error.findings,
            ) from None

    def _done(self, source: Source, piece: _Piece, answers: Answers, faults: list[Fault]) -> _Done:
        import numpy as np
        import polars as pl

        height = piece.frame.height
        bad = np.zeros(height, dtype=np.bool_) if answers.bad is None else answers.bad
        every = [*faults, *(_without(fault, faults) for fault in answers.faults)]
        for fault in faults:
            bad[fault.rows] = True
        bundle, options = self._model.model.bundle, self._options
        # Which file this is stands before the row's number as soon as its digest is known, see `_part`.
        made = [pl.int_range(piece.first, piece.first + height, dtype=pl.Int64).alias(ID)]
        scores = pl.Series(answers.scores)
        if answers.picked is None:
            made.append(pl.lit(scores).alias(bundle.target))
        else:
            labels = pl.Series(bundle.classes, strict=False).gather(pl.Series(answers.picked))
            made += [pl.lit(labels).alias(bundle.target), pl.lit(scores).alias(PROBABILITY)]
        if every:
            good = pl.lit(pl.Series(~bad))
            made = [pl.when(good).then(column).otherwise(None).alias(column.meta.output_name()) for column in made]
        rows = piece.frame.select([*map(pl.col, options.carried), *made])
        if every and options.bad_rows == "skip":
            rows = rows.filter(pl.Series(~bad))
        report = _report(source.path.name, piece.first, every) if every else None
        return _Done(rows, report, height, int(bad.sum()))

    def _part(self, number: int, first: int, done: list[_Done]) -> Part:
        """Return a part that is on disk and in the journal."""
        import polars as pl

        options = self._options
        plan = self._plan()
        ids = pl.format("{}-{}", pl.lit(stems(plan)[number]), ID).alias(ID)
        frame = pl.concat([one.rows for one in done]).with_columns(ids, pl.lit(plan.model).alias(MODEL))
        stem = f"{number:05}-{first // options.part_rows:05}"
        name = f"{stem}.{_SUFFIX[options.format]}"
        digest, size = self._folder.keep(name, lambda path: _save(frame, path, options))
        bad = [one.bad for one in done if one.bad is not None]
        report = report_digest = ""
        if bad:
            report = f"bad-{stem}.csv"
            report_digest, _ = self._folder.keep(report, pl.concat(bad).sort("row", maintain_order=True).write_csv)
        taken, refused = sum(one.taken for one in done), sum(one.refused for one in done)
        part = Part(number, first, taken, frame.height, refused, name, digest, size, report, report_digest)
        self._folder.note(part)
        return part


def stems(plan: Plan) -> list[str]:
    """Return what the prediction ids of each file begin with: the same for the same model, bytes and options of ids.

    A file that is there twice under two names has two: its second copy counts as the second.
    """
    seen: dict[str, int] = {}
    found = []
    for given in plan.inputs:
        copy = seen[given.digest] = seen.get(given.digest, -1) + 1
        found.append(hashlib.sha256(f"{plan.bundle} {given.digest} {copy}".encode()).hexdigest()[:20])
    return found


def output_columns(model: TableModel, carried: Sequence[str]) -> list[str]:
    """Return the columns of the output.

    Raises:
        Conflict: one would be there twice.
    """
    bundle = model.model.bundle
    made = [ID, bundle.target, *([PROBABILITY] if bundle.classes else []), MODEL]
    if len(set(made)) < len(made):
        raise Conflict(f"The model's target is called {bundle.target!r}, as a column of ours is.", about="table")
    for name in carried:
        if name in made:
            raise Conflict(
                f"Column {name!r} cannot be kept: the output has one of that name.",
                about="table",
                hint=f"The output's own columns are {', '.join(made)}. Give yours another name in the files, or keep a"
                " column that names each row (--id-column) and join by it.",
            )
    return [*carried, *made]


def check_kept(carried: Sequence[str], schemas: Mapping[str, Mapping[str, pl.DataType]], format: str) -> None:
    """Accept columns that all files have, in one type that the output's format can hold.

    Raises:
        Invalid: one is missing, has another type elsewhere, or does not fit.
    """
    for name in carried:
        kinds = {file: schema.get(name) for file, schema in schemas.items()}
        for file, kind in kinds.items():
            if kind is None:
                raise Invalid(f"{file}: there is no column {name!r} to keep.", about="table")
            if format == "csv" and kind.is_nested():
                raise Invalid(f"{file}: column {name!r} does not fit into CSV.", about="table")
        if len(set(kinds.values())) > 1:
            raise Invalid(f"Column {name!r} has different types in different files.", about="table")


def _save(frame: pl.DataFrame, path: Path, options: Options) -> None:
    if options.format == "csv":
        frame.write_csv(path)
    elif options.format == "arrow":
        frame.write_ipc(path, compression="zstd")
    else:  # readers pass over groups of rows by statistics of columns that were kept, hardly by those of ours
        known = bool(options.carried)
        frame.write_parquet(path, compression="zstd", compression_level=1, statistics=known)


def _typed(model: TableModel, frame: pl.DataFrame) -> tuple[pl.DataFrame, list[Fault]]:
    """Return a frame of text with the model's columns in their types."""
    faults: list[Fault] = []
    cast: list[Any] = []
    for column in model.inputs:
        series, wrong = cast_text(column, frame[column.name])
        cast.append(series.alias(column.name))
        faults += wrong
    return frame.with_columns(cast), faults


def _unnamed(frame: pl.DataFrame, id_column: str) -> list[Fault]:
    if not id_column or not frame[id_column].null_count():
        return []
    return [Fault("missing", id_column, frame[id_column].is_null().to_numpy().nonzero()[0], "is missing")]


def _without(fault: Fault, known: Sequence[Fault]) -> Fault:
    """Return a fault without rows of which something is known already: a text that spells nothing is not missing."""
    import numpy as np

    for earlier in known:
        if earlier.column == fault.column:
            fault = fault._replace(rows=np.setdiff1d(fault.rows, earlier.rows))
    return fault


def _refused(faults: Sequence[Fault], first: int) -> Invalid:
    from interlock.serve.columns import finding, refused

    return refused([finding(f.rule, f.column, (f.rows + first).tolist(), f.trouble) for f in faults])


def _report(file: str, first: int, faults: Sequence[Fault]) -> pl.DataFrame:
    import polars as pl

    return pl.concat(
        pl.DataFrame({"row": fault.rows + first}).select(
            pl.lit(file).alias("file"),
            pl.col("row").cast(pl.Int64),
            pl.lit(fault.column).alias("column"),
            pl.lit(fault.rule).alias("rule"),
            pl.lit(f"the value {fault.trouble}").alias("problem"),
        )
        for fault in faults
    )

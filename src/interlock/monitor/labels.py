"""Labels: the truth that comes later, joined to predictions whenever it comes."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.core.clock import from_micros, to_micros
from interlock.core.errors import Invalid
from interlock.data.formats import read_table
from interlock.data.read import Rows, has_a_line_a_row
from interlock.monitor.records import LabelBatch

if TYPE_CHECKING:
    import polars as pl

    from interlock.core.files import StoredFile
    from interlock.core.ports import Transaction
    from interlock.monitor.records import MonitorPlan
    from interlock.store import Store

BY_PREDICTION = "prediction_id"
_KEY, _SECOND = "label of what?", " of the subject?"  # no file of labels has such columns


def add_labels(store: Store, name: str, plan: MonitorPlan, file: StoredFile) -> LabelBatch:
    """Return the batch that a file of labels became; the same bytes are kept once.

    A row names its prediction (`prediction_id`) or its subject (the plan's id column; a plan without one has labels by
    prediction only), and holds the target as 0 or 1; further columns, such as sensitive ones, are kept for audits.

    Raises:
        Invalid: a column is missing, or a label is neither 0 nor 1; nothing is kept.
    """
    import polars as pl

    with tempfile.TemporaryDirectory(prefix="interlock-") as folder:
        path = Path(folder) / "labels"
        store.uploads.fetch(file.digest, path)
        frame, typed = read_table(path, file.name)
        rows = Rows(frame, None, ((file.name, frame.height, not typed and has_a_line_a_row(path, frame.height)),))
    key = _key(frame, plan)
    for column in (key or plan.id or BY_PREDICTION, plan.target):
        if column not in frame.columns:
            raise Invalid(f"{file.name} has no column {column!r}.", about="labels", hint=_needed(frame, plan))
    truth = _truth(rows, plan, file.name)
    frame = _plain(frame.with_columns(truth.cast(pl.Int64)), file.name)
    sink = io.BytesIO()
    frame.write_parquet(sink, compression="zstd")
    digest = store.objects.put(sink.getvalue())
    joined = _joined(store, plan, frame, key)

    def change(tx: Transaction) -> int:
        row = tx.one(
            "SELECT arrived_at FROM label_batches WHERE monitor = :m AND digest = :d", {"m": name, "d": digest}
        )
        if row is not None:
            return int(row["arrived_at"])
        at = to_micros(store.clock.now())
        tx.run(
            "INSERT INTO label_batches (monitor, digest, rows, arrived_at) VALUES (:m, :d, :rows, :at)",
            {"m": name, "d": digest, "rows": frame.height, "at": at},
        )
        data = {"digest": digest, "rows": frame.height, "joined": joined}
        store.ledger.append(tx, "labels.joined", f"monitor:{name}", data)
        return at

    at = from_micros(store.database.write(change))
    note = f"none of them belongs to a prediction of deployment:{plan.deployment} yet" if not joined else ""
    return LabelBatch(digest, frame.height, joined, frame.height - joined, at, note)


def _truth(rows: Rows, plan: MonitorPlan, name: str) -> pl.Series:
    """Return the labels of a file's rows.

    Raises:
        Invalid: one is neither 0 nor 1.
    """
    import polars as pl

    truth = rows.frame[plan.target].cast(pl.Float64, strict=False)
    wrong = ~truth.is_in([0.0, 1.0]).fill_null(value=False)
    if wrong.any():
        numbers, count = wrong.arg_true().head(10).to_list(), int(wrong.sum())
        where = rows.place(numbers[0]) or f"row {numbers[0] + 1} of {name}"
        raise Invalid(
            f"{name}: {plan.target!r} is neither 0 nor 1 in {count} row{'' if count == 1 else 's'};"
            f" {'first ' * (count > 1)}{rows.frame[plan.target][numbers[0]]!r} in {where}.",
            about="labels",
            rows=numbers,
        )
    return truth


def with_labels(store: Store, name: str, plan: MonitorPlan, predictions: pl.DataFrame) -> pl.DataFrame:
    """Return predictions with the columns of their labels; null where the truth has not come.

    A label of the prediction itself wins over one of its subject; of several such, the newest.

    Args:
        store: the workspace.
        name: the monitor.
        plan: its plan.
        predictions: rows of the prediction log.
    """
    import polars as pl

    batches = store.database.all(
        "SELECT digest FROM label_batches WHERE monitor = :name ORDER BY arrived_at, digest", {"name": name}
    )
    if not batches:
        return predictions.with_columns(pl.lit(None, pl.Int64).alias(plan.target))
    frames = [pl.read_parquet(io.BytesIO(store.objects.get(row["digest"]))) for row in batches]
    found = [_newest(frames, plan, key) for key in filter(None, (BY_PREDICTION, plan.id))]
    joined = predictions
    for labels, on in zip(found, ("id", "subject"), strict=False):
        if labels is not None:
            new = labels.drop([name for name in labels.columns if name in predictions.columns])
            joined = joined.join(new, left_on=on, right_on=_KEY, how="left", maintain_order="left", suffix=_SECOND)
    second = [name for name in joined.columns if name.endswith(_SECOND)]
    names = [name.removesuffix(_SECOND) for name in second]
    joined = joined.with_columns(pl.coalesce(a, b) for a, b in zip(names, second, strict=True)).drop(second)
    if plan.target not in joined.columns:  # all labels are of a key that the plan has no more
        return joined.with_columns(pl.lit(None, pl.Int64).alias(plan.target))
    return joined


def _plain(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return labels with columns of types that go together with those of any other batch: numbers, texts, booleans."""
    import polars as pl
    from polars import selectors as cs

    frame = frame.with_columns((cs.temporal() | cs.by_dtype(pl.Categorical, pl.Enum)).cast(pl.String))
    for column in frame.select(~(cs.numeric() | cs.string() | cs.boolean())).columns:
        raise Invalid(
            f"{name}: column {column!r} holds {frame.schema[column]}; labels are numbers and texts.", about="labels"
        )
    return frame


def _newest(frames: list[pl.DataFrame], plan: MonitorPlan, key: str) -> pl.DataFrame | None:
    """Return the newest label of each key, the key in column `_KEY`, or None when no batch is of this kind."""
    import polars as pl

    mine = [
        frame.with_columns(pl.col(key).cast(pl.String).alias(_KEY)).drop({key, plan.id} & {*frame.columns})
        for frame in frames
        if _key(frame, plan) == key
    ]
    if not mine:
        return None
    labels = pl.concat(mine, how="diagonal_relaxed").filter(pl.col(_KEY) != "")
    return labels.unique(subset=[_KEY], keep="last", maintain_order=True)


def _key(frame: pl.DataFrame, plan: MonitorPlan) -> str:
    """Return the column that says what a label is of, or "" when there is none."""
    if BY_PREDICTION in frame.columns:
        return BY_PREDICTION
    return plan.id if plan.id in frame.columns else ""


def _needed(frame: pl.DataFrame, plan: MonitorPlan) -> str:
    """Return a hint: the columns that labels need."""
    keys = f"{plan.id!r} or '{BY_PREDICTION}'" if plan.id else f"'{BY_PREDICTION}'"
    more = "" if plan.id else " To give labels by subject, say `id` in [data.NAME] of interlock.toml."
    return f"Labels need {plan.target!r} and {keys}; there are {', '.join(frame.columns)}.{more}"


def _joined(store: Store, plan: MonitorPlan, frame: pl.DataFrame, key: str) -> int:
    import polars as pl

    logged = store.predictions.frame(plan.deployment)
    known = logged["id" if key == BY_PREDICTION else "subject"]
    return int(frame[key].cast(pl.String).is_in(known.filter(known != "").implode()).sum())

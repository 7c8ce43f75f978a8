"""Labels: the truth that comes later, joined to predictions whenever it comes."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.core.clock import from_micros, to_micros
from interlock.core.errors import Invalid
from interlock.data.formats import read_table
from interlock.monitor.records import LabelBatch

if TYPE_CHECKING:
    import polars as pl

    from interlock.core.files import StoredFile
    from interlock.core.ports import Transaction
    from interlock.monitor.records import MonitorPlan
    from interlock.store import Store

BY_PREDICTION = "prediction_id"


def add_labels(store: Store, name: str, plan: MonitorPlan, file: StoredFile) -> LabelBatch:
    """Return the batch that a file of labels became; the same bytes are kept once.

    A row names its prediction (`prediction_id`) or its subject (the plan's id column), and holds the target as 0 or 1;
    further columns, such as sensitive ones, are kept for audits.

    Raises:
        Invalid: a column is missing, or a label is neither 0 nor 1; nothing is kept.
    """
    import polars as pl

    with tempfile.TemporaryDirectory(prefix="interlock-") as folder:
        path = Path(folder) / "labels"
        store.objects.fetch(file.digest, path)
        frame, _ = read_table(path, file.name)
    key = BY_PREDICTION if BY_PREDICTION in frame.columns else plan.id
    for column in (key, plan.target):
        if column not in frame.columns:
            raise Invalid(
                f"{file.name} has no column {column!r}.",
                about="labels",
                hint=f"Labels need {plan.target!r} and {plan.id!r} or 'prediction_id';"
                f" there are {', '.join(frame.columns)}.",
            )
    wrong = ~frame[plan.target].cast(pl.Int64, strict=False).is_in([0, 1]).fill_null(value=False)
    if wrong.any():
        rows = wrong.arg_true().head(10).to_list()
        raise Invalid(
            f"{file.name}: {plan.target!r} is neither 0 nor 1 in {wrong.sum()} rows, the first {rows[0]}.",
            about="labels",
            rows=rows,
        )
    frame = frame.with_columns(pl.col(pl.Categorical).cast(pl.String), pl.col(plan.target).cast(pl.Int64))
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

    return LabelBatch(digest, frame.height, joined, from_micros(store.database.write(change)))


def with_labels(store: Store, name: str, plan: MonitorPlan, predictions: pl.DataFrame) -> pl.DataFrame:
    """Return predictions with the columns of their labels; null where the truth has not come. The newest label wins.

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
    joined = predictions.with_columns(pl.lit(None, pl.Int64).alias(plan.target))
    if not batches:
        return joined
    frames = [pl.read_parquet(io.BytesIO(store.objects.get(row["digest"]))) for row in batches]
    joined = predictions
    for key, on in ((BY_PREDICTION, "id"), (plan.id, "subject")):
        found = [frame.with_columns(pl.col(key).cast(pl.String)) for frame in frames if _key(frame, plan) == key]
        if found:
            labels = pl.concat(found, how="diagonal_relaxed").unique(subset=[key], keep="last", maintain_order=True)
            twice = [column for column in labels.columns if column in joined.columns and column != key]
            joined = joined.join(labels.drop(twice), left_on=on, right_on=key, how="left", maintain_order="left")
    return joined


def _key(frame: pl.DataFrame, plan: MonitorPlan) -> str:
    return BY_PREDICTION if BY_PREDICTION in frame.columns else plan.id


def _joined(store: Store, plan: MonitorPlan, frame: pl.DataFrame, key: str) -> int:
    import polars as pl

    logged = store.predictions.frame(plan.deployment)
    known = logged["id" if key == BY_PREDICTION else "subject"]
    return int(frame[key].cast(pl.String).is_in(known.implode()).sum())

"""Labels in files, and the join of labels to predictions. What a label is, and which counts: `store/labels.py`."""

from __future__ import annotations

import io
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from interlock.core.clock import from_micros, to_micros
from interlock.core.errors import Invalid
from interlock.core.ids import is_ulid
from interlock.data.formats import read_table
from interlock.data.read import Rows, has_a_line_a_row
from interlock.monitor.kinds import CLASS, COLUMNS, KIND, NUMBER, TWO, Task
from interlock.monitor.label_times import cases_of, observed_of
from interlock.monitor.records import LabelBatch, LabelRefused
from interlock.store.label_truths import shown, truth_of
from interlock.store.labels import ALWAYS, PREDICTION, REFUSALS, SUBJECT, Body, Label, Labels
from interlock.store.prediction_frames import to_frame

if TYPE_CHECKING:
    import polars as pl

    from interlock.core.files import StoredFile
    from interlock.core.ports import Row, Transaction
    from interlock.monitor.kinds import TaskKind
    from interlock.monitor.records import MonitorPlan
    from interlock.store import Store
    from interlock.store.label_truths import Truth
    from interlock.store.labels import Taken
    from interlock.store.predictions import Prediction

    _Told = tuple[TaskKind, list[Truth] | None]

BY_PREDICTION = "prediction_id"
OBSERVED_AT, OCCURRED_AT = "observed_at", "occurred_at"
_PLACE = ["label of which file?", "and which row?"]  # no file of labels has such columns
_SHOWN = 20
_SECOND = " of the subject?"


def add_labels(store: Store, name: str, plan: MonitorPlan, file: StoredFile, task: Task) -> LabelBatch:
    """Return the batch that a file of labels became; the same bytes are kept once.

    A row names its prediction (`prediction_id`) or its subject (the plan's id column; a plan without one has labels by
    prediction only), and holds the target: 0 or 1, of more classes one of them, of a regression a number. Further
    columns, such as sensitive ones, are kept for audits. `observed_at` and, for subjects, `occurred_at` are instants,
    as the data plane takes them.

    Args:
        store: the workspace.
        name: the monitor.
        plan: its plan.
        file: the file.
        task: what the truths of the deployment's models are.

    Raises:
        Invalid: a column is missing, a label is no truth of such a model, or an instant is none; nothing is kept.
    """
    import polars as pl

    settle_batches(store, name, plan)
    frame = (rows := _rows(store, file)).frame
    key = _key(frame, plan)
    for column in (key or plan.id or BY_PREDICTION, plan.target):
        if column not in frame.columns:
            raise Invalid(f"{file.name} has no column {column!r}.", about="labels", hint=_needed(frame, plan))
    truths = _other_truths(rows, plan, file.name, task) if task.kind else None
    truth = rows.frame[plan.target] if truths else _truth(rows, plan, file.name).cast(pl.Int64)
    cases = cases_of(rows, OCCURRED_AT) if key != BY_PREDICTION else []
    times = observed_of(rows, OBSERVED_AT, to_micros(store.clock.now())), cases
    frame = _plain(frame.with_columns(truth), file.name)
    sink = io.BytesIO()
    frame.write_parquet(sink, compression="zstd")
    digest = store.objects.put(sink.getvalue())
    joined = _joined(store, plan, frame, key)
    body = _timed(_body(name, plan, frame, digest, (task.kind, truths)), *times)
    body, strange = _owned(store, body)

    def then(tx: Transaction, _: Taken) -> None:
        data = {"digest": digest, "rows": frame.height, "joined": joined}
        store.ledger.append(tx, "labels.joined", f"monitor:{name}", data)

    taken = Labels(store).take(body, then)
    at = from_micros(taken.received_at)
    note = "" if joined else f"none of them belongs to a prediction of deployment:{plan.deployment} yet"
    if taken.replayed:
        note = f"these rows came before, at {at:%Y-%m-%dT%H:%MZ}, and count once; this is the answer from then"
    told = sorted([*strange, *_told(body, taken)], key=lambda refused: refused.row)
    counts = Counter(taken.counts) + Counter(refused=len(strange))  # those above zero
    return LabelBatch(digest, frame.height, joined, frame.height - joined, at, note, dict(counts), tuple(told[:_SHOWN]))


def _rows(store: Store, file: StoredFile) -> Rows:
    with tempfile.TemporaryDirectory(prefix="interlock-") as folder:
        path = Path(folder) / "labels"
        store.uploads.fetch(file.digest, path)
        frame, typed = read_table(path, file.name)
        return Rows(frame, None, ((file.name, frame.height, not typed and has_a_line_a_row(path, frame.height)),))


def _owned(store: Store, body: Body) -> tuple[Body, list[LabelRefused]]:
    """Return a body with who answered the predictions that it names, and the rows left out: they name none."""
    strange, labels, ids = [], [], set()
    for label in body.labels:
        ident = label.about.removeprefix(PREDICTION)
        if ident == label.about or is_ulid(ident):
            labels.append(label)
            ids |= {ident} - {label.about}
        else:
            strange.append(LabelRefused(label.position + 1, "its prediction_id is no id of a prediction"))
    return msgspec.structs.replace(body, labels=labels, owners=store.predictions.owners(ids)), strange


def _told(body: Body, taken: Taken) -> list[LabelRefused]:
    """Return what is to be said of rows that were refused, or whose prediction is not on record."""
    why = {**REFUSALS, "u": "no prediction on record has this id; it counts once there is one"}
    letters = zip(body.labels, taken.answer, strict=True)
    return [LabelRefused(label.position + 1, why[letter]) for label, letter in letters if letter in why]


def settle_batches(store: Store, name: str, plan: MonitorPlan) -> None:
    """Take the files that an older Interlock kept whole; those whose key the plan does not have wait for another plan.

    Cost: a look at a table that is empty from the second time on.
    """
    import polars as pl

    rows = store.database.all(
        "SELECT digest, arrived_at FROM label_batches WHERE monitor = :name ORDER BY arrived_at, digest", {"name": name}
    )
    for row in rows:
        frame = pl.read_parquet(io.BytesIO(store.objects.get(row["digest"])))
        if plan.target not in frame.columns or not _key(frame, plan):
            continue
        body = msgspec.structs.replace(_body(name, plan, frame, row["digest"]), received_at=row["arrived_at"])
        Labels(store).take(body, lambda _tx, _taken: None)  # the event was written when it came
        values = {"name": name, "digest": row["digest"]}
        store.database.write(
            lambda tx, values=values: tx.run(  # type: ignore[misc]
                "DELETE FROM label_batches WHERE monitor = :name AND digest = :digest", values
            )
        )


def with_labels(store: Store, name: str, plan: MonitorPlan, predictions: pl.DataFrame) -> pl.DataFrame:
    """Return predictions with the columns of their labels; null where the truth has not come.

    The truth stands in the columns `COLUMNS`: of which kind it is, and in the one of its kind.
    A label of the prediction itself wins over one of its subject, one of a subject's case over one of a span of time,
    and that over one that says no time. Of several such, the one observed last counts, then the one received last.

    Args:
        store: the workspace.
        name: the monitor.
        plan: its plan.
        predictions: rows of the prediction log.
    """
    import polars as pl

    settle_batches(store, name, plan)
    if not predictions.height:
        return predictions.with_columns(pl.lit(None, dtype).alias(column) for column, dtype in _dtypes().items())
    book = Labels(store)
    ids = predictions["id"]
    own = book.current(plan.deployment, PREDICTION + str(ids.min()), PREDICTION + str(ids.max()))
    others = book.current(plan.deployment, SUBJECT, f"{SUBJECT}\U0010ffff") if plan.id else []
    said = [_of_predictions(own, predictions), _of_subjects(others, predictions)]
    joined = predictions
    for labels in said:
        new = _further(store, plan, labels, predictions.columns)
        joined = joined.join(new, on="id", how="left", maintain_order="left", suffix=_SECOND)
    second = [column for column in joined.columns if column.endswith(_SECOND)]
    whole = {column: pl.when(pl.col(KIND).is_not_null()) for column in COLUMNS}  # a truth is of one label, all of it
    taken = []
    for other in second:
        column = other.removesuffix(_SECOND)
        given = whole[column].then(column).otherwise(other) if column in whole else pl.coalesce(column, other)
        taken.append(given.alias(column))
    return joined.with_columns(taken).drop(second)


def truth_about(store: Store, row: Prediction) -> int | float | str | None:
    """Return what labels say of one prediction now, chosen as `with_labels` does; None where no truth came.

    Cost: the labels of the prediction and of its subject.
    """
    book = Labels(store)
    own = book.current(row.deployment, PREDICTION + row.id, PREDICTION + row.id)
    if own:
        return shown(truth_of(own[-1]))
    about = SUBJECT + row.subject
    others = book.current(row.deployment, about, about) if row.subject else []
    if not others:
        return None
    case = to_frame([row])
    for found in _of_subjects(others, case).select(*COLUMNS).iter_rows():
        return shown(truth_of(dict(zip(("kind", "label", "number", "class"), found, strict=True))))
    return None


def _of_predictions(rows: list[Row], predictions: pl.DataFrame) -> pl.DataFrame:
    """Return the labels of predictions by their ids, one each."""
    labels = _frame(rows, PREDICTION).select(*COLUMNS, *_PLACE, id="about")
    return labels.join(predictions.select("id"), on="id", how="semi")


def _of_subjects(rows: list[Row], predictions: pl.DataFrame) -> pl.DataFrame:
    """Return for each prediction the label of its subject that is about its case, one each."""
    import polars as pl

    labels = _frame(rows, SUBJECT).rename({"about": "subject"})
    always = (pl.col("since") == ALWAYS[0]) & (pl.col("until") == ALWAYS[1])
    labels = labels.with_columns(
        until=pl.when(always).then("observed_at").otherwise("until"),  # no truth is observed before its case
        exact=pl.when(always).then(0).when(pl.col("since") == pl.col("until")).then(2).otherwise(1),
    )
    cases = predictions.select("id", "subject", case=pl.col("occurred_at").to_physical()).filter(
        pl.col("subject") != ""
    )
    found = cases.join(labels, on="subject").filter(pl.col("case").is_between("since", "until"))
    found = found.sort("exact", "observed_at", "body", "position").unique("id", keep="last")
    return found.select("id", *COLUMNS, *_PLACE)


def _frame(rows: list[Row], prefix: str) -> pl.DataFrame:
    import polars as pl

    numbers = dict.fromkeys(("since", "until", "label", "observed_at", "body", "position"), pl.Int64)
    others = {"kind": pl.String, "number": pl.Float64, "class": pl.String, "file": pl.String}
    frame = pl.DataFrame(rows, schema={"about": pl.String, **numbers, **others})
    places = dict(zip(_PLACE, (pl.col("file"), pl.col("position")), strict=True))
    kind = pl.col("kind")
    truth = {
        KIND: kind,
        TWO: pl.when(kind == "").then("label"),
        NUMBER: pl.when(kind == "number").then("number"),
        CLASS: pl.when(kind == "class").then("class"),
    }
    return frame.with_columns(pl.col("about").str.strip_prefix(prefix), **places, **truth)


def _dtypes() -> dict[str, Any]:
    import polars as pl

    return {KIND: pl.String, TWO: pl.Int64, NUMBER: pl.Float64, CLASS: pl.String}


def _further(store: Store, plan: MonitorPlan, labels: pl.DataFrame, taken: list[str]) -> pl.DataFrame:
    """Return labels with the further columns of the files that they came in."""
    import polars as pl

    parts = []
    for digest in labels[_PLACE[0]].unique().to_list():
        if digest:
            frame = pl.read_parquet(io.BytesIO(store.objects.get(digest)))
            known = {*taken, *COLUMNS, plan.id, plan.target, BY_PREDICTION, OBSERVED_AT, "label"}
            frame = frame.select(pl.exclude([column for column in frame.columns if column in known]))
            if frame.width:
                frame = frame.with_row_index(_PLACE[1]).with_columns(pl.lit(digest).alias(_PLACE[0]))
                parts.append(frame.with_columns(pl.col(_PLACE[1]).cast(pl.Int64)))
    if parts:
        labels = labels.join(pl.concat(parts, how="diagonal_relaxed"), on=_PLACE, how="left")
    return labels.drop(_PLACE)


def _body(name: str, plan: MonitorPlan, frame: pl.DataFrame, digest: str, told: _Told = ("", None)) -> Body:
    """Return the rows of a file that say what they are about, as labels; `told` is as a model of `kind` reads them."""
    import polars as pl

    kind, truths = told
    key = _key(frame, plan)
    prefix = PREDICTION if key == BY_PREDICTION else SUBJECT
    pairs = zip(frame[key].cast(pl.String), truths or frame[plan.target].cast(pl.Int64), strict=True)
    labels = [Label(prefix + about, truth, position=row) for row, (about, truth) in enumerate(pairs) if about]
    further = bool({*frame.columns} - {key, plan.id, plan.target, OBSERVED_AT, OCCURRED_AT})
    # The same file says other truths where the deployment's model is of another kind by now.
    once = f"monitor:{name}:{digest}" + (f":{kind}" if kind else "")
    return Body(plan.deployment, labels, once, digest, f"monitor:{name}", further)


def _timed(body: Body, observed: list[int | None], cases: list[tuple[int, int] | None]) -> Body:
    """Return a body whose labels have the instants of their rows."""
    timed = []
    for label in body.labels:
        since, until = (cases[label.position] if cases else None) or ALWAYS
        at = observed[label.position] if observed else None
        timed.append(msgspec.structs.replace(label, observed_at=at, since=since, until=until))
    return msgspec.structs.replace(body, labels=timed)


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


def _other_truths(rows: Rows, plan: MonitorPlan, name: str, task: Task) -> list[Truth]:
    """Return the labels of a file's rows, of a model that has not two classes.

    Raises:
        Invalid: one is no truth of such a model.
    """
    found: list[Truth] = []
    wrong: dict[int, str] = {}
    for number, value in enumerate(rows.frame[plan.target].to_list()):
        try:
            found.append(task.truth(value))
        except ValueError as error:
            wrong.setdefault(number, str(error))
    if wrong:
        first = next(iter(wrong))
        where = rows.place(first) or f"row {first + 1} of {name}"
        many = f"{len(wrong)} row{'' if len(wrong) == 1 else 's'} of {name}"
        raise Invalid(
            f"{many} say no truth; in {where} {wrong[first].replace('label', repr(plan.target), 1)}.",
            about="labels",
            rows=list(wrong)[:10],
        )
    return found


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

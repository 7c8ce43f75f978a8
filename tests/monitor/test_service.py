"""Monitors on a real prediction log."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import polars as pl
import pytest

from interlock.core.clock import FixedClock, from_micros, to_micros
from interlock.core.errors import Invalid, NotFound
from interlock.core.files import StoredFile
from interlock.core.ids import new_id
from interlock.monitor.digests import digest_predictions
from interlock.monitor.kinds import TWO
from interlock.monitor.records import MonitorPlan, WindowReport
from interlock.monitor.replay import score_rows
from interlock.monitor.service import MonitorService
from interlock.registry.service import ModelVersion, RegistryService
from interlock.store import Store
from interlock.store.predictions import Prediction, PredictionWriter

Register = Callable[[], ModelVersion]
PLAN = MonitorPlan("happy", "person", "happy", "1 month", 0.01, 0.6)


class World:
    """Answers and truths of a deployment, written as the data plane writes them."""

    def __init__(self, store: Store, version: ModelVersion, people: pl.DataFrame) -> None:
        self.store, self.version, self.people = store, version, people
        self.registry = RegistryService(store)

    def month(self, month: int, rows: pl.DataFrame, model: ModelVersion | None = None) -> None:
        """Let people be scored in a month of 2026."""
        model = model or self.version
        scores = score_rows(self.registry, model.bundle, rows)
        start = datetime(2026, month, 1, tzinfo=UTC)
        made = [
            Prediction(
                id=new_id(),
                at=to_micros(datetime.now(UTC)),
                occurred_at=to_micros(start + timedelta(minutes=number)),
                deployment="happy",
                model=model.ref,
                bundle=model.bundle,
                revision=1,
                request_id=f"{month}-{number}",
                row=0,
                subject="" if row["person"] is None else str(row["person"]),
                inputs={"age": row["age"], "income": row["income"]},
                score=float(scores[number]),
                label=int(scores[number] >= 0.5),
                route="champion",
            )
            for number, row in enumerate(rows.iter_rows(named=True))
        ]
        self.write(made)

    def write(self, made: list[Prediction]) -> None:
        """Let these predictions be on record."""
        writer = PredictionWriter(self.store.predictions.folder)
        writer.append(made).result(10)
        writer.close()

    def labels_by_prediction(self, rows: pl.DataFrame, truth: int) -> StoredFile:
        """Give some logged predictions (rows of the log's frame) the same label each, by their ids."""
        content = rows.select(pl.col("id").alias("prediction_id"), pl.lit(truth).alias("happy")).write_csv().encode()
        return StoredFile("by-prediction.csv", self.store.objects.put(content), len(content))

    def labels(self, rows: pl.DataFrame, name: str = "labels.csv") -> StoredFile:
        content = rows.select("person", "happy", "group").write_csv().encode()
        return StoredFile(name, self.store.objects.put(content), len(content))


@pytest.fixture
def monitor(store: Store) -> MonitorService:
    return MonitorService(store)


@pytest.fixture
def world(store: Store, monitor: MonitorService, register: Register, people: pl.DataFrame) -> World:
    version = register()
    monitor.set("happy", PLAN)
    monitor.watch("happy", version.ref)
    return World(store, version, people)


def test_calm_windows_are_evaluated_once_and_again_when_labels_come(
    store: Store, monitor: MonitorService, world: World, people: pl.DataFrame
) -> None:
    world.month(1, people.head(400))
    assert monitor.look("happy", "2026-01-31") == []  # the window is not over
    first = monitor.look("happy", "2026-02-01")
    assert [(r.window, r.predictions, r.labels, r.severity) for r in first] == [("2026-01", 400, 0, "none")]
    assert first[0].estimated is not None
    assert monitor.look("happy", "2026-02-01") == []
    batch = monitor.label("happy", world.labels(people.head(300)))
    assert (batch.rows, batch.joined) == (300, 300)
    again = monitor.look("happy", "2026-02-01")
    assert [(r.labels, r.looks, r.verdict.action) for r in again] == [(300, 2, "keep")]
    assert again[0].realised is not None
    assert abs(again[0].realised.value - first[0].estimated.value) < 0.1
    assert monitor.windows("happy") == again
    assert store.ledger.events(kinds=("alarm.raised",)) == []
    flipped = people.head(300).with_columns(happy=1 - pl.col("happy"))
    monitor.label("happy", world.labels(flipped))  # a correction: as many labels, another truth
    corrected = monitor.look("happy", "2026-02-01")
    assert corrected[0].looks == 3
    assert corrected[0].realised is not None
    assert corrected[0].realised.value < 0.5
    assert corrected[0].verdict.action == "retrain"


def test_drift_waits_for_labels_and_harm_retrains(
    store: Store, monitor: MonitorService, world: World, people: pl.DataFrame
) -> None:
    strange = people.head(500).with_columns(age=pl.col("age") + 60)
    world.month(1, strange)
    assert monitor.look("happy", "2026-02-01")[0].verdict.action == "wait for labels"
    assert monitor.show("happy").verdict == "wait for labels"
    monitor.label("happy", world.labels(strange.with_columns(happy=1 - pl.col("happy"))))
    report = monitor.look("happy", "2026-02-01")[0]
    assert report.verdict.action == "retrain"
    raised = [e.data["verdict"] for e in store.ledger.events(kinds=("alarm.raised",)) if e.data]
    assert raised == ["wait for labels", "retrain"]
    assert any(d.column == "age" and d.severity == "alarm" for d in report.drifts)


def test_the_newest_label_wins_and_the_same_file_counts_once(
    store: Store, monitor: MonitorService, world: World, people: pl.DataFrame
) -> None:
    rows = people.head(100)
    world.month(1, rows)
    monitor.label("happy", world.labels(rows))
    size = store.ledger.size()
    monitor.label("happy", world.labels(rows))
    assert store.ledger.size() == size
    monitor.label("happy", world.labels(rows.with_columns(happy=1 - pl.col("happy"))))
    found = monitor.labelled("happy")
    assert found.height == 100
    assert (found.sort(pl.col("person").cast(pl.Int64))["happy"] == 1 - rows.sort("person")["happy"]).all()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("person,group\n1,2\n", "no column 'happy'"),
        ("happy,group\n1,2\n", "no column 'person'"),
        ("person,happy\n1,2\n", "neither 0 nor 1"),
        ("person,happy\n1,yes\n", "neither 0 nor 1"),
        ("person,happy\n", "no rows"),
    ],
)
def test_labels_that_are_none_are_refused_and_nothing_is_kept(
    store: Store, monitor: MonitorService, world: World, text: str, words: str
) -> None:
    size = store.ledger.size()
    file = StoredFile("labels.csv", store.objects.put(text.encode()), len(text))
    with pytest.raises(Invalid, match=words):
        monitor.label("happy", file)
    assert store.ledger.size() == size
    assert store.database.all("SELECT * FROM label_batches") == []


def test_replay_gives_the_same_scores_and_a_champion_change_starts_a_new_page(
    store: Store, monitor: MonitorService, world: World, people: pl.DataFrame, register: Register
) -> None:
    rows = people.head(200)
    world.month(1, rows)
    monitor.look("happy", "2026-02-01")
    replayed = monitor.replay("happy", world.version.ref)
    assert (replayed.rows, replayed.largest_difference, replayed.flips) == (200, 0.0, 0)
    second = register()
    assert monitor.watch("happy", second.ref).model == second.ref
    world.month(2, people.tail(200), second)
    assert [(r.window, r.model) for r in monitor.look("happy", "2026-03-01")] == [("2026-02", second.ref)]
    # labels of the replaced version's last window still come, and decide nothing
    monitor.label("happy", world.labels(rows))
    late = monitor.look("happy", "2026-03-01")
    assert [(r.window, r.model, r.labels) for r in late] == [("2026-01", world.version.ref, 200)]
    assert late[0].realised is not None


def test_what_does_not_exist_or_makes_no_sense(monitor: MonitorService, world: World) -> None:
    with pytest.raises(NotFound, match="'happy'"):
        monitor.look("hapy")
    with pytest.raises(Invalid, match="no instant"):
        monitor.look("happy", "soon")
    with pytest.raises(Invalid, match="no period"):
        monitor.set("happy", MonitorPlan("happy", "person", "happy", "1 fortnight"))
    with pytest.raises(Invalid, match="false_alarms"):
        monitor.set("happy", MonitorPlan("happy", "person", "happy", "1 month", 0.0))
    monitor.set("other", PLAN)
    with pytest.raises(NotFound, match="watches no version"):
        monitor.look("other")
    with pytest.raises(NotFound):
        monitor.prediction("01ARZ3NDEKTSV4RRFFQ69G5FAV")


def test_a_monitor_has_no_verdict_before_a_window_of_its_version(
    monitor: MonitorService, world: World, people: pl.DataFrame
) -> None:
    monitor.set("other", PLAN)
    shown = {found.name: (found.verdict, found.reason) for found in monitor.monitors()}
    assert shown == {
        "happy": ("none yet", f"{world.version.ref} is watched from the next window on"),
        "other": ("none yet", "no version is watched yet"),
    }
    world.month(1, people.head(300))
    monitor.look("happy", "2026-02-01")
    assert monitor.show("happy").verdict == "keep"


def test_how_many_labels_joined_is_told(monitor: MonitorService, world: World, people: pl.DataFrame) -> None:
    batch = monitor.label("happy", world.labels(people.head(50)))
    assert (batch.rows, batch.joined, batch.unjoined) == (50, 0, 50)
    assert "none of them belongs to a prediction of deployment:happy" in batch.note
    world.month(1, people.head(20))
    batch = monitor.label("happy", world.labels(people.head(60)))
    assert (batch.rows, batch.joined, batch.unjoined, batch.note) == (60, 20, 40, "")


def test_a_logged_prediction_has_its_instants_as_people_read_them(
    store: Store, monitor: MonitorService, world: World, people: pl.DataFrame
) -> None:
    world.month(1, people.head(1))
    (row,) = store.predictions.rows("happy")
    found = monitor.prediction(f"prediction:{row.id}")
    assert (found.occurred_at, found.at) == (from_micros(row.occurred_at), from_micros(row.at))
    assert (found.inputs, found.score, found.subject) == (row.inputs, row.score, row.subject)


def recorded(store: Store) -> list[str]:
    return [e.data["predictions"] for e in store.ledger.events(kinds=("window.evaluated",)) if e.data]


def rewrite(store: Store, **changes: object) -> str:
    """Change the first prediction behind everybody's back, checksums and all; return its id."""
    rows = sorted(store.predictions.rows(), key=lambda row: row.id)
    for path in store.predictions.folder.iterdir():
        if path.is_file():
            path.unlink()
    rows[0] = msgspec.structs.replace(rows[0], **changes)
    writer = PredictionWriter(store.predictions.folder)
    writer.append(rows).result(10)
    writer.close()
    return rows[0].id


def test_the_ledger_keeps_what_the_predictions_of_a_window_say(
    store: Store, monitor: MonitorService, world: World, people: pl.DataFrame
) -> None:
    world.month(1, people.head(50))
    world.month(2, people.head(10))
    monitor.look("happy", "2026-02-01")
    january = (to_micros(datetime(2026, 1, 1, tzinfo=UTC)), to_micros(datetime(2026, 2, 1, tzinfo=UTC)))
    assert recorded(store) == [digest_predictions(store.predictions.rows("happy", *january))]
    store.predictions.compact()  # as Parquet they say the same
    assert recorded(store) == [digest_predictions(store.predictions.rows("happy", *january))]
    rewrite(store, score=0.123)
    assert recorded(store) != [digest_predictions(store.predictions.rows("happy", *january))]


def test_labels_by_prediction_and_by_subject_are_both_joined_and_the_prediction_wins(
    store: Store, monitor: MonitorService, world: World, people: pl.DataFrame
) -> None:
    world.month(1, people.head(600))
    logged = store.predictions.frame("happy")
    monitor.label("happy", world.labels_by_prediction(logged.head(100), 1))
    monitor.label("happy", world.labels_by_prediction(logged.head(50), 0))
    monitor.label("happy", world.labels(people.slice(50, 500)))
    found = monitor.labelled("happy").sort(pl.col("person").cast(pl.Int64))
    assert found.height == 550
    assert found["happy"].to_list() == [0] * 50 + [1] * 50 + people["happy"][100:550].to_list()
    assert found["group"].null_count() == 50  # only the labels by subject have it


def test_rows_without_a_subject_are_no_one_person(
    store: Store, monitor: MonitorService, world: World, people: pl.DataFrame
) -> None:
    world.month(1, people.head(100).with_columns(person=pl.when(pl.col("person") > 9).then("person")))
    world.month(2, people.slice(5, 10))
    monitor.label("happy", world.labels_by_prediction(store.predictions.frame("happy"), 1))
    found = monitor.labelled("happy")
    assert found.height == 105  # 110 answers, five of them about people who are there twice
    assert (found["person"].null_count(), found["prediction_id"].n_unique()) == (10, 105)


def test_without_an_id_column_labels_are_by_prediction_only(
    store: Store, monitor: MonitorService, world: World, people: pl.DataFrame, register: Register
) -> None:
    monitor.set("happy", MonitorPlan("happy", "", "happy"))
    world.month(1, people.head(40))
    with pytest.raises(Invalid, match="no column 'prediction_id'") as caught:
        monitor.label("happy", world.labels(people.head(40)))
    assert "''" not in str(caught.value)
    assert "interlock.toml" in caught.value.hint
    assert monitor.label("happy", world.labels_by_prediction(store.predictions.frame("happy"), 1)).joined == 40
    assert monitor.labelled("happy").height == 40
    assert monitor.look("happy", "2026-02-01")[0].labels == 40
    with pytest.raises(Invalid, match="id column"):
        monitor.duel("happy", register().ref)


def test_labels_of_a_key_that_the_plan_has_no_more_are_left_out(
    store: Store, monitor: MonitorService, world: World, people: pl.DataFrame
) -> None:
    world.month(1, people.head(40))
    monitor.label("happy", world.labels(people.head(40)))
    monitor.set("happy", MonitorPlan("happy", "", "happy"))
    assert monitor.labelled("happy").height == 0
    monitor.set("happy", PLAN)
    assert monitor.labelled("happy").height == 40


def test_a_row_of_the_far_future_does_not_blind_the_next_version(
    store: Store, monitor: MonitorService, world: World, people: pl.DataFrame, register: Register
) -> None:
    store.clock = FixedClock(datetime(2026, 1, 20, tzinfo=UTC))
    world.month(1, people.head(20))
    row = next(store.predictions.rows())
    world.write([msgspec.structs.replace(row, id=new_id(), occurred_at=to_micros(datetime(2999, 1, 1, tzinfo=UTC)))])
    second = register()
    monitor.watch("happy", second.ref)
    world.month(2, people.tail(100), second)
    assert [r.window for r in monitor.look("happy", "2026-03-01")] == ["2026-02"]


def test_what_happened_after_an_instant_is_not_seen_from_it(
    store: Store, monitor: MonitorService, world: World, people: pl.DataFrame, register: Register
) -> None:
    second, february = register(), datetime(2026, 2, 1, tzinfo=UTC)
    world.month(1, people.slice(2000, 300))
    world.month(2, people.slice(2300, 300), second)
    monitor.label("happy", world.labels(people))
    assert monitor.labelled("happy", february).height == 300
    assert monitor.labelled("happy").height == 600
    assert monitor.first_answer("happy", second.ref, february) is None
    assert monitor.first_answer("happy", second.ref) == february
    then, now = monitor.duel("happy", second.ref, february), monitor.duel("happy", second.ref)
    assert (then and then.window, now and now.window) == ("2026-01", "2026-02")


def test_labels_that_are_no_truth_or_fit_no_other_batch_are_refused(
    store: Store, monitor: MonitorService, world: World, people: pl.DataFrame
) -> None:
    def parquet(rows: pl.DataFrame) -> StoredFile:
        sink = io.BytesIO()
        rows.write_parquet(sink)
        return StoredFile("labels.parquet", store.objects.put(sink.getvalue()), len(sink.getvalue()))

    world.month(1, people.head(100))
    with pytest.raises(Invalid, match=r"neither 0 nor 1 in 1 row; 0.7 in row 1 of"):
        monitor.label("happy", parquet(pl.DataFrame({"person": [1, 2], "happy": [0.7, 1.0]})))
    words = store.objects.put(b"person,happy\n1,1\n2,yes\n3,no\n")
    with pytest.raises(Invalid, match=r"neither 0 nor 1 in 2 rows; first 'yes' in line 3 of labels.csv"):
        monitor.label("happy", StoredFile("labels.csv", words, 1))
    with pytest.raises(Invalid, match="'group' holds List"):
        monitor.label("happy", parquet(pl.DataFrame({"person": [1], "happy": [1], "group": [[1]]})))
    monitor.label("happy", world.labels(people.head(50)))
    days = pl.Series([datetime(2026, 1, 1, tzinfo=UTC)])
    monitor.label("happy", parquet(people.slice(50, 50).select("person", "happy", group=days.first())))
    assert [report.labels for report in monitor.look("happy", "2026-02-01")] == [100]


def test_a_table_of_windows_says_which_estimates_are_not_to_be_trusted() -> None:
    place = WindowReport.TABLE.index("estimated")
    assert WindowReport.TABLE[place : place + 2] == ("estimated", "distrust")
    assert set(WindowReport.TABLE) <= set(WindowReport.__struct_fields__)


def csv_labels(store: Store, text: str) -> StoredFile:
    return StoredFile("labels.csv", store.objects.put(text.encode()), len(text))


def test_a_file_says_which_cases_its_labels_are_about_and_when_they_were_observed(
    store: Store, monitor: MonitorService, world: World, people: pl.DataFrame
) -> None:
    row = people.head(1)
    person = row["person"][0]
    for month in (1, 2, 3):
        world.month(month, row)
    text = (
        f"person,happy,occurred_at,observed_at\n{person},1,2026-01-01,2026-02-10\n{person},0,2026-02-01/2026-03-01,\n"
    )
    assert monitor.label("happy", csv_labels(store, text)).rows == 2
    assert truths(monitor) == {1: 1, 2: 0}
    monitor.label(
        "happy", csv_labels(store, f"person,happy,occurred_at,observed_at\n{person},0,2026-01-01,2026-02-09\n")
    )
    assert truths(monitor) == {1: 1, 2: 0}  # it was observed before
    monitor.label("happy", csv_labels(store, f"person,happy,observed_at\n{person},1,2026-03-20\n"))
    assert truths(monitor) == {1: 1, 2: 0, 3: 1}
    said = monitor.labels(str(person))
    assert [(x.label, x.counts, x.source) for x in said] == [
        (1, True, "monitor:happy"),
        (0, True, "monitor:happy"),
        (0, False, "monitor:happy"),
        (1, True, "monitor:happy"),
    ]
    assert (said[0].since, said[3].until) == (datetime(2026, 1, 1, tzinfo=UTC), None)
    assert monitor.labels(f"subject:{person}") == said
    with pytest.raises(NotFound, match="no label"):
        monitor.labels("nobody")


def truths(monitor: MonitorService) -> dict[int, int]:
    """The truth by the month of its case, where it is known."""
    frame = monitor._labelled_frame("happy").filter(pl.col(TWO).is_not_null())
    return {at.month: truth for at, truth in frame.select("occurred_at", TWO).iter_rows()}


@pytest.mark.parametrize(
    ("column", "value"), [("occurred_at", "soon"), ("observed_at", "soon"), ("observed_at", "2999-01-01")]
)
def test_instants_of_labels_that_are_none_are_refused_by_their_line(
    store: Store, monitor: MonitorService, world: World, column: str, value: str
) -> None:
    with pytest.raises(Invalid, match=f"'{column}' .* line 3 of labels.csv"):
        monitor.label("happy", csv_labels(store, f"person,happy,{column}\n1,1,2026-01-01\n2,0,{value}\n"))
    assert store.database.all("SELECT * FROM labels") == []


def test_a_daily_file_of_all_labels_so_far_keeps_only_what_is_new(
    store: Store, monitor: MonitorService, world: World, people: pl.DataFrame
) -> None:
    for rows in (10, 20, 30):
        text = people.head(rows).select("person", "happy").write_csv()
        assert monitor.label("happy", csv_labels(store, text)).rows == rows
    assert store.database.one("SELECT COUNT(*) AS n FROM labels") == {"n": 30}


def test_files_that_an_older_interlock_kept_whole_still_count(
    store: Store, monitor: MonitorService, world: World, people: pl.DataFrame
) -> None:
    world.month(1, people.head(40))
    for at, (start, rows) in enumerate([(0, 40), (30, 10)]):
        frame = people.slice(start, rows).select(pl.col("person").cast(pl.Int64), "happy", "group")
        frame = frame.with_columns(happy=1 - pl.col("happy")) if at else frame
        sink = io.BytesIO()
        frame.write_parquet(sink)
        values = {"digest": store.objects.put(sink.getvalue()), "rows": rows, "at": at + to_micros(datetime.now(UTC))}
        store.database.write(
            lambda tx, values=values: tx.run(
                "INSERT INTO label_batches (monitor, digest, rows, arrived_at) VALUES ('happy', :digest, :rows, :at)",
                values,
            )
        )
    found = monitor.labelled("happy").sort(pl.col("person").cast(pl.Int64))
    assert found["happy"].to_list() == [*people["happy"][:30], *(1 - people["happy"][30:40])]
    assert found["group"].null_count() == 0
    assert store.database.all("SELECT * FROM label_batches") == []
    assert monitor.labelled("happy").height == 40


def test_what_lies_before_the_watch_is_told(
    monitor: MonitorService, world: World, people: pl.DataFrame, register: Register
) -> None:
    second = register()
    world.month(1, people.head(75), second)
    told = f"{second.ref} is watched from the next window on, from 2026-02-01T00:00Z"
    assert monitor.watch("happy", second.ref).reason == (
        f"{told}; 75 predictions lie before that, and belong to no window of it"
    )
    assert monitor.look("happy", "2026-03-01") == []
    assert [found.reason for found in monitor.monitors()] == [told]


def test_a_file_of_labels_is_counted_row_by_row(
    store: Store, monitor: MonitorService, world: World, people: pl.DataFrame
) -> None:
    world.month(1, people.head(4))
    ids = store.predictions.frame("happy")["id"].to_list()
    elsewhere = msgspec.structs.replace(next(iter(store.predictions.rows("happy"))), id=new_id(), deployment="other")
    world.write([elsewhere])
    rows = [f"{ids[0]},1", f"{ids[1]},0", "nonsense,1", f"{elsewhere.id},1", f"{new_id()},1", ",1"]
    text = "prediction_id,happy\n" + "\n".join(rows) + "\n"
    batch = monitor.label("happy", csv_labels(store, text))
    assert (batch.rows, batch.joined) == (6, 2)
    assert batch.counts == {"accepted": 2, "unknown_prediction": 1, "refused": 2}
    assert [(found.row, found.reason.split(" ")[1]) for found in batch.refused] == [
        (3, "prediction_id"),
        (4, "prediction"),
        (5, "prediction"),
    ]
    again = monitor.label("happy", csv_labels(store, text))
    assert "came before" in again.note
    assert again.counts == batch.counts
    other = f"prediction_id,happy\n{ids[0]},0\n{ids[1]},0\n{ids[2]},1\n"
    assert monitor.label("happy", csv_labels(store, other)).counts == {"accepted": 1, "duplicate": 1, "correction": 1}

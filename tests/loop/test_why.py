"""Why: what is called verified was checked, on a real log, ledger and bundle."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import polars as pl
import pytest

from interlock.core.clock import to_micros
from interlock.core.errors import Corrupt, Invalid
from interlock.core.ids import new_id
from interlock.data.service import DataService
from interlock.loop.why import Answer, why
from interlock.monitor.records import MonitorPlan
from interlock.monitor.replay import score_rows
from interlock.monitor.service import MonitorService
from interlock.registry.catalogue import Catalogue
from interlock.registry.service import ModelVersion, RegistryService
from interlock.serve.model import LoadedModel
from interlock.store import Store
from interlock.store.manifests import Entry, put_entries
from interlock.store.predictions import Prediction, PredictionWriter
from interlock.track.records import Start
from interlock.track.service import TrackService

START = to_micros(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def answered(store: Store, register: Callable[[], ModelVersion], people: pl.DataFrame) -> list[Prediction]:
    """Forty answers of January, of a version whose data are there, watched by a monitor."""
    DataService(store).add("people", people)
    version = register()
    monitor = MonitorService(store)
    monitor.set("happy", MonitorPlan("happy", "person", "happy"))
    monitor.watch("happy", version.ref)
    rows = people.head(40)
    scores = score_rows(RegistryService(store), version.bundle, rows)
    made = [
        Prediction(
            id=new_id(),
            at=START,
            occurred_at=START + number,
            deployment="happy",
            model=version.ref,
            bundle=version.bundle,
            revision=1,
            request_id=str(number),
            row=0,
            subject=str(row["person"]),
            inputs={"age": row["age"], "income": row["income"]},
            score=float(scores[number]),
            label=int(scores[number] >= 0.5),
            route="champion",
        )
        for number, row in enumerate(rows.iter_rows(named=True))
    ]
    write(store, made)
    return made


def write(store: Store, rows: list[Prediction]) -> None:
    writer = PredictionWriter(store.predictions.folder)
    writer.append(rows).result(10)
    writer.close()


def rewrite(store: Store, rows: list[Prediction]) -> None:
    """Put other rows on record behind everybody's back, with checksums that hold."""
    for path in store.predictions.folder.iterdir():
        if path.is_file():
            path.unlink()
    write(store, rows)


def checked(answer: Answer) -> dict[str, str]:
    return {link.what: link.checked for link in answer.links}


def test_a_prediction_is_verified_once_its_window_was_evaluated(store: Store, answered: list[Prediction]) -> None:
    ref = f"prediction:{answered[3].id}"
    before = why(store, ref)
    assert (before.ok, checked(before)["prediction"], checked(before)["replay"]) == (True, "recorded", "verified")
    MonitorService(store).look("happy", "2026-02-01")
    after = why(store, ref)
    assert (after.ok, checked(after)["prediction"]) == (True, "verified")
    store.predictions.compact()
    assert checked(why(store, ref))["prediction"] == "verified"


@pytest.mark.parametrize(("change", "replay"), [({"subject": "other"}, "verified"), ({"score": 0.25}, "differs")])
def test_a_rewritten_prediction_differs(
    store: Store, answered: list[Prediction], change: dict[str, object], replay: str
) -> None:
    MonitorService(store).look("happy", "2026-02-01")
    rewrite(store, [msgspec.structs.replace(answered[0], **change), *answered[1:]])
    answer = why(store, f"prediction:{answered[0].id}")
    assert not answer.ok
    assert (checked(answer)["prediction"], checked(answer)["replay"]) == ("differs", replay)
    neighbour = why(store, f"prediction:{answered[1].id}")  # its window is not what it was
    assert checked(neighbour)["prediction"] == "differs"


def test_the_newest_evaluation_counts_and_other_windows_do_not(store: Store, answered: list[Prediction]) -> None:
    monitor = MonitorService(store)
    monitor.look("happy", "2026-02-01")
    late = msgspec.structs.replace(answered[0], id=new_id(), occurred_at=START + 99)
    february = msgspec.structs.replace(
        answered[0], id=new_id(), occurred_at=to_micros(datetime(2026, 2, 2, tzinfo=UTC))
    )
    write(store, [late, february])
    answer = why(store, f"prediction:{late.id}")
    assert "40 rows then, 41 now" in answer.links[0].detail
    assert monitor.look("happy", "2026-02-10") != []
    assert checked(why(store, f"prediction:{late.id}"))["prediction"] == "verified"
    assert checked(why(store, f"prediction:{february.id}"))["prediction"] == "recorded"


def test_a_run_without_metrics_says_only_how_it_ended(store: Store, answered: list[Prediction]) -> None:
    (run,) = (link for link in why(store, f"prediction:{answered[0].id}").links if link.what == "run")
    assert run.detail == "finished"


def test_metrics_of_the_machine_are_in_the_record_and_not_in_the_sentence(store: Store) -> None:
    track = TrackService(store)
    run = track.start(Start("e"))
    values = {"auc": 0.75, "system/memory_mb": 812.5, "system/cpu": 3.0}
    track.log_metrics(run.id, values)
    found = why(store, run.ref).links[0]
    assert found.detail == "running; auc 0.750"
    assert found.metrics == values
    assert "metrics" not in found.TABLE


def test_an_event_is_verified_only_under_the_root(store: Store, answered: list[Prediction]) -> None:
    MonitorService(store).look("happy", "2026-02-01")
    ref = f"prediction:{answered[0].id}"
    assert checked(why(store, ref))["event"] == "verified"
    made = store.ledger.events(kinds=("model_version.created",))[0]
    change = "UPDATE ledger_entries SET actor = 'user:mallory' WHERE idx = :idx"
    store.database.write(lambda tx: tx.run(change, {"idx": made.index}))
    assert checked(why(store, ref))["event"] == "recorded"


def test_an_event_whose_data_were_rewritten_verifies_no_prediction(store: Store, answered: list[Prediction]) -> None:
    MonitorService(store).look("happy", "2026-02-01")
    ref = f"prediction:{answered[0].id}"
    found = store.ledger.events(kinds=("window.evaluated",))[0]
    payload = msgspec.json.encode(dict(sorted((found.data or {}).items()))) + b" "
    change = "UPDATE ledger_payloads SET payload = :payload WHERE idx = :idx"
    store.database.write(lambda tx: tx.run(change, {"idx": found.index, "payload": payload}))
    answer = why(store, ref)
    assert (answer.ok, checked(answer)["prediction"]) == (False, "differs")


def test_a_version_rests_on_bytes_that_hold(store: Store, answered: list[Prediction]) -> None:
    answer = why(store, "model:happy@1")
    assert answer.ok
    assert checked(answer) | {"model version": "verified", "data": "verified", "event": "verified"} == checked(answer)


def test_a_version_without_a_record_and_a_run_have_the_links_that_there_are(store: Store) -> None:
    registry, track = RegistryService(store), TrackService(store)
    run = track.start(Start("e", environment=store.objects.put(b"{}"), inputs=("data:gone@1", "file:x@sha256=0")))
    digest = store.objects.put(b"weights")
    bundle = put_entries(store.objects, [Entry("model/w.bin", 7, digest)])
    made = registry.register("iris", run.ref, bundle)
    answer = why(store, "iris@1")
    assert (answer.ref, answer.ok) == ("model:iris@1", True)
    assert checked(answer) == {
        "model version": "verified",
        "files": "verified",
        "run": "recorded",
        "environment": "verified",
        "data": "recorded",
        "event": "verified" if checked(answer)["event"] == "verified" else "recorded",
    }
    assert why(store, "models:/iris/1") == why(store, made.ref) == answer
    assert "model/w.bin" in next(link.detail for link in answer.links if link.what == "files")
    store.database.write(
        lambda tx: tx.run(
            "INSERT INTO artifacts (owner, path, digest, size_bytes) VALUES (:owner, 'w.bin', :digest, 7)",
            {"owner": run.id, "digest": digest},
        )
    )
    found = why(store, run.ref)
    assert (found.ref, found.ok) == (run.ref, True)
    assert [link.what for link in found.links] == ["run", "environment", "files", "data", "input", "event"]
    outside = store.database.write(
        lambda tx: (books := Catalogue(store)).versions.create(tx, books.versions.draft("far", run="gone"), make=True)
    )
    assert checked(why(store, outside.ref)).keys() == {"model version", "run", "event"}
    path = store.root / "objects" / digest[:2] / digest[2:]
    path.chmod(0o644)
    path.write_bytes(b"weightz")
    with pytest.raises(Corrupt):
        why(store, "iris")
    with pytest.raises(Invalid, match="nor a run"):
        why(store, "data:people@1")


def serve(store: Store, version: ModelVersion, row: dict[str, object], **change: object) -> Prediction:
    """Put on record what a server answers to one row."""
    model = LoadedModel.open(store.objects, version.bundle, code_models=True)
    said = model.run(model.prepare({name: [value] for name, value in row.items()}))
    model.close()
    made = Prediction(
        id=new_id(),
        at=START,
        occurred_at=START,
        deployment="serve:kept",
        model=version.ref,
        bundle=version.bundle,
        revision=1,
        request_id="1",
        row=0,
        subject="",
        inputs=row,
        score=said.scores[0],
        label=said.codes[0],
        route="champion",
    )
    made = msgspec.structs.replace(made, **change)
    write(store, [made])
    return made


def replayed(answer: Answer) -> tuple[str, str]:
    return next((link.checked, link.detail) for link in answer.links if link.what == "replay")


def test_an_answer_is_replayed_by_the_engine_that_gave_it(
    store: Store, register: Callable[[], ModelVersion], people: pl.DataFrame
) -> None:
    version, row = register(), people.select("age", "income").row(5, named=True)
    assert LoadedModel.load(store.objects, version.bundle).engine.name == "linear"
    answer = why(store, f"prediction:{(made := serve(store, version, row)).id}")
    assert (answer.ok, answer.replayed, replayed(answer)[0]) == (True, made.score, "verified")
    assert "engine linear" in replayed(answer)[1]
    by_graph = LoadedModel.load(store.objects, version.bundle, graph=True)
    score = float(by_graph.scores({name: [value] for name, value in row.items()})[0])
    assert score != made.score
    answer = why(store, f"prediction:{serve(store, version, row, score=score).id}")
    assert (answer.ok, answer.replayed, replayed(answer)[0]) == (True, score, "verified")
    assert "engine onnx" in replayed(answer)[1]


@pytest.mark.parametrize(
    ("change", "ok", "checked", "told"),
    [
        (2e-7, True, "recorded", "rounding in 32 bits"),
        (2e-5, False, "differs", "off by 2e-05"),
    ],
)
def test_only_rounding_is_let_pass(
    store: Store, register: Callable[[], ModelVersion], change: float, ok: bool, checked: str, told: str
) -> None:
    version, row = register(), {"age": 40, "income": 30.0}
    score = serve(store, version, row).score + change
    answer = why(store, f"prediction:{serve(store, version, row, score=score).id}")
    assert (answer.ok, replayed(answer)[0]) == (ok, checked)
    assert told in replayed(answer)[1]
    flipped = serve(store, version, row, label=1 - serve(store, version, row).label)
    assert replayed(why(store, f"prediction:{flipped.id}"))[0] == "differs"


@pytest.mark.parametrize("task", ["values", "three", "two"])
@pytest.mark.parametrize("bundle", [True, False])
def test_values_classes_and_versions_without_a_record_have_their_chain(
    store: Store, keep: Callable[..., ModelVersion], people: pl.DataFrame, task: str, bundle: bool
) -> None:
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    rows = people.select("age", "income").cast(pl.Float32)
    sums = rows.sum_horizontal()
    truth = {
        "values": sums,
        "three": pl.Series(["low" if one < 60 else "mid" if one < 80 else "top" for one in sums]),
        "two": people["happy"],
    }[task]
    model = (DecisionTreeRegressor if task == "values" else DecisionTreeClassifier)(max_depth=4).fit(rows, truth)
    given = {"target": "truth", "evaluation": rows.with_columns(truth=truth).tail(500)} if bundle else {}
    version = keep(model, example=rows.head(4), training=rows, **given)
    assert (version.format == "bundle") is bundle
    made = serve(store, version, rows.row(7, named=True))
    answer = why(store, f"prediction:{made.id}")
    assert (answer.ok, answer.replayed) == (True, made.score)
    wanted = {"prediction", "replay", "model version", "run", "code", "environment"}
    assert wanted <= checked(answer).keys()
    assert replayed(answer)[0] == "verified"
    said = model.predict(rows[7])[0]
    assert (f"value {made.score:.6g}" if task == "values" else f"label {said}") in answer.links[0].detail


def test_what_cannot_be_replayed_says_why_and_has_its_chain(
    store: Store, keep: Callable[..., ModelVersion], people: pl.DataFrame
) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.neighbors import LocalOutlierFactor

    rows = people.select("age", "income").cast(pl.Float64)
    outliers = LocalOutlierFactor(novelty=True).fit(rows.to_numpy())
    version = keep(outliers, example=rows.head(4).to_numpy())
    row = {"x0": 40.0, "x1": 30.0}
    model = HistGradientBoostingClassifier(max_iter=3).fit(rows, people["happy"])
    other = keep(model, example=rows.head(4))
    made = serve(store, other, rows.row(1, named=True), model=version.ref, bundle=version.bundle, inputs=row)
    answer = why(store, f"prediction:{made.id}")
    assert (answer.ok, answer.replayed, replayed(answer)[0]) == (True, None, "recorded")
    assert replayed(answer)[1].startswith("not replayed: Only the original could answer")
    assert {"model version", "files", "run", "code", "environment"} <= checked(answer).keys()
    odd = serve(store, other, rows.row(1, named=True), inputs={"age": 1.0})
    answer = why(store, f"prediction:{odd.id}")
    assert (answer.ok, replayed(answer)[0]) == (False, "differs")
    assert "refuses these inputs" in replayed(answer)[1]


def test_an_answer_of_a_folder_rests_on_its_files(store: Store, register: Callable[[], ModelVersion]) -> None:
    made = serve(store, register(), {"age": 40, "income": 30.0}, model="model:folder@sha-0123456789")
    answer = why(store, f"prediction:{made.id}")
    assert (answer.ok, replayed(answer)[0]) == (True, "verified")
    assert checked(answer) | {"model version": "recorded", "files": "verified"} == checked(answer)

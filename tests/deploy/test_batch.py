"""Files that a real model version scores."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl
import pytest

from interlock.core.errors import Conflict, Corrupt, Invalid, NotFound
from interlock.deploy.batch import Batch
from interlock.deploy.batch_inputs import count_rows, sources
from interlock.deploy.batch_records import Options, Watch
from interlock.serve.model import LoadedModel
from interlock.store import apart


@pytest.fixture
def version(register):
    return register()


@pytest.fixture
def wanted(store, version, people):
    """What the endpoint says of all people: scores and labels."""
    model = LoadedModel.load(store.objects, version.bundle)
    return model.run(model.prepare(people.to_dict(as_series=False)))


@pytest.fixture
def table(tmp_path, people):
    path = tmp_path / "people.parquet"
    people.write_parquet(path, row_group_size=700)
    return path


def read(folder: Path, suffix: str = "parquet") -> pl.DataFrame:
    readers = {"parquet": pl.read_parquet, "csv": pl.read_csv, "arrow": pl.read_ipc}
    return pl.concat(readers[suffix](path) for path in sorted(folder.glob(f"*.{suffix}")))


def written(folder: Path) -> dict[str, str]:
    """Return the digests of the output."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "_interlock" not in path.parts
    }


def test_a_file_gets_the_endpoints_numbers(store, version, table, tmp_path, wanted, people):
    batch = Batch(store, "model:happy", [table], Options(keep=("group",), id_column="person", part_rows=1000))
    report = batch.run(tmp_path / "out", batch_rows=300)
    frame = read(tmp_path / "out")
    assert frame.columns == ["person", "group", "prediction_id", "happy", "probability", "model"]
    assert frame["probability"].to_list() == wanted.scores
    assert frame["happy"].to_list() == wanted.labels
    assert frame["person"].to_list() == people["person"].to_list()
    assert frame["prediction_id"].n_unique() == 3000
    assert frame["model"].unique().to_list() == ["model:happy@1"]
    assert (report.rows, report.written, report.refused, report.resumed) == (3000, 3000, 0, 0)
    assert [part.rows for part in report.parts] == [1000, 1000, 1000]
    assert {part.name: part.digest for part in report.parts} == written(tmp_path / "out")


def test_what_was_done_is_one_event(store, version, table, tmp_path):
    report = Batch(store, "model:happy@1", [table]).run(tmp_path / "out")
    event = store.ledger.event(report.event)
    assert (event.kind, event.subject) == ("batch.scored", "model:happy@1")
    assert event.data["inputs"] == [hashlib.sha256(table.read_bytes()).hexdigest()]
    assert event.data["outputs"] == [part.digest for part in report.parts]
    assert (event.data["rows"], event.data["refused"], event.data["bundle"]) == (3000, 0, version.bundle)
    assert table.name.encode() in store.objects.get(event.data["record"])
    again = Batch(store, "model:happy@1", [table]).run(tmp_path / "out")
    assert again == report
    assert len(store.ledger.events(kinds=["batch.scored"])) == 1


def test_the_event_is_written_once_however_often_its_writer_is_cut_off(store, version, table, tmp_path, monkeypatch):
    from interlock.deploy.batch_folder import OutputFolder

    with monkeypatch.context() as patched:
        patched.setattr(OutputFolder, "publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Batch(store, "model:happy", [table]).run(tmp_path / "out")
    assert list((tmp_path / "out").glob("*.parquet")) == []
    report = Batch(store, "model:happy", [table]).run(tmp_path / "out")
    assert report.resumed == 3000
    assert [event.index for event in store.ledger.events(kinds=["batch.scored"])] == [report.event]
    assert read(tmp_path / "out").height == 3000


def save_csv(frame, path):
    frame.write_csv(path)


def save_stream(frame, path):
    frame.write_ipc_stream(path)


FORMATS = {
    "people.csv": save_csv,
    "people.arrow": lambda frame, path: frame.write_ipc(path),
    "people.feather": lambda frame, path: frame.write_ipc(path, compression="lz4"),
    "people.arrows": save_stream,
    "people.PARQUET": lambda frame, path: frame.write_parquet(path),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_alike(store, version, tmp_path, people, wanted, name):
    path = tmp_path / name
    FORMATS[name](people, path)
    Batch(store, "model:happy", [path], Options(part_rows=700)).run(tmp_path / "out", batch_rows=256)
    assert read(tmp_path / "out")["probability"].to_list() == wanted.scores


@pytest.mark.parametrize("format", ["csv", "arrow"])
def test_every_format_is_written(store, version, table, tmp_path, wanted, format):
    Batch(store, "model:happy", [table], Options(keep=("person",), format=format)).run(tmp_path / "out")
    frame = read(tmp_path / "out", format)
    assert frame["probability"].to_list() == wanted.scores
    assert frame["person"].to_list() == list(range(3000))


def test_several_files_and_folders_are_one_scoring(store, version, tmp_path, people, wanted):
    folder = tmp_path / "in"
    folder.mkdir()
    people[:1000].write_parquet(folder / "a.parquet")
    people[1000:1000].write_csv(folder / "b.csv")
    people[1000:].write_ipc(folder / "c.arrow")
    people[:1000].write_parquet(tmp_path / "copy.parquet")  # the same bytes again
    report = Batch(store, "model:happy", [folder, tmp_path / "copy.parquet"]).run(tmp_path / "out")
    frame = read(tmp_path / "out")
    assert frame["probability"].to_list() == wanted.scores + wanted.scores[:1000]
    assert frame["prediction_id"].n_unique() == 4000
    assert [part.rows for part in report.parts] == [1000, 0, 2000, 1000]


def test_ids_follow_from_model_file_and_row(store, version, table, tmp_path):
    Batch(store, "model:happy", [table], Options(part_rows=500)).run(tmp_path / "one", batch_rows=64)
    Batch(store, "model:happy", [table], Options(format="csv")).run(tmp_path / "two")
    ids = read(tmp_path / "one")["prediction_id"].to_list()
    assert ids == read(tmp_path / "two", "csv")["prediction_id"].to_list()
    assert ids[2999].endswith("-2999")


def spoil(people):
    return people.with_columns(
        age=pl.when(pl.col("person").is_in([5, 1500])).then(None).otherwise("age"),
        income=pl.when(pl.col("person") == 2999).then(float("inf")).otherwise("income"),
    )


def test_one_bad_row_stops_everything_and_nothing_is_published(store, version, tmp_path, people):
    path = tmp_path / "people.parquet"
    spoil(people).slice(6).write_parquet(path)
    batch = Batch(store, "model:happy", [path], Options(part_rows=500))
    with pytest.raises(Invalid, match=r"people\.parquet: Column 'age', row 1494") as error:
        batch.run(tmp_path / "out", batch_rows=100)
    assert error.value.findings[0].rows == (1494,)
    assert written(tmp_path / "out") == {}
    assert store.ledger.events(kinds=["batch.scored"]) == []
    # What is done is the same under a milder rule, so it goes on from there.
    mild = Batch(store, "model:happy", [path], Options(part_rows=500, bad_rows="skip"))
    report = mild.run(tmp_path / "out", batch_rows=100)
    assert report.resumed > 0
    assert (report.rows, report.written, report.refused) == (2994, 2992, 2)
    with pytest.raises(Conflict, match="bad_rows was 'skip'"):
        batch.run(tmp_path / "out")


@pytest.mark.parametrize("rule", ["null", "skip"])
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_bad_rows_are_reported_by_column_and_row(store, version, tmp_path, people, rule, suffix, wanted):
    path = tmp_path / f"people.{suffix}"
    frame = spoil(people)
    frame.write_csv(path) if suffix == "csv" else frame.write_parquet(path)
    options = Options(keep=("person",), bad_rows=rule, part_rows=1000)
    report = Batch(store, "model:happy", [path], options).run(tmp_path / "out", batch_rows=300)
    listed = pl.concat(pl.read_csv(found) for found in sorted((tmp_path / "out" / "_bad_rows").iterdir()))
    assert listed.select("file", "row", "column").rows() == [
        (path.name, 5, "age"),
        (path.name, 1500, "age"),
        (path.name, 2999, "income"),
    ]
    assert "inf" not in str(listed.rows())
    made = read(tmp_path / "out")
    bad = {5, 1500, 2999}
    if rule == "skip":
        assert made.height == 2997
    else:
        assert made["probability"].is_null().arg_true().to_list() == sorted(bad)
        assert made["prediction_id"].null_count() == made["happy"].null_count() == 3
    good = [score for row, score in enumerate(wanted.scores) if row not in bad]
    assert made["probability"].drop_nulls().to_list() == good
    assert (report.rows, report.refused) == (3000, 3)


def test_text_that_spells_no_number_is_a_bad_row(store, version, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('age,income,note\n30,20.5,x\nold,20.5,"a, b"\n 31 ,1e1,\n', "utf-8")
    with pytest.raises(Invalid, match=r"a\.csv: Column 'age', row 1: the value does not spell whole numbers") as error:
        Batch(store, "model:happy", [path]).run(tmp_path / "out")
    assert "old" not in str(error.value)
    Batch(store, "model:happy", [path], Options(("note",), bad_rows="null")).run(tmp_path / "out", restart=True)
    assert read(tmp_path / "out")["happy"].is_null().to_list() == [False, True, False]
    assert read(tmp_path / "out")["note"].to_list() == ["x", "a, b", None]


def test_an_id_is_never_missing(store, version, tmp_path, people):
    path = tmp_path / "a.parquet"
    people.with_columns(person=pl.when(pl.col("person") == 7).then(None).otherwise("person")).write_parquet(path)
    with pytest.raises(Invalid, match="'person', row 7: the value is missing"):
        Batch(store, "model:happy", [path], Options(id_column="person")).run(tmp_path / "out")


def test_another_wish_for_the_same_folder_is_refused(store, version, register, table, tmp_path, people):
    batch = Batch(store, "model:happy@1", [table], Options(part_rows=1000))
    first = batch.run(tmp_path / "out")
    register()
    people[:10].write_parquet(tmp_path / "b.parquet")
    for other, said in (
        (Batch(store, "model:happy@2", [table], Options(part_rows=1000)), "the model was model:happy@1"),
        (Batch(store, "model:happy@1", [tmp_path / "b.parquet"], Options(part_rows=1000)), "the files were people"),
        (Batch(store, "model:happy@1", [table], Options(part_rows=500)), "part_rows was 1000"),
        (Batch(store, "model:happy@1", [table], Options(("person",), part_rows=1000)), "keep was"),
    ):
        with pytest.raises(Conflict, match=f"Something else was scored into .*{said}") as caught:
            other.run(tmp_path / "out")
        assert "write to another folder" in caught.value.hint
        assert "--restart" not in caught.value.hint  # which does not touch what is published
    with pytest.raises(Conflict, match="published") as caught:
        batch.run(tmp_path / "out", restart=True)
    assert "write to another folder" in caught.value.hint
    assert batch.run(tmp_path / "out") == first


def test_a_published_part_that_was_changed_is_noticed(store, version, table, tmp_path):
    batch = Batch(store, "model:happy", [table])
    report = batch.run(tmp_path / "out")
    place = tmp_path / "out" / report.parts[0].name
    place.write_bytes(place.read_bytes()[:-1])
    with pytest.raises(Corrupt, match="is not as it was written"):
        batch.run(tmp_path / "out")


def test_a_file_that_changes_while_it_is_read_is_noticed(store, version, table, tmp_path, people):
    batch = Batch(store, "model:happy", [table], Options(part_rows=1000))

    class Meddler(Watch):
        def took(self, rows, resumed=False):
            table.write_bytes(table.read_bytes() + b"\0")

    with pytest.raises((Conflict, Invalid)):
        batch.run(tmp_path / "out", watch=Meddler())
    assert written(tmp_path / "out") == {}


def test_what_does_not_fit_is_said_before_anything_is_written(store, version, table, tmp_path, people):
    def refused(kind, said, files, *options, **named):
        with pytest.raises(kind, match=said):
            Batch(store, "model:happy", files, Options(*options, **named))

    refused(NotFound, "no file", [tmp_path / "none.parquet"])
    refused(Invalid, "named twice", [table, table])
    refused(Invalid, "no column 'x' to keep", [table], ("x",))
    refused(Conflict, "'probability' cannot be kept", [table], ("probability",))
    refused(Conflict, "'happy' cannot be kept", [table], ("happy",))
    refused(Invalid, "Parts of 0 rows", [table], part_rows=0)
    refused(Invalid, "No file is named", [])
    people.drop("age").write_parquet(tmp_path / "no.parquet")
    refused(Invalid, r"no\.parquet: Column 'age' is missing", [tmp_path / "no.parquet"])
    people.with_columns(pl.col("age").cast(pl.String)).write_parquet(tmp_path / "text.parquet")
    refused(Invalid, "holds text, and the model takes", [tmp_path / "text.parquet"])
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    refused(Invalid, "cannot be read as Parquet", [tmp_path / "bad.parquet"])
    (tmp_path / "bad.arrow").write_bytes(b"no stream either")
    refused(Invalid, "cannot be read as an Arrow stream", [tmp_path / "bad.arrow"])
    (tmp_path / "a.xlsx").write_bytes(b"")
    refused(Invalid, "no format that can be scored", [tmp_path / "a.xlsx"])
    with pytest.raises(NotFound):
        Batch(store, "model:nobody", [table])
    people.with_columns(pl.col("person").cast(pl.String)).write_parquet(tmp_path / "other.parquet")
    refused(Invalid, "different types in different files", [table, tmp_path / "other.parquet"], ("person",))


@pytest.mark.parametrize(
    ("why", "hint"),
    [
        ("MemoryError", "Its largest group of rows has to fit"),
        ("ArrowMemoryError", "Its largest group of rows has to fit"),
        ("SIGKILL", "Was it written to its end? If so, its largest group of rows has to fit"),
        ("status 1", "Was it written to its end? If so, its largest group of rows has to fit"),
        ("ComputeError", "Was it written to its end?"),
    ],
)
def test_a_reader_that_runs_out_of_memory_is_no_damaged_file(tmp_path, table, monkeypatch, why, hint):
    def fail(*_):
        raise apart.Unreadable("no", why)

    monkeypatch.setattr(apart, "count", fail)
    (source,) = sources([table])
    with pytest.raises(Invalid, match="cannot be read as Parquet") as caught:
        count_rows(source)
    assert caught.value.hint.startswith(hint)
    assert ("memory" in caught.value.hint) is (why != "ComputeError")


def test_a_cut_file_publishes_nothing(store, version, tmp_path, people):
    path = tmp_path / "a.csv"
    path.write_text("age,income\n" + "30,20\n" * 5000 + '30,"20\n', "utf-8")
    with pytest.raises(Invalid):
        Batch(store, "model:happy", [path], Options(part_rows=1000)).run(tmp_path / "out", batch_rows=100)
    assert written(tmp_path / "out") == {}


def test_a_dry_run_writes_nothing(store, version, table, tmp_path):
    seen = Batch(store, "model:happy", [table]).preview(tmp_path / "out")
    assert (seen.model, seen.rows, seen.done, seen.inputs) == ("model:happy@1", 3000, 0, ("people.parquet",))
    assert seen.columns == ("prediction_id", "happy", "probability", "model")
    assert not (tmp_path / "out").exists()
    Batch(store, "model:happy", [table]).run(tmp_path / "out")
    assert Batch(store, "model:happy", [table]).preview(tmp_path / "out").done == 3000


def test_whoever_watches_hears_of_every_row(store, version, table, tmp_path):
    heard = []

    class Ear(Watch):
        def expects(self, rows):
            heard.append(rows)

        def took(self, rows, resumed=False):
            heard.append((rows, resumed))

        def ended(self):
            heard.append("end")

    Batch(store, "model:happy", [table]).run(tmp_path / "out", watch=Ear())
    assert heard[0] == 3000
    assert sum(rows for rows, resumed in heard[1:-1] if not resumed) == 3000
    assert heard[-1] == "end"


@pytest.mark.parametrize("task", ["values", "three", "two"])
def test_a_version_without_a_record_gives_its_servers_numbers(store, keep, people, tmp_path, task):
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    rows = people.select("age", "income").cast(pl.Float32)
    sums = rows.sum_horizontal()
    truth = {"values": sums, "two": people["happy"]}
    truth["three"] = pl.Series(["low" if one < 60 else "mid" if one < 80 else "top" for one in sums])
    kind = RandomForestRegressor if task == "values" else RandomForestClassifier
    version = keep(kind(5, random_state=0).fit(rows, truth[task]), example=rows.head(4), training=rows)
    assert version.format != "bundle"
    model = LoadedModel.open(store.objects, version.bundle)
    served = model.run(model.prepare(rows.to_dict(as_series=False)))
    rows.write_parquet(tmp_path / "rows.parquet")
    Batch(store, "model:kept", [tmp_path / "rows.parquet"]).run(tmp_path / "out", batch_rows=700)
    frame = read(tmp_path / "out")
    assert frame["prediction" if task == "values" else "probability"].to_list() == served.scores
    if task != "values":
        assert frame["prediction"].to_list() == served.labels


def test_a_version_whose_files_rest_elsewhere_is_refused(store, table):
    from interlock.registry.catalogue import Catalogue

    books = Catalogue(store)
    store.database.write(lambda tx: books.versions.create(tx, books.versions.draft("far"), make=True))
    with pytest.raises(Invalid, match="rest elsewhere"):
        Batch(store, "model:far", [table])

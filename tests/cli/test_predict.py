"""`interlock predict`."""

from __future__ import annotations

import json

import polars as pl
import pytest

from interlock.cli.main import run
from interlock.cli.predict import Lines


@pytest.fixture
def say(store, register, people, monkeypatch, capfd, tmp_path):
    """Return a function that runs `interlock predict` in a project with a model and a file."""
    register()
    people.write_parquet(store.project / "people.parquet")
    people.write_csv(store.project / "people.csv")
    monkeypatch.chdir(store.project)

    def call(*words):
        capfd.readouterr()
        code = run(["predict", *words])
        return code, *capfd.readouterr()

    return call


def test_files_are_scored(say, store):
    code, out, err = say("model:happy", "--input", "people.parquet", "people.csv", "--output", "out")
    assert code == 0, err
    assert "00001-00000.parquet" in out
    assert "model:happy@1 answered 6,000 of 6,000 rows: out, event" in err
    assert pl.read_parquet(store.project / "out" / "*.parquet").height == 6000


def test_json_is_the_report(say):
    code, out, err = say(
        "model:happy", "people.csv", "-o", "out", "--keep", "person, group", "--format", "csv", "--json"
    )
    assert code == 0, err
    report = json.loads(out)
    assert (report["rows"], report["refused"], report["model"]) == (3000, 0, "model:happy@1")
    assert report["parts"][0]["name"] == "00000-00000.csv"
    assert err == ""


def test_again_goes_on_and_says_so(say):
    assert say("model:happy", "people.csv", "-o", "out")[0] == 0
    code, _, err = say("model:happy", "people.csv", "-o", "out")
    assert code == 0
    assert "answered 3,000 of 3,000 rows" in err


def test_a_dry_run_writes_nothing(say, store):
    code, out, err = say("model:happy", "people.parquet", "-o", "out", "--dry-run")
    assert code == 0
    assert "3000" in out.replace(",", "")
    assert "Nothing was written." in err
    assert not (store.project / "out").exists()


def test_bad_rows_are_told(say, store, people):
    people.with_columns(age=pl.when(pl.col("person") == 1).then(None).otherwise("age")).write_parquet("bad.parquet")
    code, _, err = say("model:happy", "bad.parquet", "-o", "out")
    assert code != 0
    assert "bad.parquet: Column 'age', row 1: the value is missing" in err
    code, _, err = say("model:happy", "bad.parquet", "-o", "out", "--bad-rows", "null")
    assert code == 0
    assert "1 rows were refused; out/_bad_rows says which" in err


def test_an_address_is_refused_before_anything_is_read(say):
    code, _, err = say("model:happy", "people.csv", "-o", "out", "--workspace", "http://127.0.0.1:9")
    assert code != 0
    assert "files are scored where its folder is" in err


def test_lines_say_now_and_then_how_far_it_is(capsys, monkeypatch):
    monkeypatch.setattr("interlock.cli.predict.note", print)
    times = iter([0.0, 1.0, 6.0, 6.0])
    lines = Lines(lambda: next(times))
    lines.expects(100)
    lines.took(10, resumed=True)
    lines.took(20)
    lines.took(30)
    lines.ended()
    assert capsys.readouterr().out.splitlines() == ["10 rows were done before.", "60 of 100 rows after 6 s"]


def test_a_column_called_as_the_target_is_kept_under_no_name(say, store, people):
    people.with_columns(happy=pl.lit(1)).write_parquet(store.project / "known.parquet")
    code, _, err = say("model:happy", "known.parquet", "-o", "out", "--keep", "person,happy")
    assert code != 0
    assert "Column 'happy' cannot be kept: the output has one of that name." in err
    assert "Give yours another name in the files" in " ".join(err.split())
    assert not (store.project / "out").exists()


def test_other_options_for_a_folder_that_is_finished_get_a_hint(say):
    assert say("model:happy", "people.csv", "-o", "out")[0] == 0
    for more, told in (
        (["--keep", "person"], "It is finished and stays as it is: write to another folder with --output."),
        (["--keep", "person", "--restart"], "write to another folder with --output, or take this one away yourself."),
    ):
        code, _, err = say("model:happy", "people.csv", "-o", "out", *more)
        assert code != 0
        assert told in " ".join(err.split())

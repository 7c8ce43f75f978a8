from __future__ import annotations

import asyncio
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from interlock.core.errors import Corrupt, Invalid, MissingExtra, NotFound, Unavailable
from interlock.core.ids import new_id
from interlock.store import prediction_frames, prediction_rows
from interlock.store.blocklog import HEAD, SUFFIX, BlockWriter
from interlock.store.prediction_files import PARQUET
from interlock.store.predictions import Compactor, Prediction, PredictionLog, PredictionWriter, inputs_of

NAN = float("nan")


def make(n=0, **changes):
    row = Prediction(
        id=new_id(),
        at=1_000 + n,
        occurred_at=n,
        deployment="credit",
        model="model:credit@7",
        bundle="b" * 64,
        revision=1,
        request_id=f"request-{n}",
        row=0,
        subject=f"person-{n % 3}",
        inputs={"age": 30 + n, "city": "Ulm"},
        score=n / 7,
        label=n % 2,
        route="champion",
    )
    return msgspec.structs.replace(row, **changes)


def by_id(rows):
    return sorted(rows, key=lambda row: row.id)


def dead_log(folder, *blocks, seal=False):
    """The log of a writer that died after these blocks."""
    writer = BlockWriter(folder)
    for rows in blocks:
        writer.append(prediction_rows.encode(rows))
    if seal:
        writer.seal()
    else:
        writer.abandon()
    return writer.path


@pytest.fixture
def log(tmp_path):
    return PredictionLog(tmp_path / "predictions")


@pytest.fixture
def writer(log):
    opened = PredictionWriter(log.folder)
    yield opened
    opened.close()


# ---------------------------------------------------------------- writing


def test_an_acknowledged_prediction_can_be_read_at_once(log, writer):
    rows = [make(n) for n in range(5)]
    for row in rows:
        assert writer.append([row]).result(10) is None
        assert log.get(row.id) == row
    assert list(log.rows()) == rows


def test_rows_handed_in_meanwhile_share_a_block(log, writer):
    rows = [make(n) for n in range(300)]
    for future in [writer.append([row]) for row in rows]:
        future.result(10)
    assert list(log.rows()) == rows
    assert len(log._file(log_stem(log)).facts()) < 300


def log_stem(log):
    (path,) = log.folder.glob("*" + SUFFIX)
    return path.stem


def test_a_block_ends_when_it_has_enough_rows(log):
    writer = PredictionWriter(log.folder, block_rows=10)
    for future in [writer.append([make(n), make(n)]) for n in range(50)]:
        future.result(10)
    blocks = log._file(log_stem(log)).facts()
    assert max(facts.spans["credit"].rows for facts in blocks) <= 10
    writer.close()


def test_a_row_that_cannot_be_stored_fails_alone(log, writer):
    good = [make(n) for n in range(3)]
    bad = [
        make(inputs={"x": [1]}),
        make(inputs={"x": 1 << 70}),
        make(inputs={"x": "\ud800"}),
        make(occurred_at=1 << 63),
    ]
    with_bad = [writer.append([row]) for row in (good[0], bad[0], bad[1], good[1], bad[2], bad[3], good[2])]
    outcomes = [type(future.exception(10)) for future in with_bad]
    assert [outcome is Invalid for outcome in outcomes] == [False, True, True, False, True, True, False]
    assert list(log.rows()) == good


def test_handing_in_nothing_is_answered(writer):
    assert writer.append([]).result(10) is None


def test_closing_finishes_what_was_handed_in(log):
    writer = PredictionWriter(log.folder)
    rows = [make(n) for n in range(100)]
    futures = [writer.append([row]) for row in rows]
    writer.close()
    writer.close()
    assert all(future.result(0) is None for future in futures)
    assert list(log.rows()) == rows
    with pytest.raises(Unavailable, match="closed"):
        writer.append([make()]).result(0)


def test_a_writer_that_had_nothing_to_say_leaves_no_file(log):
    PredictionWriter(log.folder).close()
    assert not list(log.folder.glob("*" + SUFFIX))


def test_after_a_failed_write_nothing_is_acknowledged_any_more(log):
    """The file is put on a device that is always full."""
    writer = PredictionWriter(log.folder)
    kept = [make(n) for n in range(3)]
    writer.append(kept).result(10)
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, writer._file._handle)
    os.close(full)
    futures = [writer.append([make()]) for _ in range(20)]
    assert {type(future.exception(10)) for future in futures} == {Unavailable}
    assert isinstance(writer.append([make()]).exception(0), Unavailable)
    writer.close()
    assert list(PredictionLog(log.folder).rows()) == kept
    again = PredictionWriter(log.folder)  # a new file is the way on
    again.append(kept[:1]).result(10)
    again.close()


def test_a_folder_that_cannot_be_written_is_said_at_once(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable):
        PredictionWriter(tmp_path / "file" / "predictions")


def test_an_event_loop_can_wait_for_it_and_cannot_cancel_it(log, writer):
    row, other = make(1), make(2)

    async def answer():
        await asyncio.wrap_future(writer.append([row]))
        going = asyncio.wrap_future(writer.append([other]))
        going.cancel()
        await asyncio.wrap_future(writer.append([]))

    asyncio.run(asyncio.wait_for(answer(), 10))
    assert list(log.rows()) == [row, other]


def test_a_full_file_is_sealed_and_the_next_begun(log):
    writer = PredictionWriter(log.folder, roll_bytes=2_000)
    rows = [make(n) for n in range(40)]
    for row in rows:
        writer.append([row]).result(10)
    assert len(list(log.folder.glob("*" + SUFFIX))) > 3
    done = log.compact()
    assert 0 < sum(file.rows for file in done) <= 40  # the one being written is left alone
    assert list(log.rows()) == rows
    writer.close()


# ---------------------------------------------------------------- reading


def test_rows_are_chosen_by_deployment_and_instant(log):
    rows = [make(n, deployment=name) for n in range(6) for name in ("a", "b")]
    dead_log(log.folder, rows[:4], rows[4:])
    for _ in range(2):
        assert list(log.rows("a")) == rows[::2]
        assert [row.occurred_at for row in log.rows("b", 2, 5)] == [2, 3, 4]
        assert [row.occurred_at for row in log.rows(since=5)] == [5, 5]
        assert list(log.rows("c")) == list(log.rows(until=0)) == []
        assert log.frame("b", 2, 5)["id"].to_list() == [row.id for row in rows[5:10:2]]
        assert (log.watermark("a"), log.watermark(), log.watermark("c")) == (5, 5, None)
        assert log.request_ids("a") == {f"request-{n}" for n in range(6)}
        assert log.request_ids("c") == set()
        log.compact()


def test_each_instant_is_found_by_itself(log):
    rows = [make(n) for n in range(4)]
    dead_log(log.folder, *[[row] for row in rows])
    for _ in range(2):
        assert [list(log.rows(since=n, until=n + 1)) for n in range(4)] == [[row] for row in rows]
        log.compact()


def test_ids_need_not_come_in_order(log):
    rows = [make(n) for n in range(3)]
    dead_log(log.folder, [rows[1], rows[0], rows[2]])
    for _ in range(2):
        assert [log.get(row.id) for row in rows] == rows
        log.compact()


def test_a_log_that_becomes_parquet_while_it_is_read_is_read_all_the_same(log):
    rows = [make(n) for n in range(3)]
    path = dead_log(log.folder, rows)

    def compact_first(file):
        PredictionLog(log.folder).compact()
        return file.rows(prediction_rows.Filter())

    assert log._read(path.stem, compact_first) == rows
    assert log._read(new_id(), lambda file: file.facts()) is None


def test_one_prediction_and_one_subject_are_found_in_any_file(log):
    files = [[make(n) for n in range(k, k + 6)] for k in (20, 0, 10)]
    for rows in files:
        dead_log(log.folder, rows[:3], rows[3:])
    log.compact()
    dead_log(log.folder, [make(100)])
    everything = [row for rows in files for row in rows]
    for row in everything:
        assert log.get(row.id) == row
    found = log.by_subject("person-1")
    assert [row.occurred_at for row in found] == sorted(
        n.occurred_at for n in [*everything, make(100)] if n.subject == "person-1"
    )
    for unknown in ("", new_id(), "0" * 26):
        with pytest.raises(NotFound) as caught:
            log.get(unknown)
        assert caught.value.code == "prediction.not_found"
    assert log.by_subject("nobody") == []


def test_a_reader_follows_a_living_writer_and_the_files_it_becomes(log):
    writer = PredictionWriter(log.folder)
    first, second = make(1), make(2)
    writer.append([first]).result(10)
    assert (list(log.rows()), log.watermark()) == ([first], 1)
    writer.append([second]).result(10)
    assert (list(log.rows()), log.watermark()) == ([first, second], 2)
    writer.close()
    PredictionLog(log.folder).compact()
    assert (list(log.rows()), log.watermark()) == ([first, second], 2)
    PredictionLog(log.folder).erase_subject(second.subject)
    assert (list(log.rows()), log.watermark()) == ([first], 1)


def test_a_frame_has_the_fields_and_a_column_for_each_input(log):
    import polars as pl

    rows = [make(2, inputs={"age": 1, "new": 2.5}), make(1, inputs={"age": 0.5, "city": "Ulm"}), make(3, inputs={})]
    dead_log(log.folder, rows[:2])
    log.compact()
    dead_log(log.folder, rows[2:])
    frame = log.frame()
    fields = [name for name in Prediction.__struct_fields__ if name != "inputs"]
    assert frame.columns == [*fields, "inputs.age", "inputs.new", "inputs.city"]
    assert frame["id"].to_list() == [rows[1].id, rows[0].id, rows[2].id]
    assert frame["occurred_at"].dtype == pl.Datetime("us", "UTC")
    expected = {"age": [0.5, 1.0, None], "new": [None, 2.5, None], "city": ["Ulm", None, None]}
    assert inputs_of(frame).to_dict(as_series=False) == log.inputs_frame().to_dict(as_series=False) == expected


def test_an_empty_log_has_an_empty_frame(log):
    assert (log.frame().height, "id" in log.frame().columns, log.inputs_frame().shape) == (0, True, (0, 0))


TEXT = st.text(max_size=4)
SCALAR = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.integers(-5, 5) | st.floats() | TEXT
ROWS = st.lists(st.dictionaries(st.sampled_from("abc") | TEXT, SCALAR, max_size=4), max_size=6)


def plain(value):
    """A value by which equal inputs are equal: numbers by value, NaN equal to itself, no number equal to a boolean."""
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    return (isinstance(value, bool), isinstance(value, str), value)


@settings(max_examples=100)
@given(ROWS)
def test_every_row_comes_back_from_columns_exactly(inputs):
    rows = [make(n, inputs=each) for n, each in enumerate(inputs)]
    back = list(prediction_frames.to_rows(prediction_frames.to_frame(rows)))
    for row, found in zip(rows, back, strict=True):
        assert {k: plain(v) for k, v in found.inputs.items()} == {k: plain(v) for k, v in row.inputs.items()}
        assert msgspec.structs.replace(found, inputs={}) == msgspec.structs.replace(row, inputs={})


def test_every_input_comes_back_from_a_file_exactly(log):
    inputs = {
        "i": (1 << 63) - 1,
        "u": 1 << 63,
        "f": 0.1,
        "n": NAN,
        "b": True,
        "s": "\n'\"\0",
        "": None,
        "inputs.x[*]": 1,
    }
    row = make(inputs=inputs)
    dead_log(log.folder, [row, make(inputs={"i": "text", "b": 0})])
    log.compact()
    assert repr(log.get(row.id)) == repr(msgspec.structs.replace(row, inputs=log.get(row.id).inputs))
    assert {k: plain(v) for k, v in log.get(row.id).inputs.items()} == {k: plain(v) for k, v in inputs.items()}


# ---------------------------------------------------------------- damage


def test_damage_in_the_middle_is_corrupt_and_names_its_place(log):
    path = dead_log(log.folder, [make(1)], [make(2)], [make(3)])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    for reader in (log, PredictionLog(log.folder)):
        with pytest.raises(Corrupt) as caught:
            list(reader.rows())
        assert caught.value.facts["segment"] == path.name
        assert 0 < caught.value.facts["offset"] < len(data)


def test_a_damaged_log_does_not_keep_the_others_from_being_compacted(log):
    path = dead_log(log.folder, [make(1)], [make(2)])
    other = dead_log(log.folder, [make(3)])
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(data)
    with pytest.raises(Corrupt):
        log.compact()
    assert path.read_bytes() == data
    assert other.with_suffix(PARQUET).exists()


def test_any_changed_byte_of_a_parquet_file_is_noticed(log):
    dead_log(log.folder, [make(n) for n in range(4)])
    log.compact()
    (path,) = log.folder.glob("*" + PARQUET)
    data = path.read_bytes()
    for place in [*range(0, len(data), 97), *range(len(data) - 40, len(data))]:
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with pytest.raises(Corrupt) as caught:
            list(PredictionLog(log.folder).rows())
        assert caught.value.facts["segment"] == path.name


def test_changed_facts_do_not_hide_a_row(log):
    dead_log(log.folder, [make(7)])
    log.compact()
    (path,) = log.folder.glob("*" + PARQUET)
    data = path.read_bytes()
    assert data.count(b'"last":7') == 1
    path.write_bytes(data.replace(b'"last":7', b'"last":5'))
    with pytest.raises(Corrupt):
        list(PredictionLog(log.folder).rows(since=6))


def test_a_torn_end_is_cut_off_when_the_log_is_opened_and_not_while_its_writer_lives(log):
    writer = BlockWriter(log.folder)
    writer.append(prediction_rows.encode([make(1)]))
    whole = writer.size
    writer.append(prediction_rows.encode([make(2)]))
    os.truncate(writer.path, writer.size - 1)
    assert len(list(PredictionLog(log.folder).rows())) == 1
    assert writer.path.stat().st_size == writer.size - 1
    writer.abandon()
    again = PredictionLog(log.folder)
    assert writer.path.stat().st_size == whole + HEAD
    assert len(list(again.rows())) == len(list(log.rows())) == 1


def test_a_folder_in_which_no_house_can_be_kept_can_be_read(log):
    row = make()
    dead_log(log.folder, [row])
    (log.folder / "house.lock").unlink()
    (log.folder / "house.lock").mkdir()  # as on a read-only disk, where the file cannot be opened either
    assert list(PredictionLog(log.folder).rows()) == [row]


# ---------------------------------------------------------------- housekeeping


def test_a_finished_log_becomes_one_sorted_file(log):
    rows = [make(n) for n in range(5)]
    path = dead_log(log.folder, rows[3:], rows[:3])
    (done,) = log.compact()
    assert (done.file, done.rows) == (path.with_suffix(PARQUET).name, 5)
    assert not path.exists()
    assert list(log.rows()) == rows
    assert log.compact() == []


def test_small_logs_can_be_left_alone(log):
    small, large = dead_log(log.folder, [make()]), dead_log(log.folder, [make(n) for n in range(50)])
    assert [done.file for done in log.compact(min_bytes=5_000)] == [large.with_suffix(PARQUET).name]
    assert small.exists()


def test_a_dead_log_without_predictions_is_removed(log):
    path = dead_log(log.folder)
    assert log.compact() == []
    assert not path.exists()


def test_compaction_killed_at_any_point_neither_doubles_nor_loses(log):
    rows = [make(n) for n in range(6)]
    path = dead_log(log.folder, rows, seal=True)
    data, parquet = path.read_bytes(), path.with_suffix(PARQUET)
    log.compact()
    whole = parquet.read_bytes()
    begun = parquet.with_suffix(".parquet.tmp")
    for left in (
        {path: data, begun: whole[:99]},
        {path: data, begun: whole},
        {path: data, parquet: whole},
        {parquet: whole, begun: whole[:99]},  # an erasure
    ):
        for old in log.folder.iterdir():
            old.unlink()
        for name, content in left.items():
            name.write_bytes(content)
        assert by_id(log.rows()) == rows
        assert by_id(PredictionLog(log.folder).rows()) == rows
        log.compact()
        assert by_id(log.rows()) == rows
        assert {old.suffix for old in log.folder.iterdir()} == {PARQUET, ".lock"}


def test_a_file_that_is_not_read_back_as_written_never_gets_its_name(log, monkeypatch):
    polars = pytest.importorskip("polars")
    write = polars.DataFrame.write_parquet
    path = dead_log(log.folder, [make(1), make(2)])
    with monkeypatch.context() as patch:
        patch.setattr(polars.DataFrame, "write_parquet", lambda frame, *args, **kw: write(frame.head(1), *args, **kw))
        with pytest.raises(Corrupt):
            log.compact()
    assert [left.suffix for left in sorted(log.folder.iterdir())] == [".log", ".lock"]
    assert (path.exists(), len(list(log.rows()))) == (True, 2)


def test_a_subject_is_erased_from_all_files_but_those_being_written(log):
    dead_log(log.folder, [make(n) for n in range(6)])
    log.compact()
    dead_log(log.folder, [make(n) for n in range(6, 9)])
    living = PredictionWriter(log.folder)
    living.append([make(n) for n in range(9, 15)]).result(10)
    erased = log.erase_subject("person-0")
    assert (erased.rows, erased.waiting) == (3, 2)
    assert [row.occurred_at for row in log.by_subject("person-0")] == [9, 12]
    assert len(list(log.rows())) == 12
    living.close()
    assert log.erase_subject("person-0").rows == 2
    assert log.erase_subject("person-0").rows == 0
    assert not any(b"person-0" in path.read_bytes() for path in log.folder.iterdir())
    with pytest.raises(Invalid):
        log.erase_subject("")


def test_a_file_whose_every_row_is_erased_still_keeps_its_log_from_coming_back(log):
    path = dead_log(log.folder, [make(0)], seal=True)
    data = path.read_bytes()
    log.compact()
    log.erase_subject("person-0")
    path.write_bytes(data)
    assert list(log.rows()) == []
    assert log.watermark() is None
    assert log.compact() == list(PredictionLog(log.folder).rows()) == []


def test_without_polars_the_log_works_until_somebody_wants_a_frame(log, monkeypatch):
    row = make()
    dead_log(log.folder, [row])
    monkeypatch.setitem(sys.modules, "polars", None)
    assert list(PredictionLog(log.folder).rows()) == [row]
    for call in (log.frame, log.compact):
        with pytest.raises(MissingExtra, match="data"):
            call()
    assert log.get(row.id) == row


def test_every_acknowledged_row_is_visible_at_any_time_while_files_are_compacted(log):
    writer = PredictionWriter(log.folder, roll_bytes=3_000)
    compactor = Compactor(log.folder, every_s=0.001)
    acknowledged, seen, done = [], [], threading.Event()

    def read():
        while not done.is_set():
            before = set(acknowledged)
            seen.append((before, Counter(row.id for row in log.rows())))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for n in range(150):
            row = make(n)
            writer.append([row]).result(10)
            acknowledged.append(row.id)
    finally:
        done.set()
        reader.join()
        writer.close()
        compactor.stop()
    assert compactor.error is None
    for before, found in seen:
        assert max(found.values(), default=1) == 1
        assert before <= set(found)


def test_a_compactor_tries_again_after_an_error(log):
    path = dead_log(log.folder, [make(1)], [make(2)])
    data = path.read_bytes()
    path.write_bytes(data[:30] + bytes([data[30] ^ 1]) + data[31:])
    compactor = Compactor(log.folder, every_s=0.001)
    wait_for(lambda: compactor.error)
    assert isinstance(compactor.error, Corrupt)
    path.write_bytes(data)
    wait_for(lambda: compactor.rows == 2)
    compactor.stop()


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)


# ---------------------------------------------------------------- SIGKILL

CHILD = """
import os, sys
from pathlib import Path
from interlock.core.ids import new_id
from interlock.store.predictions import Compactor, Prediction, PredictionWriter
import polars

def work(folder, acks):
    writer = PredictionWriter(folder, roll_bytes=4_000)
    Compactor(folder, every_s=0.001)
    while True:
        rows = [Prediction(id=new_id(), at=1, occurred_at=1, deployment="d", model="m", bundle="b",
                revision=1, request_id="r", row=n, subject="s", inputs={"x": n}, score=0.5, label=1,
                route="champion") for n in range(3)]
        writer.append(rows).result()
        os.write(acks, "".join(row.id + "\\n" for row in rows).encode())

folder = Path(sys.argv[1])
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        work(folder, os.open(line.strip(), os.O_CREAT | os.O_WRONLY | os.O_APPEND))
    print(child, flush=True)
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


def test_writers_and_compaction_killed_at_any_moment_lose_and_double_nothing(tmp_path):
    log = PredictionLog(tmp_path / "predictions")
    acknowledged: list[str] = []
    chance = random.Random(11)
    source = Path(prediction_rows.__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(source)}
    command = [sys.executable, "-W", "ignore", "-c", CHILD, str(log.folder)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=environment) as nursery:
        for turn in range(15):
            acks = tmp_path / f"acks-{turn}"
            nursery.stdin.write(f"{acks}\n")
            nursery.stdin.flush()
            child = int(nursery.stdout.readline())
            wait_for(lambda acks=acks: acks.exists() and acks.stat().st_size > 0)
            time.sleep(chance.uniform(0.0, 0.08))
            os.kill(child, signal.SIGKILL)
            assert nursery.stdout.readline() == "dead\n"
            acknowledged += [line for line in acks.read_text().split("\n") if len(line) == 26]
            reader = PredictionLog(log.folder) if turn % 2 else log
            found = Counter(row.id for row in reader.rows())
            assert set(acknowledged) <= set(found)
            assert max(found.values()) == 1
        nursery.stdin.close()
    log.compact()
    assert {path.suffix for path in log.folder.iterdir()} == {PARQUET, ".lock"}
    found = Counter(row.id for row in log.rows())
    assert set(acknowledged) <= set(found)
    assert max(found.values()) == 1
    assert len(acknowledged) > 15


# ---------------------------------------------------------------- any order of things


class AnyOrder(RuleBasedStateMachine):
    """A log to which anything happens in any order, and the dict that it must be equal to."""

    @initialize()
    def begin(self):
        self.place = tempfile.TemporaryDirectory()
        self.log = PredictionLog(Path(self.place.name))
        self.writer = None
        self.kept = {}
        self.count = 0

    def rows(self, number):
        made = [make(self.count + n, deployment=f"d{n % 2}") for n in range(number)]
        self.count += number
        return made

    @rule(number=st.integers(1, 4))
    def append(self, number):
        self.writer = self.writer or BlockWriter(self.log.folder)
        rows = self.rows(number)
        self.writer.append(prediction_rows.encode(rows))
        self.kept |= {row.id: row for row in rows}

    @rule(share=st.floats(0, 1, exclude_max=True))
    def die_while_writing(self, share):
        """The last block is cut at any byte: it was never acknowledged."""
        self.writer = self.writer or BlockWriter(self.log.folder)
        before = self.writer.size
        self.writer.append(prediction_rows.encode(self.rows(2)))
        self.writer.abandon()
        os.truncate(self.writer.path, before + int((self.writer.size - before) * share))
        self.writer = None

    @rule()
    def die(self):
        if self.writer:
            self.writer.abandon()
            self.writer = None

    @rule()
    def finish(self):
        if self.writer:
            self.writer.seal()
            self.writer = None

    @rule()
    def open_again(self):
        self.log = PredictionLog(self.log.folder)

    @rule()
    def compact(self):
        self.log.compact()

    @rule(subject=st.sampled_from(["person-0", "person-1"]))
    def erase(self, subject):
        self.die()
        expected = [key for key, row in self.kept.items() if row.subject == subject]
        erased = self.log.erase_subject(subject)
        assert (erased.rows, erased.waiting) == (len(expected), 0)
        for key in expected:
            del self.kept[key]

    @invariant()
    def the_log_holds_what_was_acknowledged(self):
        if not hasattr(self, "log"):
            return
        wanted = by_id(self.kept.values())
        assert by_id(self.log.rows()) == wanted
        mine = [row for row in wanted if row.deployment == "d1"]
        assert self.log.watermark("d1") == max((row.occurred_at for row in mine), default=None)
        if wanted:
            row = wanted[len(wanted) // 2]
            assert self.log.get(row.id) == row
            assert self.log.by_subject(row.subject) == [each for each in wanted if each.subject == row.subject]

    def teardown(self):
        if hasattr(self, "place"):
            self.die()
            self.place.cleanup()


AnyOrder.TestCase.settings = settings(max_examples=25, stateful_step_count=12)
TestAnyOrder = AnyOrder.TestCase

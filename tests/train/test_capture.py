"""Each run's lines go to its own log, whole, and streams are given back."""

from __future__ import annotations

import logging
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from interlock.core.clock import FixedClock
from interlock.core.errors import Conflict, Invalid
from interlock.train.capture import RunLog, captured, listening, log_path

CLOCK = FixedClock(datetime(2026, 1, 2, 3, 4, 5, 678000, UTC))


def lines(log: RunLog) -> list[str]:
    return log.path.read_text().splitlines()


def test_lines_carry_instant_step_and_stream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = RunLog(tmp_path / "logs" / "r.log", CLOCK)
    writer = log.writer("fit#1")
    with listening(), captured(writer):
        print("one", end="")
        print(" line\ntwo\rthree")
        sys.stderr.write("an open line")
        logging.getLogger("lib").info("known %s", 1)
        logging.getLogger("lib").debug("unknown")
    writer.close()
    writer("err", "bad\ud800 text\n")
    log.close()
    assert lines(log) == [
        "2026-01-02T03:04:05.678Z fit#1 out| one line",
        "2026-01-02T03:04:05.678Z fit#1 out| two\\rthree",
        "2026-01-02T03:04:05.678Z fit#1 log| INFO lib: known 1",
        "2026-01-02T03:04:05.678Z fit#1 err| an open line",
        "2026-01-02T03:04:05.678Z fit#1 err| bad\\ud800 text",
    ]
    assert capsys.readouterr().out == "one line\ntwo\rthree\n"


def test_streams_and_logging_are_given_back(tmp_path: Path) -> None:
    before = (sys.stdout, sys.stderr, logging.getLogger().level, list(logging.getLogger().handlers))
    with listening(), listening():
        assert sys.stdout is not before[0]
        assert not sys.stdout.isatty()
    assert (sys.stdout, sys.stderr, logging.getLogger().level, list(logging.getLogger().handlers)) == before


def test_runs_beside_each_other_do_not_mix(tmp_path: Path) -> None:
    logs = [RunLog(tmp_path / f"{name}.log", CLOCK) for name in "ab"]
    turn = threading.Barrier(2)

    def speak(number: int) -> None:
        with listening(), captured(logs[number].writer(f"step#{number}")):
            for _ in range(50):
                turn.wait(5)
                print(f"from {number}")

    threads = [threading.Thread(target=speak, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, log in enumerate(logs):
        log.close()
        assert [line.rpartition(" ")[2] for line in lines(log)] == [str(number)] * 50


def test_a_log_is_held_by_one_and_never_cut(tmp_path: Path) -> None:
    first = RunLog(tmp_path / "r.log", CLOCK)
    first.writer("a#1")("out", "one\n")
    with pytest.raises(Conflict):
        RunLog(tmp_path / "r.log", CLOCK)
    beside = RunLog(tmp_path / "r.log", CLOCK, alone=False)
    beside.writer("b#1")("out", "two\n")
    beside.close()
    first.close()
    again = RunLog(tmp_path / "r.log", CLOCK)
    again.close()
    assert len(lines(again)) == 2
    assert (tmp_path / "r.log").stat().st_mode & 0o777 == 0o600


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "r.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="r.log"):
        RunLog(tmp_path / "r.log", CLOCK)
    with pytest.raises(Invalid):
        log_path(tmp_path, "../r")

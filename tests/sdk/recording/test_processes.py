"""What becomes of runs when their process ends: every way of ending, with real processes, signals and servers."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from interlock.sdk.recording.spool import outbox_of
from interlock.sdk.recording.syncing import sync, waiting
from interlock.sdk.workspace import Workspace

LOGS = """
    import interlock, sys, time
    with interlock.run("exp", machine=False) as run:
        print("id", run.id)
        for step in range(2000):
            run.metrics(loss=step / 2, step=step)
        {then}
"""


def run_of(workspace: Workspace, ident: str, points: int = 2000) -> str:
    """Return a run's status and reason, every point being there once."""
    steps = workspace.track.metric(ident, "loss").steps
    assert (len(steps), len(set(steps))) == (points, points)
    found = workspace.track.run(ident)
    return f"{found.status}: {found.reason}"


@pytest.mark.parametrize(
    ("then", "code", "end"),
    [
        ("pass", 0, "finished: "),
        ("sys.exit()", 0, "finished: "),
        ("sys.exit(3)", 3, "failed: exit code 3"),
        ("sys.exit('no')", 1, "failed: no"),
        ("raise ValueError('bad row 7')", 1, "failed: ValueError: bad row 7"),
        ("raise KeyboardInterrupt", -signal.SIGINT, "killed: KeyboardInterrupt"),
    ],
)
def test_every_way_to_end_keeps_all_and_says_how(start, workspace, then: str, code: int, end: str) -> None:
    script = start(LOGS.format(then=then))
    ident = script.says("id")
    assert script.ends()[0] == code
    assert run_of(workspace, ident) == end
    assert waiting(workspace.location) == []


def test_the_traceback_is_in_the_log(start, workspace) -> None:
    script = start(LOGS.format(then="raise ValueError('bad row 7')"))
    ident = script.says("id")
    script.ends()
    log = workspace.track.logs(ident)
    assert "err| ValueError: bad row 7" in log
    assert log.index("out| id") < log.index("err| Traceback")


WITHOUT_WITH = """
    import interlock
    run = interlock.run("exp", machine=False).start()
    print("id", run.id)
    run.metrics(loss=0.0)
    {then}
"""


@pytest.mark.parametrize(
    ("then", "end"), [("pass", "finished: "), ("1 / 0", "failed: ZeroDivisionError: division by zero")]
)
def test_a_run_that_nobody_ends_ends_with_the_process(start, workspace, then: str, end: str) -> None:
    script = start(WITHOUT_WITH.format(then=then))
    ident = script.says("id")
    script.ends()
    assert run_of(workspace, ident, points=1) == end


def test_sigterm_ends_runs_as_killed_and_kills(start, workspace) -> None:
    script = start(LOGS.format(then="print('now'); time.sleep(60)"))
    ident = script.says("id")
    script.says("now")
    assert script.kill(signal.SIGTERM) == -signal.SIGTERM
    assert run_of(workspace, ident) == "killed: SIGTERM"


def test_a_handler_of_the_script_is_called_and_decides(start, workspace) -> None:
    script = start(
        """
        import interlock, signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
        with interlock.run("exp", machine=False) as run:
            print("id", run.id)
            run.metrics(loss=0.0)
            print("now")
            time.sleep(60)
        """
    )
    ident = script.says("id")
    script.says("now")
    assert script.kill(signal.SIGTERM) == 5
    assert run_of(workspace, ident, points=1) == "failed: exit code 5"


def test_after_the_last_run_signals_do_what_they_did(start) -> None:
    script = start(
        """
        import interlock, signal, sys
        hook = sys.excepthook
        with interlock.run("exp", machine=False):
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert sys.excepthook is hook
        assert type(sys.stdout).__name__ == "TextIOWrapper"
        """
    )
    assert script.ends() == (0, "")


def test_kill_9_loses_nothing_that_was_spooled(start, workspace) -> None:
    script = start(LOGS.format(then="time.sleep(0.6); print('spooled'); time.sleep(60)"))
    ident = script.says("id")
    script.says("spooled")
    assert script.kill() == -signal.SIGKILL
    (result,) = sync(workspace)
    assert ident in result.runs or result.batches == 0  # the server may have had it all
    assert run_of(workspace, ident) == "killed: its process ended without a word"
    assert sync(workspace) == []
    assert waiting(workspace.location) == []


def test_the_next_run_delivers_what_a_killed_one_left(start, workspace) -> None:
    script = start(LOGS.format(then="time.sleep(0.6); print('spooled'); time.sleep(60)"))
    ident = script.says("id")
    script.says("spooled")
    script.kill()
    assert start(LOGS.format(then="run.flush()")).ends()[0] == 0
    assert run_of(workspace, ident) == "killed: its process ended without a word"
    assert waiting(workspace.location) == []


def test_a_child_that_was_forked_sends_its_own_and_nothing_twice(start, workspace) -> None:
    script = start(
        """
        import interlock, os, sys
        with interlock.run("exp", machine=False) as run:
            print("id", run.id)
            for step in range(1000):
                run.metrics(loss=step / 2, step=step)
            run.log("said before the fork")
            child = os.fork()
            if child == 0:
                for step in range(1000, 2000):
                    run.metrics(loss=step / 2, step=step)
                sys.exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            silent = os.fork()
            if silent == 0:
                sys.exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(silent, 0)[1]) == 0
        """
    )
    ident = script.says("id")
    assert script.ends() == (0, "")
    assert run_of(workspace, ident) == "finished: "
    assert workspace.track.logs(ident).count("said before the fork") == 1
    assert len(workspace.track.runs()) == 1
    assert waiting(workspace.location) == []


def test_workers_of_multiprocessing_may_log(start, workspace) -> None:
    script = start(
        """
        import interlock, multiprocessing
        def work(first):
            for step in range(first, first + 500):
                run.metrics(loss=step / 2, step=step)
        if __name__ == "__main__":
            with interlock.run("exp", machine=False) as run:
                print("id", run.id)
                context = multiprocessing.get_context("fork")
                children = [context.Process(target=work, args=(first,)) for first in range(0, 2000, 500)]
                for child in children: child.start()
                for child in children: child.join()
                assert [child.exitcode for child in children] == [0] * 4
        """
    )
    ident = script.says("id")
    assert script.ends() == (0, "")
    assert run_of(workspace, ident) == "finished: "


def test_with_the_server_away_runs_are_kept_and_synced_once(start, server, workspace, project: Path) -> None:
    script = start(LOGS.format(then="pass"), INTERLOCK_WORKSPACE=server.address)
    ident = script.says("id")
    code, err = script.ends()
    assert code == 0
    assert err.count("cannot be reached") == 1
    assert "interlock sync" in err
    assert len(waiting(server.address)) == 1
    server.start()
    for expected in ("1", "Nothing waits here."):
        command = [sys.executable, "-m", "interlock", "--workspace", server.address, "sync"]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
        assert expected in done.stdout + done.stderr
    assert run_of(workspace, ident) == "finished: "
    assert waiting(server.address) == []


def test_a_server_that_comes_back_gets_all_while_the_run_goes_on(start, server, workspace) -> None:
    text = """
        import interlock, sys
        with interlock.run("exp", machine=False) as run:
            print("id", run.id)
            for step in range(1000): run.metrics(loss=step / 2, step=step)
            run.flush(); print("away"); sys.stdin.readline()
            for step in range(1000, 2000): run.metrics(loss=step / 2, step=step)
            assert not run.flush(1); print("kept")
            while not run.flush(1): pass
    """
    server.start()
    script = start(text, INTERLOCK_WORKSPACE=server.address)
    ident = script.says("id")
    script.says("away")
    assert len(workspace.track.metric(ident, "loss").steps) == 1000
    server.stop(signal.SIGKILL)
    script.process.stdin.write("\n")
    script.process.stdin.flush()
    script.says("kept")
    server.start()
    code, err = script.ends()
    assert code == 0
    assert [line.split()[-1] for line in err.splitlines()] == ["again.", "everything."]
    assert run_of(workspace, ident) == "finished: "
    assert waiting(server.address) == []


def test_two_scripts_at_once_both_arrive(start, server, workspace) -> None:
    server.start()
    scripts = [start(LOGS.format(then="pass"), INTERLOCK_WORKSPACE=server.address) for _ in range(2)]
    idents = [script.says("id") for script in scripts]
    assert [script.ends() for script in scripts] == [(0, "")] * 2
    assert [run_of(workspace, ident) for ident in idents] == ["finished: "] * 2


def test_a_living_writer_is_left_alone(start, workspace) -> None:
    script = start(LOGS.format(then="time.sleep(0.3); print('now'); sys.stdin.readline()"))
    ident = script.says("id")
    script.says("now")
    assert sync(workspace) == []
    assert len(list(outbox_of(workspace.location).iterdir())) == 1
    script.process.stdin.write("\n")
    assert script.ends()[0] == 0
    assert run_of(workspace, ident) == "finished: "


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_client_and_server_killed_at_random_lose_and_double_nothing(start, server, workspace, seed: int) -> None:
    import random
    import time

    chance = random.Random(seed)
    server.start()
    script = start(
        """
        import interlock, time
        with interlock.run("exp", machine=False) as run:
            print("id", run.id)
            for step in range(100_000):
                run.metrics(loss=step / 2, step=step)
                if step % 200 == 0:
                    run.params({f"p{step}": step})
                    run.write(f"f{step}.txt", str(step))
                time.sleep(0.0005)
        """,
        INTERLOCK_WORKSPACE=server.address,
    )
    ident = script.says("id")
    for _ in range(3):
        time.sleep(chance.uniform(0.05, 0.6))
        server.stop(signal.SIGKILL)
        time.sleep(chance.uniform(0, 0.4))
        server.start()
    script.kill()
    with Workspace.open(server.address) as remote:
        sync(remote)
    found = workspace.track.run(ident)
    steps = workspace.track.metric(ident, "loss").steps
    assert steps == tuple(range(len(steps)))
    whole = range(0, len(steps) - 400, 200)
    assert {f"p{step}" for step in whole} <= found.params.keys()
    assert {f"f{step}.txt" for step in whole} <= {file.name for file in found.artifacts}
    assert found.status == "killed"
    assert waiting(server.address) == []
    assert workspace.ledger.verify().ok


def test_a_run_that_was_recorded_away_goes_on_away_and_arrives_in_order(start, server, workspace) -> None:
    first = start(LOGS.format(then="pass"), INTERLOCK_WORKSPACE=server.address)
    ident = first.says("id")
    first.ends()
    again = start(
        f"""
        import interlock
        with interlock.run(resume="{ident}", machine=False) as run:
            for step in range(2000, 2500): run.metrics(loss=0.5, step=step)
        """,
        INTERLOCK_WORKSPACE=server.address,
    )
    assert again.ends()[0] == 0
    assert len(waiting(server.address)) == 2
    server.start()
    with Workspace.open(server.address) as remote:
        assert [result.refused for result in sync(remote)] == [(), ()]
    assert run_of(workspace, ident, points=2500) == "finished: "


NEXT = """
    import interlock
    with interlock.run("exp", {resume}machine=False, console=False) as run:
        print("id", run.id)
        for value in range(100): run.metrics(loss=float(value))
        {then}
"""


def test_steps_go_on_where_they_were_although_the_server_is_away(start, server, workspace) -> None:
    """The first hundred reach the server, the second never did when the third and fourth begin."""
    server.start()
    away = {"INTERLOCK_WORKSPACE": server.address}
    first = start(NEXT.format(resume="", then=""), **away)
    ident = first.says("id")
    first.ends()
    server.stop()
    resume = f'resume="{ident}", '
    for then in ("", "run.metrics(loss=0.0, step=1000); run.metrics(loss=1.0)"):
        assert start(NEXT.format(resume=resume, then=then), **away).ends()[0] == 0
    server.start()
    last = start(NEXT.format(resume=resume, then="assert run.flush()"), **away)
    assert last.ends()[0] == 0
    expected = (*range(300), 1000, 1001, *range(1002, 1102))
    assert workspace.track.metric(ident, "loss").steps == expected


def test_steps_go_on_while_earlier_points_still_wait(start, server, workspace) -> None:
    """A run begins again in the moment in which the server is back, and nobody has sent what waits."""
    away = {"INTERLOCK_WORKSPACE": server.address}
    first = start(NEXT.format(resume="", then=""), **away)
    ident = first.says("id")
    first.ends()
    server.start()
    again = start(NEXT.format(resume=f'resume="{ident}", ', then="run.flush()"), **away)
    assert again.ends()[0] == 0
    assert workspace.track.metric(ident, "loss").steps == tuple(range(200))


FULL = """
    import interlock, resource, threading
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    run = interlock.run("exp", machine=False, console=False).start()
    print("id", run.id)
    run.metrics(loss=0.5)
    assert run.flush()
    recorder = run._opening.recorder
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    for step in range(1, 8):
        run.metrics(loss=float(step), step=step)
    assert not run.flush(1.0)
    {then}
"""


def test_a_full_disk_is_told_and_what_was_written_is_kept(start, workspace) -> None:
    script = start(FULL.format(then="run.params(a=1); run.finish(timeout_s=5.0); print('ended')"))
    ident = script.says("id")
    script.says("ended")
    code, err = script.ends()
    assert code == 0
    assert "7 points and 3 other things that your runs logged could not be written to disk" in err
    sync(workspace)
    assert run_of(workspace, ident, points=1) == "killed: its process ended without a word"


def test_what_waits_for_a_full_disk_goes_on_when_there_is_room(start, workspace) -> None:
    then = """
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert run.flush()
    assert recorder._flushed == []
    run.finish()
    print("ended")
    """
    script = start(FULL.format(then=then))
    ident = script.says("id")
    script.says("ended")
    assert "lost" not in script.ends()[1]
    assert run_of(workspace, ident, points=8) == "finished: "


def test_memory_has_a_bound_while_the_disk_is_full_and_what_is_missing_is_said(start, workspace) -> None:
    then = """
    from interlock.sdk.recording import held
    held.MOST_BYTES = 100_000
    sizes = []
    for step in range(8, 20_008):
        run.metrics(loss=float(step), step=step)
        run.log(f"line {step}")
        if step % 4000 == 0:
            run.params({f"p{step}": step})
            assert not run.flush(0.3)
            sizes.append(recorder._held._bytes)
    assert max(sizes) < 200_000
    assert not run.flush(0.3)
    missing = recorder._held.missing[run.id]
    print("missing", missing.points, missing.lines, missing.others)
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert run.flush()
    run.metrics(loss=0.0, step=20_008)
    assert recorder._held.missing == {}
    run.finish()
    print("ended")
    """
    script = start(FULL.format(then=then))
    ident = script.says("id")
    points, lines, others = map(int, script.says("missing").split())
    script.says("ended")
    err = script.ends()[1]
    assert err.count("memory has enough: points are left out now") == 1
    assert (points > 1000, lines > 1000, others) == (True, True, 0)
    assert run_of(workspace, ident, points=20_009 - points) == "finished: "
    log = workspace.track.logs(ident)
    assert log.count("| line ") == 20_000 - lines
    assert f"log| interlock: {points} points and {lines} lines of the log are missing here: nothing could" in log
    assert len(workspace.track.run(ident).params) == 5


def test_a_run_that_begins_on_a_full_disk_is_recorded_when_there_is_room(start, workspace) -> None:
    script = start(
        """
        import interlock, resource
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        with interlock.run("outer", machine=False, console=False) as outer:
            assert outer.flush()
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
            run = interlock.run("exp", machine=False, console=False).start()
            run.metrics(loss=0.5)
            assert not run.flush(0.5)
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            print("id", run.id)
            run.finish()
        """
    )
    ident = script.says("id")
    assert script.ends()[0] == 0
    assert run_of(workspace, ident, points=1) == "finished: "

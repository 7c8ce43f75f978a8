"""What goes through the descriptors 1 and 2 of a script: all of it arrives, and all of it is in the log."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import textwrap
import threading
import time
from pathlib import Path

import pytest

from interlock.sdk.recording import relay
from interlock.sdk.recording.relay import Ends, Relay, frames_of
from interlock.sdk.recording.syncing import sync

RUN = [sys.executable, "-m", "interlock", "run", "--no-autolog"]
MIXED = """
    import ctypes, os, subprocess, sys
    for number in range(20):
        print("python out", number, flush=True)
        print("python err", number, file=sys.stderr)
        subprocess.run("echo child out; echo child err >&2", shell=True)
        ctypes.CDLL(None).puts(b"c out")
        ctypes.CDLL(None).fflush(None)
        os.write(2, b"bare \\xff err\\n")
    sys.stdout.write("no end")
"""


@pytest.fixture
def script(project: Path):
    """Write a script; return the words that run it under Python, and those that record it."""

    def write(text: str) -> tuple[list[str], list[str]]:
        (project / "train.py").write_text(textwrap.dedent(text), "utf-8")
        return [sys.executable, "train.py"], [*RUN, "train.py"]

    return write


def ours(err: bytes) -> bytes:
    return b"".join(line for line in err.splitlines(keepends=True) if not line.startswith(b"interlock: "))


def log_of(workspace, index: int = 0) -> list[str]:
    """Return the lines of a run's log without their instants."""
    return [line.partition(" ")[2] for line in workspace.track.logs(workspace.track.runs()[index].id).splitlines()]


def test_what_python_children_and_libraries_write_arrives_as_under_python_and_is_in_the_log(script, workspace) -> None:
    plain, recorded = (subprocess.run(words, capture_output=True, check=True) for words in script(MIXED))
    assert (recorded.stdout, ours(recorded.stderr)) == (plain.stdout, plain.stderr)
    log = log_of(workspace)
    assert [line[5:] for line in log if line.startswith("out| ")] == plain.stdout.decode().splitlines()
    assert [line[5:] for line in log if line.startswith("err| ")] == plain.stderr.decode(
        "utf-8", "replace"
    ).splitlines()


def test_where_both_lead_to_one_place_their_order_is_kept(script, workspace) -> None:
    plain, recorded = (
        subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True) for words in script(MIXED)
    )
    assert recorded.stdout.startswith(plain.stdout)
    assert recorded.stdout[len(plain.stdout) :].startswith(b"interlock: run:")
    assert [line.removeprefix("both| ") for line in log_of(workspace)] == plain.stdout.decode(
        "utf-8", "replace"
    ).splitlines()


class Terminal:
    """A program that runs on a terminal of ours."""

    def __init__(self, words: list[str], cwd: Path) -> None:
        self.master, slave = pty.openpty()
        self.resize(33, 77)
        self.process = subprocess.Popen(words, cwd=cwd, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        self.seen = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, until: bytes = b"") -> bytes:
        while not until or until not in self.seen:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                data = b""
            if not data:
                break
            self.seen += data
        return self.seen

    def close(self) -> int:
        self.read()
        code = self.process.wait(30)
        os.close(self.master)
        return code


def test_a_terminal_is_a_terminal_still(script, project: Path, workspace) -> None:
    words = script(
        """
        import os, sys, time
        print(sys.stdin.isatty(), sys.stdout.isatty(), sys.stderr.isatty(), os.get_terminal_size(1))
        print("\\033[31mred\\033[0m \\033]0;title\\007text")
        for percent in (1, 50, 100):
            print(f"\\r{percent}%", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        print("said", input("name? "))
        for _ in range(200):
            if os.get_terminal_size(1).columns != 77: break
            time.sleep(0.05)
        print(os.get_terminal_size(1))
        """
    )
    seen = []
    for command in words:
        terminal = Terminal(command, project)
        terminal.read(b"name? ")
        os.write(terminal.master, b"ann\n")
        terminal.read(b"said ann")
        terminal.resize(20, 100)
        assert terminal.close() == 0
        seen.append(terminal.seen)
    plain, recorded = seen
    assert recorded.startswith(plain)
    assert b"\x1b[31mred" in plain
    assert b"True True True os.terminal_size(columns=77, lines=33)" in plain
    log = log_of(workspace)
    assert log[1:3] == ["both| red text", "both| 100%"]
    assert log[-1] == "both| os.terminal_size(columns=100, lines=20)"


CRASHES = """
    import ctypes, faulthandler, os, signal, subprocess, sys, time
    print("before", flush=True)
    time.sleep(0.5)
    subprocess.run(["echo", "x" * 5000])
    faulthandler.enable()
    print("last words", flush=True)
    {then}
"""


@pytest.mark.parametrize(
    ("then", "code", "says"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, ""),
        ("ctypes.string_at(0)", -signal.SIGSEGV, "Fatal Python error: Segmentation fault"),
        ("os.abort()", -signal.SIGABRT, "Fatal Python error: Aborted"),
        ("os._exit(3)", 3, ""),
    ],
)
def test_the_last_words_of_a_process_that_breaks_off_arrive_and_are_sent_later(
    script, workspace, then: str, code: int, says: str
) -> None:
    _, recorded = script(CRASHES.format(then=then))
    done = subprocess.run(recorded, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stdout == f"before\n{'x' * 5000}\nlast words\n"
    assert says in done.stderr
    refused = [text for result in sync(workspace) for text in result.refused]
    log = "\n".join(log_of(workspace))
    assert (refused, workspace.track.runs()[0].status) == ([], "killed")
    assert (log.count("last words"), says in log) == (1, True)


def test_what_nobody_has_read_yet_when_a_script_is_killed_is_read_and_logged_all_the_same(script, workspace) -> None:
    _, recorded = script(
        """
        import os, signal
        for number in range(5): os.write(1, b"%d" % number * 24_999 + b"\\n")
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    with subprocess.Popen(recorded, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.wait(30) == -signal.SIGKILL
        lines = process.stdout.read().splitlines()
    assert lines == [str(number) * 24_999 for number in range(5)]
    sync(workspace)
    assert [line.removeprefix("out| ") for line in log_of(workspace)] == lines


def test_a_run_that_breaks_off_before_anything_was_written_is_there_and_ended(script, workspace) -> None:
    _, recorded = script(
        """
        import os, signal
        from interlock.sdk.recording.outbox import Outbox
        Outbox.put = lambda *args, **kwargs: __import__("time").sleep(60)
        print("only this", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    subprocess.run(recorded, capture_output=True, check=False)
    sync(workspace)
    (found,) = workspace.track.runs()
    assert (found.status, found.experiment, log_of(workspace)) == ("killed", "train", ["out| only this"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_all_that_was_written_before_a_signal_is_in_the_log(script, workspace, number: int) -> None:
    _, recorded = script(
        """
        import subprocess, time
        subprocess.run("seq 1 20000", shell=True)
        print("now", flush=True)
        time.sleep(60)
        """
    )
    with subprocess.Popen(recorded, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [line.strip() for line in iter(process.stdout.readline, "now\n")]
        process.send_signal(number)
        assert process.wait(30) == -number
    assert lines == [str(place) for place in range(1, 20001)]
    assert log_of(workspace)[:20001] == [f"out| {line}" for line in [*lines, "now"]]


def test_children_that_go_on_are_heard_and_nobody_waits_for_them(script, project: Path, workspace) -> None:
    _, recorded = script(
        """
        import os, subprocess, time
        subprocess.Popen("while [ ! -e go ]; do sleep 0.05; done; echo from a child", shell=True)
        if os.fork() == 0:
            while not os.path.exists("go"): time.sleep(0.05)
            print("from a fork", flush=True)
            os._exit(0)
        print("ends", flush=True)
        """
    )
    with subprocess.Popen(recorded, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.wait(30) == 0  # although they hold its stdout, and wait for us
        (project / "go").touch()
        assert sorted(process.stdout) == ["ends\n", "from a child\n", "from a fork\n"]
    assert log_of(workspace) == ["out| ends"]


def test_a_script_that_waits_for_all_its_children_waits_for_no_other(script) -> None:
    text = """
        import os
        if os.fork() == 0: os._exit(0)
        os.wait()
        try: os.wait()
        except ChildProcessError: print("no more")
    """
    plain, recorded = (subprocess.run(words, capture_output=True, check=True, timeout=30) for words in script(text))
    assert recorded.stdout == plain.stdout == b"no more\n"


def test_a_library_that_writes_much_while_it_holds_the_interpreter_goes_on(script, workspace) -> None:
    _, recorded = script(
        """
        import ctypes
        text = b"y" * 999 + b"\\n"
        assert ctypes.PyDLL(None).write(1, text * 2000, len(text) * 2000) == len(text) * 2000
        """
    )
    done = subprocess.run(recorded, capture_output=True, check=True, timeout=60)
    assert done.stdout == (b"y" * 999 + b"\n") * 2000
    assert len(log_of(workspace)) == 2000


def test_whoever_reads_no_more_ends_the_script_as_under_python(script) -> None:
    words = script("import itertools\nfor number in itertools.count(): print(number)")
    ends = []
    for command in words:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == "0\n"
            process.stdout.close()
            ends.append(("BrokenPipeError" in process.stderr.read(), process.wait(30)))
    assert ends[0] == ends[1] == (True, 1)


def test_a_script_may_do_with_its_descriptors_what_it_likes(script, project: Path, workspace) -> None:
    _, recorded = script(
        """
        import os, sys, time
        print("first", flush=True)
        time.sleep(0.3)
        for name in os.listdir("/proc/self/fd"):  # a daemon closes what it did not open
            with __import__("contextlib").suppress(OSError):
                if int(name) > 2 and "pipe:" in os.readlink(f"/proc/self/fd/{name}"): os.close(int(name))
        others = [os.open(f"other{n}.txt", os.O_WRONLY | os.O_CREAT) for n in range(60)]
        os.dup2(others[0], 1)
        print("mine", flush=True)
        os.close(2)
        """
    )
    done = subprocess.run(recorded, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "first\n"
    assert (project / "other0.txt").read_text() == "mine\n"
    assert {(project / f"other{n}.txt").read_text() for n in range(1, 60)} == {""}


def test_lines_belong_to_the_run_in_which_they_were_written(script, workspace) -> None:
    _, recorded = script(
        """
        import interlock, subprocess
        def say(word): print("python", word); subprocess.run(["echo", "child", word])
        say("before")
        for name in ("one", "two"):
            with interlock.run(name, machine=False): say(name)
            say("between")
        """
    )
    subprocess.run(recorded, capture_output=True, check=True, env={**os.environ, "PYTHONUNBUFFERED": ""})
    two, one, outer = ([line.removeprefix("out| ") for line in log_of(workspace, place)] for place in range(3))
    assert (sorted(one), sorted(two)) == (["child one", "python one"], ["child two", "python two"])
    assert sorted(outer) == ["child before", *["child between"] * 2, "python before", *["python between"] * 2]


KILLS = """
    import os, signal, sys, time
    def told(pid):
        try: return os.readlink(f"/proc/{pid}/cwd"), open(f"/proc/{pid}/cmdline").read()
        except OSError: return ""
    def parent(pid): return int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
    same = [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and told(pid) == told(os.getpid())]
    others = [pid for pid in same if os.getsid(pid) != os.getsid(0)]
    relays = [pid for pid in others if parent(pid) in others] or others
"""


def test_without_relay_and_stand_in_the_script_goes_on(script, workspace) -> None:
    _, recorded = script(
        KILLS
        + """
    print("first", flush=True)
    time.sleep(0.2)
    assert len(others) == 2
    for pid in sorted(others, key=relays.count): os.kill(pid, signal.SIGKILL)
    time.sleep(0.5)
    print("second", flush=True)
    """
    )
    done = subprocess.run(recorded, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "first\nsecond\n"), done.stderr
    assert workspace.track.runs()[0].status == "finished"


PRINTS = (
    KILLS
    + """
    print("first", flush=True)
    time.sleep(0.2)
    os.kill(relays[0], signal.SIGKILL)
    for number in range(300): print(number, "x" * 1000, flush=True)
    print("to the other", file=sys.stderr, flush=True)
    sys.exit(7)
"""
)


def test_a_relay_that_is_killed_is_no_error_of_the_script(script, workspace) -> None:
    _, recorded = script(PRINTS)
    done = subprocess.run(recorded, capture_output=True, text=True, check=False, timeout=60)
    lines = [f"{number} {'x' * 1000}" for number in range(300)]
    assert (done.returncode, done.stdout.splitlines()) == (7, ["first", *lines]), done.stderr
    assert "to the other\n" in done.stderr
    log = log_of(workspace)
    assert log[0] == "out| first"
    assert "the process that records it was killed" in log[-1]


def test_a_relay_that_is_killed_leaves_the_terminal(script, project: Path, workspace) -> None:
    terminal = Terminal(script(PRINTS)[1], project)
    assert terminal.close() == 7
    seen = [line for line in terminal.seen.decode().splitlines() if not line.startswith("interlock: ")]
    assert seen == ["first", *(f"{number} {'x' * 1000}" for number in range(300)), "to the other"]


def test_a_reader_that_goes_after_the_relay_ends_the_script_as_under_python(script, workspace) -> None:
    for text in ("", "os.kill(relays[0], signal.SIGKILL)"):
        words = script(KILLS + f"    {text}\n    while True: print('x' * 1000, flush=True)")[1]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout
            assert process.stdout.read(10)
            process.stdout.close()
            assert process.wait(60) in {1, 120, 141}  # by who notices first: the print, Python's last flush, or ours


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_where_a_descriptor_is_closed_the_others_are_left_alone(script, workspace, closed: str) -> None:
    _, recorded = script("import os; print('hello', flush=True); os.write(1, b'bare\\n')")
    done = subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *recorded], capture_output=True, text=True, check=True)
    assert done.stdout == "hello\nbare\n"
    assert log_of(workspace) == ["out| hello"]


def test_a_run_that_cannot_begin_leaves_the_descriptors_alone(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print(1)")
    words = [*RUN, "train.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.returncode) == ("", 3)
    assert "There is no workspace here." in done.stderr


@pytest.fixture
def between(tmp_path: Path):
    """A relay in a thread, between a pipe and a file; return how it is spoken with."""
    (source, script), (control, run), (told, frames) = os.pipe(), os.pipe(), os.pipe()
    sink = os.open(tmp_path / "out.txt", os.O_RDWR | os.O_CREAT)
    made = Relay(Ends(((b"o", source, sink),), control, frames, os.getpid()))
    thread = threading.Thread(target=made.serve)
    yield made, thread, script, run, told
    for fd in (script, run, told, sink):
        with contextlib.suppress(OSError):
            os.close(fd)
    thread.join(30)
    assert not thread.is_alive()


def test_a_run_that_does_not_listen_is_told_how_much_it_missed(between, tmp_path: Path, monkeypatch) -> None:
    made, thread, script, run, told = between
    monkeypatch.setattr(relay, "_MOST_WAITING", 100_000)
    thread.start()
    written = 0
    while made._lost < 200_000:
        written += os.write(script, b"z" * 4096)
        time.sleep(0.001)
    while (tmp_path / "out.txt").stat().st_size < written:
        time.sleep(0.01)
    lost, kept, read = made._lost, 0, b""
    os.set_blocking(told, False)
    os.write(script, b"end")
    os.write(run, relay.COMMAND.pack(relay.SYNC, 0))
    while not read.endswith(relay.HEADER.pack(relay.SYNCED, 0, 0)[-4:]) or relay.SYNCED not in [
        label for label, _, _ in frames_of(read)
    ]:
        with contextlib.suppress(BlockingIOError):
            read += os.read(told, 1 << 20)
    frames = list(frames_of(read))
    kept = sum(len(data) for label, _, data in frames if label == b"o")
    (missing,) = (int(data) for label, _, data in frames if label == relay.LOST)
    assert kept + missing == written + 3
    assert missing >= lost
    os.write(run, relay.COMMAND.pack(relay.BYE, 0))
    assert (tmp_path / "out.txt").stat().st_size == written + 3


def test_frames_are_whole_whatever_is_cut_off() -> None:
    data = b"".join(relay.HEADER.pack(b"o", 7, size) + b"q" * size for size in (0, 3, 5))
    for end in range(len(data)):
        found = [content for _, _, content in frames_of(data[:end])]
        assert found == [b"", b"qqq", b"qqqqq"][: len(found)]
    assert [len(content) for _, _, content in frames_of(data)] == [0, 3, 5]

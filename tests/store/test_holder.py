from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from interlock.core.errors import Conflict, Unavailable
from interlock.store.holder import ServerLock

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def test_the_second_is_told_who_the_first_is(tmp_path: Path) -> None:
    first = ServerLock(tmp_path, AT)
    first.announce("http://127.0.0.1:8230")
    with pytest.raises(Conflict) as caught:
        ServerLock(tmp_path, AT)
    message = f"Process {os.getpid()} serves this workspace at http://127.0.0.1:8230 since 2026-03-04 05:06:07 UTC."
    assert caught.value.message == message
    holder = {"pid": os.getpid(), "address": "http://127.0.0.1:8230", "since": "2026-03-04T05:06:07Z"}
    assert caught.value.facts == {"holder": holder}
    first.release()
    first.release()
    ServerLock(tmp_path, AT).release()


def test_one_that_begins_has_no_address_yet(tmp_path: Path) -> None:
    first = ServerLock(tmp_path, AT)
    with pytest.raises(Conflict, match=rf"Process {os.getpid()} serves this workspace since"):
        ServerLock(tmp_path, AT)
    first.release()


@pytest.mark.parametrize("text", [b"", b"{", b"\xff" * 10_000, b"[1,2]"])
def test_a_file_that_says_nothing_locks_as_well(tmp_path: Path, text: bytes) -> None:
    first = ServerLock(tmp_path, AT)
    (tmp_path / "server.lock").write_bytes(text)
    with pytest.raises(Conflict, match=r"Another process serves this workspace\."):
        ServerLock(tmp_path, AT)
    first.release()


def test_what_a_killed_process_left_behind_holds_nobody_up(tmp_path: Path) -> None:
    hold = (
        "import sys; from pathlib import Path; from datetime import UTC, datetime\n"
        "from interlock.store.holder import ServerLock\n"
        "lock = ServerLock(Path(sys.argv[1]), datetime.now(UTC))\n"
        "lock.announce('http://x'); print('held', flush=True)\n"
        "sys.stdin.read()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(Conflict, match=f"Process {process.pid} "):
            ServerLock(tmp_path, AT)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        assert b"http://x" in (tmp_path / "server.lock").read_bytes()
        second = ServerLock(tmp_path, AT)
        second.announce("y")  # shorter than what was there
    with pytest.raises(Conflict, match=f"Process {os.getpid()} serves this workspace at y since"):
        ServerLock(tmp_path, AT)
    second.release()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="server.lock cannot be opened"):
        ServerLock(tmp_path / "none", AT)

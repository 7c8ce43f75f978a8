"""Workers: who holds a job or a run, told so that another process can see whether that process still lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def this_worker() -> str:
    """Return the name of this process: machine, pid, and when the kernel started it (pids are used again)."""
    return f"{socket.gethostname()}/{os.getpid()}/{born(os.getpid())}"


def is_gone(worker: str) -> bool:
    """Return whether a worker was a process of this machine that runs no more; of other machines nothing is known."""
    host, _, rest = worker.partition("/")
    pid, _, started = rest.partition("/")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    return str(born(int(pid))) != started


def born(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot, or None when there is none (a zombie is none)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in {"Z", "X"} else int(fields[19])

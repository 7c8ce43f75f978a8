"""What is looked at while a server is fuzzed: what it keeps, how large it is, what it answers."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw
from fuzz_bodies import LEAKS
from fuzz_wire import BROKEN, Reply, Shot

_COARSE_NS: Final = 50_000_000  # what was looked at so soon after a change may have changed again without a trace


class Kept:
    """What a workspace keeps, seen from outside: events, objects, files on their way in.

    Args:
        root: the workspace's folder (`.interlock`).
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._database = apsw.Connection(str(root / "interlock.db"), flags=apsw.SQLITE_OPEN_READONLY)
        self._folders: dict[str, tuple[int, int, frozenset[str], list[str]]] = {}
        self._objects: tuple[int, frozenset[str]] = (0, frozenset())

    def state(self) -> tuple[Any, ...]:
        """Return what it keeps now: the ledger's size, the names of objects and of what waits to be kept."""
        ((size,),) = self._database.execute("SELECT max(idx) FROM ledger_entries")
        # Every object comes in through one folder, so that the others are looked into only where that one has changed.
        changed = (self._root / "objects/incoming").stat().st_mtime_ns
        if self._objects[0] < changed + _COARSE_NS:
            self._objects = (time.time_ns(), self._names(str(self._root / "objects")))
        return size, self._objects[1], self._names(str(self._root / "uploads"))

    def kinds(self, after: int) -> list[str]:
        """Return the kinds of the events after one."""
        return [kind for (kind,) in self._database.execute("SELECT kind FROM ledger_entries WHERE idx > ?", (after,))]

    def _names(self, folder: str) -> frozenset[str]:
        """Return the names of the files and folders in a folder, and of all below it."""
        _, _, names, inner = self._look(folder)
        return names.union(*(self._names(one) for one in inner))

    def _look(self, folder: str) -> tuple[int, int, frozenset[str], list[str]]:
        """Return when a folder was looked into, when it had changed, what is in it, and which of that are folders."""
        try:
            changed, held = os.stat(folder).st_mtime_ns, self._folders.get(folder)  # noqa: PTH116 - quick
            if held is None or held[1] != changed or held[0] < changed + _COARSE_NS:
                at, entries = time.time_ns(), list(os.scandir(folder))
                inner = [entry.path for entry in entries if entry.is_dir()]
                held = self._folders[folder] = (at, changed, frozenset(entry.path for entry in entries), inner)
        except FileNotFoundError:
            return 0, 0, frozenset(), []
        return held

    def close(self) -> None:
        """Close the database."""
        self._database.close()


class Size(NamedTuple):
    """How large a process is: bytes of memory of its own, threads, open files."""

    memory: int
    threads: int
    files: int


def size_of(pid: int) -> Size:
    """Return how large a process is now."""
    status = Path(f"/proc/{pid}/status").read_text()
    own = int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) << 10
    threads = int(re.search(r"Threads:\s+(\d+)", status)[1])
    return Size(own, threads, sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()))


def fault_of(shot: Shot, reply: Reply) -> str:
    """Return what is wrong with an answer, or ""."""
    if reply.status == 0:
        return "" if shot.framing in BROKEN else "no answer"
    if reply.status < 400 or shot.method == "HEAD" or (reply.status == 416 and not reply.body):
        return ""
    if reply.headers.get("content-type") == "application/x-protobuf":  # as OpenTelemetry wants it: code and message
        return "" if reply.status < 500 and reply.body[:1] == b"\x08" else f"status {reply.status}"
    try:
        told = json.loads(reply.body)
    except ValueError:
        return "the error is no JSON"
    # Parts of the MLflow protocol that Interlock does not speak are 501, a full disk is 507.
    if reply.status >= 500 and reply.status != 507 and told.get("error_code") != "NOT_IMPLEMENTED":
        return f"status {reply.status}"
    code = told.get("code") if "title" in told else told.get("error_code")
    sentence = told.get("title", told.get("message"))
    if not (isinstance(code, str) and code and isinstance(sentence, str) and sentence.strip()):
        return "the error has no code or no sentence"
    words = re.sub(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`", "", f"{sentence} {told.get('hint', '')}")
    if leak := LEAKS.search(words):
        return f"the error tells of the inside: {leak[0]!r}"
    return "" if len(reply.body) < 64 << 10 else "the error is as large as what was sent"

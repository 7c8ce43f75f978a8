"""What a run started in, looked up without being asked: code, entry point, interpreter, packages, hardware."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.canonical import canonical
from interlock.core.refs import is_safe_path
from interlock.sdk.recording import repository
from interlock.sdk.recording.gpu import Gpus
from interlock.sdk.recording.repository import Repository
from interlock.store.manifests import Entry, Manifest
from interlock.track.environment import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.sdk.recording.project import Project

_MOST_CODE: Final = 4 << 20


class Hardware(msgspec.Struct, frozen=True):
    """The machine: processor, cores that the process may use, memory, GPUs."""

    processor: str
    cores: int
    memory_bytes: int
    gpus: tuple[str, ...]


class Surroundings(msgspec.Struct, frozen=True):
    """What a run started in.

    Attributes:
        entry: the script, module or prompt.
        arguments: the words after it.
        folder: where it was started.
        host: the machine's name.
        python: the interpreter.
        hardware: the machine.
        repository: the git repository around the script, or None.
    """

    entry: str
    arguments: tuple[str, ...]
    folder: str
    host: str
    python: str
    hardware: Hardware
    repository: Repository | None


class Seen(msgspec.Struct, frozen=True):
    """What was found: the record, the digests that a run's start names, and files by the path they get in the run."""

    record: Surroundings
    code: str
    environment: str
    files: dict[str, bytes]

    @property
    def tags(self) -> dict[str, str]:
        """What runs are searched by."""
        record, found = self.record, self.record.repository
        tags = {"entry": record.entry, "host": record.host, "python": platform.python_version()}
        if record.hardware.gpus:
            tags["gpus"] = ", ".join(record.hardware.gpus)
        if found is not None:
            tags |= {"git.commit": found.commit, "git.branch": found.branch, "git.dirty": str(found.dirty).lower()}
        return {name: value for name, value in tags.items() if value}


def look(script: Path | None, words: list[str], project: Project) -> Seen:
    """Return what this process runs in.

    Args:
        script: the file that runs, or None at a prompt.
        words: the command's words, the script or module first.
        project: where the script belongs, from which its path is told.

    Cost: some milliseconds a hundred packages and for each of six git commands: call it from a thread.
    """
    git = repository.look(script.parent if script else Path.cwd())
    record = Surroundings(
        entry=words[0] if words and words[0] else "prompt",
        arguments=tuple(words[1:]),
        folder=str(Path.cwd()),
        host=socket.gethostname(),
        python=sys.executable,
        hardware=hardware(),
        repository=git[0] if git else None,
    )
    packages = msgspec.json.encode(environment())
    files = {"interlock/surroundings.json": msgspec.json.format(msgspec.json.encode(record)), _ENVIRONMENT: packages}
    if git and git[1]:
        files["interlock/uncommitted.diff"] = git[1]
    code = dict(_code(script, project))
    manifest = b""
    if code:
        manifest = canonical(Manifest(tuple(_entry(path, text) for path, text in sorted(code.items()))))
        files |= {f"interlock/code/{path}": text for path, text in code.items()}
        files["interlock/code.json"] = manifest
    return Seen(record, _digest(manifest) if code else "", _digest(packages), files)


_ENVIRONMENT: Final = "interlock/environment.json"


def hardware() -> Hardware:
    """Return the machine that this process runs on."""
    gpus = Gpus()
    try:
        names = gpus.names()
    finally:
        gpus.close()
    return Hardware(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        gpus=names,
    )


def main_script() -> Path | None:
    """Return the file that this process runs, or None at a prompt or in a notebook."""
    found = getattr(sys.modules.get("__main__"), "__file__", None)
    if not found or "ipykernel" in found:
        return None
    path = Path(found)
    return path if path.is_file() else None


def _code(script: Path | None, project: Project) -> Iterator[tuple[str, bytes]]:
    """Yield the script's own source."""
    if script is not None and script.stat().st_size <= _MOST_CODE:
        path = project.inside(script)
        yield path if is_safe_path(path) else script.name, script.read_bytes()


def _entry(path: str, text: bytes) -> Entry:
    return Entry(path, len(text), _digest(text))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()

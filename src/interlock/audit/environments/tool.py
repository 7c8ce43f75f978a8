"""uv, run in a folder of its own, with everything it says kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from interlock.core.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Sequence

_OURS: Final = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "CONDA_PREFIX")
_TAIL: Final = 12
_FROM_PIP: Final = {"cert": "SSL_CERT_FILE", "index-url": "UV_DEFAULT_INDEX"}


class StepFailed(Exception):
    """A step of the build failed.

    Attributes:
        reason: which one, and the end of what it said.
        again: whether the same may succeed later, as when an index cannot be reached.
    """

    def __init__(self, step: str, said: str, *, again: bool) -> None:
        tail = "\n".join([line for line in said.strip().splitlines() if line.strip()][-_TAIL:])
        self.reason = f"{step} failed: {tail}" if tail else f"{step} failed."
        self.again = again
        super().__init__(self.reason)


class Workshop:
    """A folder in which an environment is built, and the log of all that was done there.

    Args:
        folder: an empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._uv = find_uv()
        self._log: list[str] = []
        self._offline = False
        self._settings = pip_settings()

    @property
    def log(self) -> str:
        """All that was run, and what it said."""
        return "".join(self._log)

    def say(self, text: str) -> None:
        """Write a line to the log, and to people who wait."""
        self._log.append(f"# {text}\n")
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def uv(self, step: str, *words: str, timeout_s: int) -> str:
        """Return what uv printed. One that fails is tried once more from its cache, for machines without a network.

        Raises:
            StepFailed: it failed.
        """
        environment = {**self._settings, **{n: v for n, v in os.environ.items() if n not in _OURS}}
        told = ""
        for offline in (True,) if self._offline else (False, True):
            command = [self._uv, *words, "--offline"] if offline else [self._uv, *words]
            status, out, said = self._run(["uv", *command[1:]], command, environment, timeout_s)
            if status == 0:
                self._offline = offline
                return out
            told = told or said
        raise StepFailed(step, told, again=True)

    def python(self, step: str, *words: str, timeout_s: int) -> str:
        """Return what the new environment's Python printed; it knows nothing of this process and its user.

        Raises:
            StepFailed: it failed.
        """
        environment = {"PATH": os.defpath, "HOME": str(self.folder), "TMPDIR": str(self.folder), "LANG": "C.UTF-8"}
        command = [str(self.folder / "venv/bin/python"), "-I", "-B", *words]
        status, out, said = self._run(["venv/bin/python", *command[1:]], command, environment, timeout_s)
        if status != 0:
            raise StepFailed(step, said, again=False)
        return out

    def _run(
        self, shown: Sequence[str], command: Sequence[str], environment: dict[str, str], timeout_s: int
    ) -> tuple[int, str, str]:
        """Return status, what was printed, and what was said beside it."""
        self._log.append(f"$ {' '.join(shown)}\n")
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                env=environment,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            self._log.append(f"gave no answer in {timeout_s} s\n")
            return -1, "", f"it gave no answer in {timeout_s} s"
        out, said = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        self._log += [text if text.endswith("\n") else f"{text}\n" for text in (out, said) if text]
        return done.returncode, out, said or out


def pip_settings() -> dict[str, str]:
    """Return what this machine's pip was told, in uv's words: where packages come from, and whom to trust.

    uv reads none of pip's files; people who set up one of them expect the other to follow.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found: dict[str, str] = {}
    for line in done.stdout.splitlines() if done.returncode == 0 else ():
        name, _, value = line.partition("=")
        wanted = _FROM_PIP.get(name.rpartition(".")[2])
        if wanted:
            found[wanted] = " ".join(value.strip().strip("'").replace("\\n", " ").split())
    return found


def find_uv() -> str:
    """Return uv's place: beside this Python, or on the PATH.

    Raises:
        MissingExtra: it is not installed.
    """
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if found is None:
        raise MissingExtra.named("environments", "uv")
    return found

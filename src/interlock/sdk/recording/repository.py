"""The git repository that a script lies in: its commit, and what was changed and not committed."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.sdk.recording.secrecy import without_password

if TYPE_CHECKING:
    from pathlib import Path

MOST_DIFF: Final = 1 << 20
_MOST_NAMES: Final = 100
_TIMEOUT_S: Final = 5.0


class Repository(msgspec.Struct, frozen=True):
    """The state of a working tree.

    Attributes:
        commit: the commit that is checked out, or "" before the first.
        branch: its branch, or "" when none is checked out.
        remote: where `origin` is, without names and passwords.
        dirty: whether anything is changed or new.
        untracked: files that git does not know, the first hundred.
    """

    commit: str
    branch: str
    remote: str
    dirty: bool
    untracked: tuple[str, ...] = ()


def look(folder: Path) -> tuple[Repository, bytes] | None:
    """Return the repository of a folder and the diff against its commit; None where there is no git or repository.

    A diff of more than a MiB is cut, and says so in its last line.
    """
    if _git(folder, "rev-parse", "--is-inside-work-tree") != b"true\n":
        return None
    commit = _git(folder, "rev-parse", "--verify", "-q", "HEAD").decode().strip()
    status = _git(folder, "status", "--porcelain", "-z", "--untracked-files=normal").decode("utf-8", "replace")
    lines = [line for line in status.split("\0") if line]
    repository = Repository(
        commit=commit,
        branch=_git(folder, "symbolic-ref", "--short", "-q", "HEAD").decode().strip(),
        remote=without_password(_git(folder, "config", "--get", "remote.origin.url").decode().strip()),
        dirty=bool(lines),
        untracked=tuple(line[3:] for line in lines if line.startswith("?? "))[:_MOST_NAMES],
    )
    return repository, _diff(folder) if commit and lines else b""


def _git(folder: Path, *words: str) -> bytes:
    """Return what a git command prints, or nothing when it fails."""
    try:
        done = subprocess.run(
            ["git", *words],  # noqa: S607 - the user's git
            cwd=folder,
            env=_environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return b""
    return done.stdout if done.returncode == 0 else b""


def _diff(folder: Path) -> bytes:
    """Return the diff of tracked files, no more of it than is kept."""
    words = ["git", "diff", "HEAD", "--no-color", "--no-ext-diff", "--no-textconv"]
    try:
        with subprocess.Popen(
            words,
            cwd=folder,
            env=_environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            assert process.stdout is not None  # noqa: S101 - it was asked for
            text = process.stdout.read(MOST_DIFF + 1)
            process.kill()
    except OSError:
        return b""
    if len(text) <= MOST_DIFF:
        return text
    return text[:MOST_DIFF] + b"\n... cut by interlock after 1 MiB\n"


def _environ() -> dict[str, str]:
    return {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}

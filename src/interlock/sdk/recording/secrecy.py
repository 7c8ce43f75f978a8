"""What a run must not remember: passwords in words and addresses, and what its owner keeps out of the repository."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HIDDEN: Final = "***"
_SECRET: Final = re.compile(
    r"--?[\w-]*(passw(or)?d|passphrase|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|credential|auth)[\w-]*\Z",
    re.IGNORECASE,
)
_PATIENCE_S: Final = 10


def without_secrets(words: Sequence[str]) -> list[str]:
    """Return the words of a command with *** where an option is named like a secret, or an address carries a password.

    What else is secret in them cannot be told from other words.
    """
    found: list[str] = []
    hide = False
    for word in words:
        name, given, value = word.partition("=")
        if hide and not word.startswith("--"):
            found.append(HIDDEN)
            hide = False
        elif _SECRET.match(name):
            found.append(f"{name}={HIDDEN}" if given else word)
            hide = not given
        else:
            found.append(f"{name}={without_password(value)}" if given else without_password(word))
            hide = False
    return found


def without_password(text: str) -> str:
    """Return a text; of an address with a name and password, without these."""
    if "://" not in text or "@" not in text:
        return text
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def kept_out(folder: Path, paths: Sequence[str]) -> set[str]:
    """Return those paths in a folder that git is told to ignore; none where there is no git, or no repository.

    Cost: one process, if there are paths.
    """
    if not paths:
        return set()
    try:
        asked = subprocess.run(
            ["git", "-C", str(folder), "check-ignore", "-z", "--stdin"],  # noqa: S607 - the git that its owner uses
            input=b"\0".join(path.encode() for path in paths),
            capture_output=True,
            timeout=_PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return set()
    return {path.decode() for path in asked.stdout.split(b"\0") if path}

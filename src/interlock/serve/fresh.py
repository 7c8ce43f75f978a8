"""A pre-flight asked for from another process: what is proven is the interpreter and the packages that will serve."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.errors import Finding
from interlock.serve.preflight import Preflight

if TYPE_CHECKING:
    from pathlib import Path

_TIMEOUT_S: Final = 120
_TAIL: Final = 3


def fresh_preflight(root: Path, bundle: str, *, code_models: bool = False, environment: str = "") -> Preflight:
    """Return what a fresh process says about a model; a process that dies or hangs is a finding.

    Args:
        root: the workspace's folder.
        bundle: the digest of the manifest of its files.
        code_models: whether the policy that it will be served by allows originals.
        environment: the digest of the record of the environment in which it was made, or "".

    Cost: one interpreter's start, the load of the model, and a few thousand scored rows.
    """
    command = [sys.executable, "-m", "interlock.serve.preflight", "--workspace", str(root), "--bundle", bundle]
    command += [*(["--code-models"] if code_models else []), *(["--environment", environment] if environment else [])]
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return _failed(f"the fresh process gave no answer in {_TIMEOUT_S} s")
    try:
        return msgspec.json.decode(done.stdout, type=Preflight)
    except msgspec.MsgspecError:
        tail = done.stderr.decode("utf-8", "replace").strip().splitlines()[-_TAIL:]
        return _failed(f"the fresh process ended with status {done.returncode}: {' | '.join(tail)}")


def _failed(why: str) -> Preflight:
    return Preflight(False, [Finding("preflight", why)], {})

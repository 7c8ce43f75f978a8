"""Pre-flight: a bundle is loaded and asked its golden rows in a fresh process, with the run time that will serve it.

    python -m interlock.serve.preflight --workspace ROOT --bundle DIGEST

prints a `Preflight` as JSON; the exit status is 0 when it is ok and 1 when it is not.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.errors import Error, Finding
from interlock.serve.golden import check_golden
from interlock.serve.loading import check_bytes
from interlock.serve.model import LoadedModel
from interlock.serve.release import versions
from interlock.store.manifests import read_manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.core.ports import ObjectStore

_SPEED_ROWS: Final = 1000
_SPEED_CALLS: Final = 3


class Preflight(msgspec.Struct, frozen=True):
    """What a pre-flight found.

    Attributes:
        ok: whether the bundle may take traffic.
        findings: why not.
        versions: what it was tried with.
        load_s: how long loading took.
        rows_per_s: how many rows a second one thread scores, a thousand at a time.
    """

    ok: bool
    findings: list[Finding]
    versions: dict[str, str]
    load_s: float = 0.0
    rows_per_s: float = 0.0


def preflight(objects: ObjectStore, bundle: str) -> Preflight:
    """Return whether all files of a bundle are whole, and it loads and gives its golden answers here.

    Args:
        objects: where the bundle rests.
        bundle: the digest of its manifest.
    """
    try:
        for entry in read_manifest(objects, bundle).files:
            check_bytes(objects, entry)
        model = LoadedModel.load(objects, bundle)
    except Error as error:
        return Preflight(False, [Finding(error.code, str(error)), *error.findings], versions())
    findings = check_golden(model, model.golden)
    speed = 0.0 if findings else _rows_per_s(model)
    return Preflight(not findings, findings, versions(), model.load_s, speed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status of the command."""
    parser = argparse.ArgumentParser(prog="interlock.serve.preflight", description="Try a bundle before traffic.")
    parser.add_argument("--workspace", type=Path, required=True, help="the .interlock folder")
    parser.add_argument("--bundle", required=True, help="digest of the bundle's manifest")
    options = parser.parse_args(arguments)
    from interlock.store import open_store

    try:
        store = open_store(options.workspace)
    except Error as error:
        found = Preflight(False, [Finding(error.code, str(error))], versions())
    else:
        found = preflight(store.objects, options.bundle)
        store.close()
    sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    return 0 if found.ok else 1


def _rows_per_s(model: LoadedModel) -> float:
    columns = {name: (values * _SPEED_ROWS)[:_SPEED_ROWS] for name, values in model.golden_columns().items()}
    best = float("inf")
    for _ in range(_SPEED_CALLS):
        began = time.perf_counter()
        model.run(model.prepare(columns))
        best = min(best, time.perf_counter() - began)
    return _SPEED_ROWS / best


if __name__ == "__main__":
    sys.exit(main())

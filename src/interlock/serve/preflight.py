"""Pre-flight: a model is opened and asked its golden rows in a fresh process, with what will serve it.

    python -m interlock.serve.preflight --workspace ROOT --bundle DIGEST [--code-models] [--environment DIGEST]

It is opened as servers open it, be it a bundle or not. Where no golden rows came with it, what could not be proved is
said in `warnings`.

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
from interlock.serve.recorded import compare, read_recorded, unproved
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
        ok: whether the model may take traffic.
        findings: why not.
        versions: what it was tried with.
        load_s: how long loading took.
        rows_per_s: how many rows a second one thread scores, a thousand at a time; 0.0 where it was asked nothing.
        warnings: what could not be proved, and which packages differ without harm.
        engine: what answered.
    """

    ok: bool
    findings: list[Finding]
    versions: dict[str, str]
    load_s: float = 0.0
    rows_per_s: float = 0.0
    warnings: list[Finding] = []
    engine: str = ""


def preflight(objects: ObjectStore, bundle: str, *, code_models: bool = False, environment: str = "") -> Preflight:
    """Return whether all files of a model are whole, and it loads and gives its golden answers here.

    Args:
        objects: where the files rest.
        bundle: the digest of their manifest.
        code_models: whether the policy that it will be served by allows originals.
        environment: the digest of the record of the environment in which it was made, or "".
    """
    try:
        for entry in read_manifest(objects, bundle).files:
            check_bytes(objects, entry)
        recorded = read_recorded(objects, environment)
        model = LoadedModel.open(objects, bundle, code_models=code_models)
    except Error as error:
        return Preflight(False, [Finding(error.code, str(error)), *error.findings], versions())
    try:
        compared = compare(model, recorded)
        findings = [*check_golden(model, model.golden), *compared.findings]
        speed = 0.0 if findings else _rows_per_s(model)
        warnings = [*unproved(model), *compared.warnings]
        return Preflight(not findings, findings, versions(), model.load_s, speed, warnings, model.engine.name)
    except Error as error:
        return Preflight(False, [Finding(error.code, str(error)), *error.findings], versions())
    finally:
        model.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status of the command."""
    parser = argparse.ArgumentParser(prog="interlock.serve.preflight", description="Try a model before traffic.")
    parser.add_argument("--workspace", type=Path, required=True, help="the .interlock folder")
    parser.add_argument("--bundle", required=True, help="digest of the manifest of the model's files")
    parser.add_argument("--code-models", action="store_true", help="originals may answer, in a process of their own")
    parser.add_argument("--environment", default="", help="digest of the record of where the model was made")
    options = parser.parse_args(arguments)
    from interlock.store import open_store

    try:
        store = open_store(options.workspace)
    except Error as error:
        found = Preflight(False, [Finding(error.code, str(error))], versions())
    else:
        found = preflight(
            store.objects, options.bundle, code_models=options.code_models, environment=options.environment
        )
        store.close()
    sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    return 0 if found.ok else 1


def _rows_per_s(model: LoadedModel) -> float:
    if not model.golden.rows:
        return 0.0
    columns = {name: (values * _SPEED_ROWS)[:_SPEED_ROWS] for name, values in model.golden_columns().items()}
    best = float("inf")
    for _ in range(_SPEED_CALLS):
        began = time.perf_counter()
        model.run(model.prepare(columns))
        best = min(best, time.perf_counter() - began)
    return _SPEED_ROWS / best


if __name__ == "__main__":
    sys.exit(main())

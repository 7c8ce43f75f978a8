"""A workspace with a deployment in it, made without the registry: only serving is measured."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from common.models import NAMES, TOLERANCE

from interlock.core.bundles import Agreement, Bundle, Column, DeploymentSpec, Golden, Route
from interlock.store import create_store, open_store
from interlock.store.manifests import put_folder

if TYPE_CHECKING:
    from common.models import Model

_UPSERT = (
    "INSERT INTO deployments (name, revision, spec, state, url, changed_at)"
    " VALUES ('bench', :revision, :spec, 'running', '', 0)"
    " ON CONFLICT (name) DO UPDATE SET revision = excluded.revision, spec = excluded.spec"
)


class CannotDeploy(Exception):
    """This version of Interlock has not what was asked for."""


class Workspace:
    """A workspace whose deployment `bench` serves one version of `model:bench` at a time.

    Args:
        root: the `.interlock` folder, made if it is missing.
        durability: `fsync` or `1s`.

    Attributes:
        flags: what the server is to be started with besides.

    Raises:
        CannotDeploy: the server knows no such durability.
    """

    def __init__(self, root: Path, durability: str = "fsync") -> None:
        self._options, self.flags = _durability(durability)
        self._store = open_store(root) if root.exists() else create_store(root)
        self._bundles: list[str] = []

    def add(self, model: Model) -> int:
        """Store a model as the next version, and return its number."""
        self._bundles.append(put_folder(self._store.objects, bundle_folder(model)))
        return len(self._bundles)

    def switch(self, version: int, revision: int) -> None:
        """Let the deployment's row ask for a version in a revision."""
        route = Route(f"model:bench@{version}", self._bundles[version - 1], 1.0)
        spec = DeploymentSpec("bench", revision, (route,), **self._options)
        values = {"revision": revision, "spec": self._store.objects.put(msgspec.json.encode(spec))}
        self._store.database.write(lambda tx: tx.run(_UPSERT, values))

    def close(self) -> None:
        """Let go of it."""
        self._store.close()


def bundle_folder(model: Model) -> Path:
    """Return the folder of a model's bundle, made when it is asked for first."""
    bundle = model.folder / "bundle"
    if not bundle.exists():
        made = Path(tempfile.mkdtemp(dir=model.folder))
        record = Bundle(
            "sklearn",
            "classification",
            tuple(Column(name, "float") for name in NAMES),
            "y",
            (0, 1),
            {"serving": "model.onnx", "golden": "golden.json"},
            Agreement(len(model.rows), 0.0, TOLERANCE, 0),
        )
        rows = [dict(zip(NAMES, row, strict=True)) for row in model.rows[:20]]
        (made / "bundle.json").write_bytes(msgspec.json.encode(record))
        (made / "golden.json").write_bytes(msgspec.json.encode(Golden(rows, model.scores[:20], TOLERANCE)))
        (made / "model.onnx").write_bytes(model.graph.read_bytes())
        made.rename(bundle)
    return bundle


def _durability(wanted: str) -> tuple[dict[str, Any], list[str]]:
    """Return the field of the spec, or the flag of the server, that asks for a durability."""
    if "durability" in DeploymentSpec.__struct_fields__:
        return {"durability": wanted}, []
    from interlock.serve import __main__ as serve

    if "--durability" in serve.__dict__["_parser"]().format_help():
        return {}, ["--durability", wanted]
    if wanted == "fsync":
        return {}, []  # what it always did
    raise CannotDeploy(f"This version has no durability {wanted!r}.")

"""Preparing a version's environment, and what is known of it afterwards."""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec

from interlock.audit.environments import needs
from interlock.audit.environments.build import Trial, attempt, build, lock
from interlock.audit.environments.tool import StepFailed, Workshop
from interlock.core.errors import Conflict, NotFound, Unavailable
from interlock.registry.names import names_of
from interlock.serve.model import LoadedModel
from interlock.store.manifests import read_manifest
from interlock.track.environment import Environment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.core.ports import Transaction
    from interlock.registry.content import FileFormat
    from interlock.registry.service import ModelVersion, RegistryService
    from interlock.store import Store

Text = Literal["lock", "log"]
_SUFFIX = {"onnx": ".onnx", "lightgbm": ".txt"}


class Preparation(msgspec.Struct, frozen=True):
    """How the environment of a version was prepared last.

    Attributes:
        version: the version.
        ok: whether it was built, and the version's files were loaded and answered in it.
        reason: why not, or "".
        python: its Python, "" where none was made.
        packages: how many packages it has.
        lock: the digest of the list with hashes, which is the environment's; "" where none was made.
        log: the digest of what was run and said.
    """

    TABLE: ClassVar = ("version", "ok", "python", "packages", "lock", "made_at")

    version: str
    ok: bool
    reason: str
    python: str
    packages: int
    lock: str
    log: str
    made_at: datetime


def prepare(store: Store, registry: RegistryService, version: ModelVersion, further: Sequence[str]) -> Preparation:
    """Return how a version's environment was prepared; a registered one is `environment prepared` afterwards.

    Raises:
        Conflict: nothing says what it needs, or it does not answer there; its stage stays.
        Unavailable: packages cannot be had now.
        MissingExtra: uv is not installed.

    Cost: downloads what uv's cache does not hold, and some seconds.
    """
    if version.archived_at is not None:
        raise Conflict(f"{version.ref} is archived.", about="model_version", hint="Restore it first.")
    recorded = _recorded(store, registry, version)
    files = registry.inspect(version.ref)
    roots, python = needs.roots(files, recorded, further), needs.runtime(recorded)
    with tempfile.TemporaryDirectory(prefix="interlock-environment-") as folder:
        shop = Workshop(Path(folder))
        text = ""
        try:
            made = lock(shop, roots, needs.pins(recorded), python)
            text = made.text
            full = build(shop, made, python)
            attempt(shop, Trial(roots, _trials(store, registry, version, files, shop.folder)))
        except StepFailed as failure:
            _failed(store, version, shop.log, text, failure)
            raise _told(version, failure) from None
        shop.say(f"{version.ref} answers in an environment of its own")
        data = {
            "lock": store.objects.put(text.encode()),
            "log": store.objects.put(shop.log.encode()),
            "python": full,
            "packages": len(made.packages),
        }

    def record(tx: Transaction) -> None:
        store.ledger.append(tx, "environment.prepared", version.ref, data)
        if registry.standing(tx, version.ref).stage == "registered":
            told = f"{len(made.packages)} locked packages on Python {full}"
            registry.advance(tx, version.ref, "environment prepared", told)

    store.database.write(record)
    return prepared(store, version)


def prepared(store: Store, version: ModelVersion) -> Preparation:
    """Return how a version's environment was prepared last.

    Raises:
        NotFound: it never was.
    """
    kinds = ("environment.prepared", "environment.failed")
    events = [
        event
        for name in names_of(store, version)
        for event in store.ledger.events(kinds=kinds, subject=name)
        if event.data is not None
    ]
    if not events:
        raise NotFound(
            f"No environment was prepared for {version.ref}.",
            about="environment",
            hint=f"Run `interlock audit prepare {version.ref}`.",
        )
    last = max(events, key=lambda event: event.index)
    data: dict[str, Any] = {"reason": "", "python": "", "packages": 0, **(last.data or {})}
    return Preparation(version=version.ref, ok=last.kind == kinds[0], made_at=last.at, **data)


def text_of(store: Store, version: ModelVersion, part: Text) -> str:
    """Return the list of a version's environment, or the log of its build.

    Raises:
        NotFound: there is none.
    """
    found = prepared(store, version)
    digest = found.lock if part == "lock" else found.log
    if not digest:
        raise NotFound(f"Nothing could be locked for {version.ref}: {found.reason}", about="lock")
    return store.objects.get(digest).decode()


def _recorded(store: Store, registry: RegistryService, version: ModelVersion) -> Environment:
    digest = registry.pins(version.ref).environment
    if not digest:
        raise Conflict(
            f"{version.ref} does not say what it was made with.",
            about="environment",
            hint="Register it with the run that made it; runs of our client and of pipelines record their packages.",
        )
    return msgspec.json.decode(store.objects.get(digest), type=Environment)


def _trials(
    store: Store, registry: RegistryService, version: ModelVersion, files: Sequence[FileFormat], folder: Path
) -> list[dict[str, Any]]:
    """Put the files that are loaded into the workshop, under names of ours, and return what is tried with them."""
    bundle = registry.read_bundle(version.bundle) if version.format == "bundle" else None
    manifest = read_manifest(store.objects, version.bundle)
    trials: list[dict[str, Any]] = []
    for number, file in enumerate(needs.loadable(files, bundle)):
        boosted = ".json" if file.path.endswith(".json") else ".ubj"
        name = f"model-{number}{_SUFFIX.get(file.format, boosted)}"
        (folder / name).write_bytes(store.objects.get(manifest.find(file.path).digest))
        trials.append({"path": file.path, "format": file.format, "file": name})
        if bundle and file.path == bundle.files["serving"]:
            trials[-1]["golden"] = _golden(LoadedModel.load(store.objects, version.bundle, graph=True))
    return trials


def _golden(model: LoadedModel) -> dict[str, Any]:
    feeds = model.prepare(model.golden_columns()).feeds
    plain = {name: {"dtype": array.dtype.name, "values": array.tolist()} for name, array in feeds.items()}
    return {"feeds": plain, "scores": model.golden.scores, "tolerance": model.golden.tolerance}


def _failed(store: Store, version: ModelVersion, log: str, text: str, failure: StepFailed) -> None:
    """Write a failure to the ledger; the version stays where it stands."""
    data = {
        "lock": store.objects.put(text.encode()) if text else "",
        "log": store.objects.put(log.encode()),
        "reason": failure.reason,
    }
    store.database.write(lambda tx: store.ledger.append(tx, "environment.failed", version.ref, data))


def _told(version: ModelVersion, failure: StepFailed) -> Conflict | Unavailable:
    kind = Unavailable if failure.again else Conflict
    return kind(
        f"The environment of {version.ref} could not be prepared. {failure.reason}",
        about="environment",
        hint=f"All of the log: interlock audit environment-text {version.ref} log",
    )

"""The files of runs, logged models and versions, taken over: bytes once, those that are here left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from interlock.bridges.mlflow.careful import UNREADABLE, why
from interlock.core.files import StoredFile
from interlock.core.refs import is_safe_path
from interlock.store.manifests import Entry, put_entries, read_manifest
from interlock.track.artifacts import check_path

if TYPE_CHECKING:
    from interlock.bridges.mlflow.intake import Intake
    from interlock.bridges.mlflow.records import TheirFile, TheirVersion
    from interlock.core.ports import Transaction
    from interlock.track.artifacts import Kind

_AT_ONCE: Final = 64  # files in a transaction


def take_files(intake: Intake, kind: Kind, owner: str, place: str) -> None:
    """Take over the files of a run or logged model; those that are here are left alone."""
    what = f"files of {kind.replace('_', ' ')} {owner}"
    held = _held(intake, owner)
    seen: dict[str, int | None] = {}
    fresh: list[StoredFile] = []
    try:
        for file in intake.source.files(place) if place else ():
            seen[file.path] = file.size
            if file.path not in held and not intake.dry and (stored := _stored(intake, what, file)):
                fresh.append(stored)
            if len(fresh) == _AT_ONCE:
                _keep(intake, kind, owner, fresh)
                fresh = []
    except UNREADABLE as error:
        intake.leave(f"{what}: {why(error)}")
    _keep(intake, kind, owner, fresh)
    held = _held(intake, owner)
    same = [path for path, size in seen.items() if path in held and size in {None, held[path]}]
    intake.there["artifacts"] += len(seen)
    intake.here["artifacts"] += len(same)
    if others := held.keys() & seen.keys() - set(same):
        intake.leave(f"{what}: {min(others)!r} is here and is another file ({len(others)} such).")


def pinned(intake: Intake, theirs: TheirVersion) -> str:
    """Return the digest of the manifest of a version's files; "" where there are none, or they cannot be read."""
    what = f"files of model:{theirs.model}@{theirs.version}"
    try:
        known = _known(intake, theirs.artifacts) if theirs.artifacts else []
        entries = known if known is not None else list(_entries(intake, what, theirs.artifacts))
    except UNREADABLE as error:
        intake.leave(f"{what}: {why(error)}")
        return ""
    return put_entries(intake.store.objects, entries) if entries else ""


def _entries(intake: Intake, what: str, place: str) -> list[Entry]:
    found = []
    for file in intake.source.files(place):
        if not is_safe_path(file.path):
            intake.leave(f"{what}: {file.path[:200]!r} is no plain path.")
        elif stored := _stored(intake, what, file):
            found.append(Entry(file.path, stored.size_bytes, stored.digest))
    return found


def _known(intake: Intake, place: str) -> list[Entry] | None:
    """Return the files of a place that names a run or model which was taken over; None for other places."""
    scheme, _, rest = place.partition(":/")
    first, _, folder = unquote(rest).strip("/").partition("/")
    if scheme == "models" and folder.isdigit():
        bundle = intake.registry.versions.get(intake.store.database, first, int(folder), archived=True).bundle
        return list(read_manifest(intake.store.objects, bundle).files) if bundle else []
    if scheme not in {"runs", "models"}:
        return None
    start = f"{folder}/" if folder else ""
    files = intake.tracker.artifacts.all(first, folder)
    return [Entry(file.name.removeprefix(start), file.size_bytes, file.digest) for file in files]


def _stored(intake: Intake, what: str, file: TheirFile) -> StoredFile | None:
    """Return a file after its bytes were kept; None where it cannot be had, which is told."""
    objects = intake.store.objects
    try:
        check_path(file.path)
        with file.open() as source:
            digest = objects.put(source)
    except UNREADABLE as error:
        intake.leave(f"{what}: {file.path[:200]!r}: {why(error)}")
        return None
    return StoredFile(file.path, digest, objects.size(digest) or 0)


def _keep(intake: Intake, kind: Kind, owner: str, files: list[StoredFile]) -> None:
    def change(tx: Transaction) -> None:
        for file in files:
            intake.tracker.artifacts.put(tx, kind, owner, file)

    if files:
        intake.guarded(f"files of {kind.replace('_', ' ')} {owner}", lambda: intake.store.database.write(change))


def _held(intake: Intake, owner: str) -> dict[str, int]:
    return {file.name: file.size_bytes for file in intake.tracker.artifacts.all(owner)}

"""Files back out of a workspace: those of a version or of a run become a folder of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from interlock.core.errors import Invalid, NotFound
from interlock.core.refs import Ref, parse
from interlock.registry.signatures import PROOF_FILE
from interlock.store.manifests import Entry, Manifest, write_folder

if TYPE_CHECKING:
    from pathlib import Path

    from interlock.sdk.workspace import Workspace


class Downloaded(msgspec.Struct, frozen=True):
    """What was written: whose files, where, how many and how large together."""

    ref: str
    folder: str
    files: int
    size_bytes: int


def download(workspace: Workspace, text: str, folder: Path, *, proof: bool = False) -> Downloaded:
    """Return what was written to a folder: the files of a version or run, each checked by its digest.

    Args:
        workspace: a folder or an address.
        text: `iris@3`, `model:iris@champion`, `models:/iris/3`, `run:ID`, or one of these with `/path` to a file or
            folder in it.
        folder: where to; it is not there yet and comes as a whole, or not at all.
        proof: write what the workspace signed of the version, too, as `model.proof.json`.

    Raises:
        NotFound: there is no such thing, or no file at the path.
        Conflict: the folder is there, or cannot be made.
        Invalid: it is neither a version nor a run, or the version's files rest outside.
        Corrupt: bytes have changed.
    """
    ref = parse(text if ":" in text else f"model:{text}")
    if ref.kind not in {"model", "run"}:
        raise Invalid(
            f"{text!r} is neither a version of a model nor a run.",
            about="reference",
            hint="Write for example model:iris@3, models:/iris/3 or run:ID/models/tree.",
        )
    if proof and (ref.kind == "run" or ref.path):
        raise Invalid("Only of a whole version there is a proof.", about="proof", hint="Leave --proof out.")
    named, files = _of_run(workspace, ref) if ref.kind == "run" else _of_version(workspace, ref)
    found = below(files, ref.path, named)
    signed = msgspec.json.encode(workspace.registry.signature(named)) if proof else b""

    def fetch(digest: str, path: Path) -> None:
        if digest:
            workspace.save(digest, path)
        else:
            path.write_bytes(signed)

    beside = [Entry(PROOF_FILE, len(signed), "")] if proof and all(e.path != PROOF_FILE for e in found) else []
    write_folder([*found, *beside], folder, fetch)
    shown = f"{named}/{ref.path}" if ref.path else named
    return Downloaded(shown, str(folder), len(found), sum(entry.size_bytes for entry in found))


def below(files: list[Entry], path: str, owner: str) -> list[Entry]:
    """Return the files at or below a path, by their paths from there; a file itself keeps its name.

    Raises:
        NotFound: there are none.
    """
    if not path:
        found = files
    else:
        found = [
            Entry(
                f.path.removeprefix(f"{path}/") if f.path != path else path.rpartition("/")[2], f.size_bytes, f.digest
            )
            for f in files
            if f.path == path or f.path.startswith(f"{path}/")
        ]
    if found:
        return found
    if not path:
        raise NotFound(f"{owner} has no files.", about="file")
    folders = {f.path.rpartition("/")[0] for f in files} - {""}
    raise NotFound.named("file", path, sorted(folders | {f.path for f in files}))


def _of_version(workspace: Workspace, ref: Ref) -> tuple[str, list[Entry]]:
    found = workspace.registry.version(str(Ref(ref.kind, ref.name, ref.version, ref.alias)))
    if not found.bundle:
        raise Invalid(f"{found.ref} is not pinned: its files rest outside.", about="model_version")
    return found.ref, list(msgspec.json.decode(workspace.read(found.bundle), type=Manifest).files)


def _of_run(workspace: Workspace, ref: Ref) -> tuple[str, list[Entry]]:
    found = workspace.track.run(ref.name)
    return found.ref, [Entry(file.name, file.size_bytes, file.digest) for file in found.artifacts]

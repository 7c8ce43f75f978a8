"""Artifacts on the wire: files of runs and logged models, listed, sent, fetched in parts, taken away.

A path of the proxy is `<experiment>/<run>/artifacts/...` or `<experiment>/models/<logged model>/artifacts/...`. No path
on disk is made of it: it names a row, whose digest names an object. Files stream both ways in constant memory.
"""

from __future__ import annotations

import email.utils
import hashlib
import mimetypes
import posixpath
import re
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal, cast
from urllib.parse import quote

import msgspec

from interlock.core.errors import NotFound
from interlock.core.files import StoredFile
from interlock.core.operations import Permission
from interlock.server.mlflow import checks
from interlock.server.mlflow.adapter import Adapter, Answer, Call, present
from interlock.server.mlflow.routing import PREFIXES, route
from interlock.server.mlflow.runs import RunId, artifact_uri
from interlock.server.mlflow.wire import Refused, invalid
from interlock.store.manifests import read_manifest
from interlock.store.objects import changed
from interlock.track.artifacts import Kind, Listed, check_place, list_files
from interlock.track.experiments import check_active
from interlock.track.logged_models import model_row
from interlock.track.runs import run_row
from interlock.track.trace_rows import trace_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.core.ports import Reader, Transaction

READ, WRITE = Permission.TRACK_READ, Permission.TRACK_WRITE
_CHUNK: Final = 1 << 20
_LARGEST: Final = 64 << 30
_TEXTS: Final = frozenset(
    {".txt", ".log", ".err", ".cfg", ".conf", ".cnf", ".cf", ".ini", ".properties", ".prop", ".hocon", ".toml", ".yaml"}
    | {".yml", ".xml", ".json", ".js", ".py", ".py3", ".md", ".rst", ".csv", ".tsv", ".html", ".css", ".sh", ".sql"}
    | {".mlmodel", ".mlproject"}
)
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)\Z")
_DIGITS: Final = 18  # of a place in a file; what has more is beyond the end of any


class ListFolder(msgspec.Struct):
    """Asks what lies in a folder of the proxy."""

    path: str = ""


class ListOfRun(RunId):
    """Asks what lies in a folder of a run."""

    path: str = ""
    page_token: str = ""


class Owner(msgspec.Struct, frozen=True):
    """Whose files a path of the proxy is about, and which; of a model version, `id` is the digest of its manifest."""

    kind: Kind | Literal["version"]
    id: str
    path: str


@route("GET", "artifacts/list", READ)
def list_run(adapter: Adapter, ask: ListOfRun) -> dict[str, Any]:
    """List a folder of a run; paths begin at the run."""
    row = run_row(adapter.database, ask.run)
    path = clean_path(ask.path)
    listed = adapter.tracker.artifacts.list(ask.run, path)
    return present(root_uri=artifact_uri(row["experiment"], ask.run), files=[shown_file(file, "") for file in listed])


def list_folder(adapter: Adapter, ask: ListFolder) -> dict[str, Any]:
    """List a folder of the proxy; paths begin at the folder."""
    owner = find_owner(adapter, ask.path)
    listed = list_files(all_files(adapter, owner), owner.path)
    return {"files": [shown_file(file, owner.path) for file in listed]}


def put_file(adapter: Adapter, call: Call) -> dict[str, Any]:
    """Take a file: its bytes are the body."""
    owner = find_owner(adapter, call.parts["path"])
    if not owner.path:
        raise invalid("A file needs a path below its run or model.")
    check_owner(adapter.database, owner)
    file = store_body(adapter, call, owner.path)
    put_stored(adapter, owner, file)
    return {}


def get_file(adapter: Adapter, call: Call) -> Answer:
    """Answer with a file's bytes, or the part that is asked for."""
    owner = find_owner(adapter, call.parts["path"])
    if owner.kind != "version":
        return answer_file(adapter, call, adapter.tracker.artifacts.find(owner.id, owner.path))
    found = next((file for file in all_files(adapter, owner) if file.name == owner.path), None)
    if found is None:
        raise NotFound.named("artifact", owner.path)
    return answer_file(adapter, call, found)


def delete_file(adapter: Adapter, call: Call) -> dict[str, Any]:
    """Take a file or a folder away."""
    owner = find_owner(adapter, call.parts["path"])
    if owner.kind == "version":
        raise invalid("The files of a model version never change.")
    kind = owner.kind
    adapter.database.write(lambda tx: adapter.tracker.artifacts.delete(tx, kind, owner.id, owner.path))
    return {}


for _prefix in PREFIXES:
    _base = f"/{_prefix}/2.0/mlflow-artifacts/artifacts"
    route("GET", _base, READ)(list_folder)
    route("PUT", f"{_base}/{{path}}", WRITE)(put_file)
    route("GET", f"{_base}/{{path}}", READ)(get_file)
    route("DELETE", f"{_base}/{{path}}", WRITE)(delete_file)


@route("GET", "/get-artifact", READ)
def get_run_file(adapter: Adapter, call: Call) -> Answer:
    """Answer with a file of a run, as browsers ask for it."""
    asked = dict(call.pairs())
    run = asked.get("run_id") or asked.get("run_uuid") or ""
    run_row(adapter.database, run)
    return answer_file(adapter, call, adapter.tracker.artifacts.find(run, clean_path(asked.get("path", ""))))


def put_run_file(adapter: Adapter, call: Call) -> dict[str, Any]:
    """Take a file of a run, as browsers send it."""
    asked = dict(call.pairs())
    run, path = asked.get("run_uuid") or asked.get("run_id") or "", clean_path(asked.get("path", ""))
    if not run or not path:
        raise invalid("Request must specify run_uuid and path.")
    owner = Owner("run", run, path)
    check_owner(adapter.database, owner)
    put_stored(adapter, owner, store_body(adapter, call, path))
    return {}


route("POST", "upload-artifact", WRITE)(put_run_file)


def find_owner(adapter: Adapter, path: str) -> Owner:
    """Return whose files a path of the proxy is about.

    Raises:
        Refused: it is about nobody's.
        NotFound: there is no such run, model or trace.
    """
    parts = clean_path(path).split("/")
    if len(parts) >= 3 and parts[0] == "registry":
        version = adapter.registry.versions.get(adapter.database, parts[1], checks.version_number(parts[2]))
        return Owner("version", version.bundle, "/".join(parts[3:]))
    if len(parts) >= 4 and parts[1] == "models" and parts[3] == "artifacts":
        model_row(adapter.database, parts[2])
        return Owner("logged_model", parts[2], "/".join(parts[4:]))
    if len(parts) >= 4 and parts[1] == "traces" and parts[3] == "artifacts":
        trace_row(adapter.database, parts[2])
        return Owner("trace", parts[2], "/".join(parts[4:]))
    if len(parts) >= 3 and parts[2] == "artifacts":
        run_row(adapter.database, parts[1])
        return Owner("run", parts[1], "/".join(parts[3:]))
    raise Refused(
        "INVALID_PARAMETER_VALUE",
        f"{path!r} is no path of an artifact: <experiment>/<run>/artifacts/... or"
        " <experiment>/models/<model>/artifacts/... or <experiment>/traces/<trace>/artifacts/... is wanted.",
    )


def all_files(adapter: Adapter, owner: Owner) -> list[StoredFile]:
    """Return the files below a path of the proxy; their names begin at the owner."""
    if owner.kind != "version":
        return adapter.tracker.artifacts.all(owner.id, owner.path)
    entries = read_manifest(adapter.store.objects, owner.id).files
    below = f"{owner.path}/" if owner.path else ""
    return [
        StoredFile(entry.path, entry.digest, entry.size_bytes)
        for entry in entries
        if entry.path == owner.path or entry.path.startswith(below)
    ]


def check_owner(reader: Reader, owner: Owner) -> None:
    """Accept an owner that takes files.

    Raises:
        Refused: it is a version, which never changes.
        NotFound: it is not there.
        Conflict: it is deleted.
        Invalid: it cannot have a file at this path.
    """
    if owner.kind == "version":
        raise invalid("The files of a model version never change.")
    if owner.kind == "run":
        check_active(run_row(reader, owner.id), "run", owner.id)
    elif owner.kind == "trace":
        trace_row(reader, owner.id)
    else:
        check_active(model_row(reader, owner.id), "logged model", owner.id)
    if owner.path:
        check_place(reader, owner.id, owner.path)


def store_body(adapter: Adapter, call: Call, path: str) -> StoredFile:
    """Return a request's body as a file, on disk under its digest.

    Cost: constant memory; one pass over the bytes.
    """
    stream = call.body(_LARGEST)
    digest = adapter.store.objects.put(cast("BinaryIO", stream))
    size = adapter.store.objects.size(digest)
    return StoredFile(path, digest, size or 0)


def put_stored(adapter: Adapter, owner: Owner, file: StoredFile) -> None:
    """Let a stored file be one of an owner's."""
    kind = owner.kind
    if kind == "version":
        raise invalid("The files of a model version never change.")

    def change(tx: Transaction) -> None:
        check_owner(tx, owner)  # it may have been deleted while the bytes came
        adapter.tracker.artifacts.put(tx, kind, owner.id, file)

    adapter.database.write(change)


def answer_file(adapter: Adapter, call: Call, file: StoredFile) -> Answer:
    """Return the answer that holds a file, or the part of it that the request asks for."""
    name = posixpath.basename(file.name)
    headers = {
        "content-disposition": f"attachment; filename*=UTF-8''{quote(name)}",
        "x-content-type-options": "nosniff",
        "accept-ranges": "bytes",
        "etag": f'"{file.digest}"',
        "content-security-policy": "sandbox; default-src 'none'",
    }
    if _names(call.header("if-none-match"), file.digest):
        return Answer(b"", 304, headers, content_type(name))
    if adapter.store.objects.size(file.digest) != file.size_bytes:
        raise changed(file.digest)  # said before the first byte goes out
    asked = call.header("range") if call.header("if-range") in {"", headers["etag"]} else ""
    span = _span(asked, file.size_bytes)
    if span is None:
        start, end, status = 0, file.size_bytes, 200
    elif span[0] >= span[1]:
        headers["content-range"] = f"bytes */{file.size_bytes}"
        return Answer(b"", 416, headers, content_type(name))
    else:
        start, end, status = *span, 206
        headers["content-range"] = f"bytes {start}-{end - 1}/{file.size_bytes}"
    headers["content-length"] = str(end - start)
    headers["date"] = email.utils.formatdate(usegmt=True)
    return Answer(_pieces(adapter, file, start, end), status, headers, content_type(name))


def content_type(name: str) -> str:
    """Return the content type of a file of this name; what a browser might run is plain text."""
    suffix = posixpath.splitext(name)[1].lower() or f".{name.lower()}"
    if suffix in _TEXTS:
        return "text/plain; charset=utf-8"
    guessed = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return "text/plain; charset=utf-8" if guessed in {"text/html", "image/svg+xml", "text/javascript"} else guessed


def _pieces(adapter: Adapter, file: StoredFile, start: int, end: int) -> Iterator[bytes]:
    """Yield a part of a file; one that is sent whole is checked against its digest before its last piece goes out.

    Raises:
        Corrupt: its bytes have changed; the answer breaks off.
    """
    whole = start == 0 and end == file.size_bytes
    checker, left = hashlib.sha256(), end - start
    with adapter.store.objects.open(file.digest) as source:
        source.seek(start)
        while left > 0 and (piece := source.read(min(_CHUNK, left))):
            left -= len(piece)
            if whole:
                checker.update(piece)
                if not left and checker.hexdigest() != file.digest:
                    raise changed(file.digest)
            yield piece


def _names(header: str, digest: str) -> bool:
    """Return whether a header such as If-None-Match names an object."""
    tags = {tag.strip().removeprefix("W/") for tag in header.split(",")}
    return "*" in tags or f'"{digest}"' in tags


def _span(header: str, size: int) -> tuple[int, int] | None:
    """Return the first byte and the end of what a Range header asks for; None for all; empty where there is none."""
    found = _RANGE.match(header)
    if not found or not (found[1] or found[2]):
        return None
    if not found[1]:
        return max(0, size - int(found[2][:_DIGITS])), size
    start, last = int(found[1][:_DIGITS]), int(found[2][:_DIGITS]) if found[2] else size
    return None if last < start and found[2] else (start, min(last + 1, size))


def clean_path(path: str) -> str:
    """Return a path without slashes at its ends.

    Raises:
        Refused: it leaves where it is, or has parts that no file has.
    """
    path = path.strip("/")
    if path and any(part in {"", ".", ".."} or re.search(r"[\x00-\x1f\x7f\\]", part) for part in path.split("/")):
        raise invalid("Invalid path: it must be a plain relative path.")
    return path


def shown_file(file: Listed, below: str) -> dict[str, Any]:
    """Return a file or folder of a list as the protocol has it; its path begins below another."""
    path = file.path.removeprefix(f"{below}/") if below else file.path
    return (
        {"path": path, "is_dir": True}
        if file.is_folder
        else {
            "path": path,
            "is_dir": False,
            "file_size": file.size_bytes,
        }
    )

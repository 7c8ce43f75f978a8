"""Large files in parts: clients send them side by side to addresses of this server, which puts them together.

The addresses hold the upload's random name, as those of cloud stores hold a signature: clients send parts without the
credentials that they send elsewhere.
"""

from __future__ import annotations

import posixpath
from typing import Any, BinaryIO, Final, cast

import msgspec

from interlock.core.files import StoredFile
from interlock.core.operations import Permission
from interlock.server.mlflow.adapter import Adapter, Answer, Call
from interlock.server.mlflow.artifacts import Owner, check_owner, clean_path, find_owner, put_stored
from interlock.server.mlflow.routing import PREFIXES, route
from interlock.server.mlflow.wire import invalid, missing, read_body
from interlock.store.parts import Parts, Plan

WRITE: Final = Permission.TRACK_WRITE
LARGEST: Final = 64 << 30
_LARGEST_ASK: Final = 8 << 20  # ten thousand parts with their addresses


class Begin(msgspec.Struct):
    """A file that will come in parts; of its path, which is one of the client's machine, the last part counts."""

    path: str = ""
    num_parts: int = 1


class Part(msgspec.Struct):
    """A part that was sent."""

    part_number: int = 0
    etag: str = ""


class Complete(msgspec.Struct):
    """All parts are there."""

    path: str = ""
    upload_id: str = ""
    parts: list[Part] = []


class Abort(msgspec.Struct):
    """The parts are not wanted any more."""

    path: str = ""
    upload_id: str = ""


def begin(adapter: Adapter, call: Call) -> dict[str, Any]:
    """Begin an upload; answer where each part goes."""
    ask = read_body(whole_body(call), Begin)
    owner = _owner(adapter, call, ask.path)
    check_owner(adapter.database, owner)
    upload = _parts(adapter).begin(Plan(_named(owner), ask.num_parts, LARGEST))
    base = f"{base_url(call)}/api/2.0/mlflow-artifacts/mpu/part/{upload}"
    return {
        "upload_id": upload,
        "credentials": [
            {"url": f"{base}/{number}", "part_number": number, "headers": {}} for number in range(1, ask.num_parts + 1)
        ],
    }


def put_part(adapter: Adapter, call: Call) -> Answer:
    """Take a part; its ETag is its SHA-256."""
    number = call.parts["number"]
    if not (number.isascii() and number.isdigit() and len(number) < 6):
        raise invalid(f"{number[:40]!r} is no number of a part.")
    stream = call.body(LARGEST)
    digest = _parts(adapter).put(call.parts["upload"], int(number), cast("BinaryIO", stream))
    return Answer(b"{}", headers={"etag": f'"{digest}"'})


def complete(adapter: Adapter, call: Call) -> dict[str, Any]:
    """Make one file of the parts. Asked twice, because the first answer was lost, it answers the same."""
    ask = read_body(whole_body(call), Complete)
    owner, parts = _owner(adapter, call, ask.path), _parts(adapter)
    if parts.done(ask.upload_id):
        return {}
    if parts.plan(ask.upload_id).owner != _named(owner):
        raise invalid("The upload was begun for another path.")
    wanted = sorted((part.part_number, part.etag.strip('"')) for part in ask.parts)
    digest, size = parts.join(ask.upload_id, wanted)
    put_stored(adapter, owner, StoredFile(owner.path, digest, size))
    parts.end(ask.upload_id)
    return {}


def abort(adapter: Adapter, call: Call) -> dict[str, Any]:
    """Throw the parts away."""
    ask = read_body(whole_body(call), Abort)
    if not ask.upload_id:
        raise missing("upload_id")
    _parts(adapter).give_up(ask.upload_id)
    return {}


for _prefix in PREFIXES:
    _base = f"/{_prefix}/2.0/mlflow-artifacts/mpu"
    route("POST", f"{_base}/create/{{path}}", WRITE)(begin)
    route("POST", f"{_base}/complete/{{path}}", WRITE)(complete)
    route("POST", f"{_base}/abort/{{path}}", WRITE)(abort)
# Open to whoever knows the upload's name: clients send no credentials here.
route("PUT", "/api/2.0/mlflow-artifacts/mpu/part/{upload}/{number}", None)(put_part)


def base_url(call: Call) -> str:
    """Return the address by which a client reached us; the guard has accepted the Host.

    A proxy says whether it was reached by https. A client that lies about it only misleads itself.
    """
    scheme = "https" if call.header("x-forwarded-proto").lower() == "https" else call.scope.get("scheme", "http")
    return f"{scheme}://{call.header('host')}"


def whole_body(call: Call, most: int = _LARGEST_ASK) -> bytes:
    """Return a request's body.

    Raises:
        Refusal: it is larger than `most` bytes.
        Unavailable: there is no room for it now.
    """
    stream = call.body(most)
    body = bytearray()
    while piece := stream.read():
        body += piece
        call.share.hold(len(body))
    return bytes(body)


def _owner(adapter: Adapter, call: Call, path: str) -> Owner:
    name = posixpath.basename(path.replace("\\", "/"))
    if not name:
        raise missing("path")
    owner = find_owner(adapter, f"{clean_path(call.parts['path'])}/{clean_path(name)}")
    if owner.kind == "version":
        raise invalid("The files of a model version never change.")
    return owner


def _named(owner: Owner) -> str:
    return f"{owner.kind}:{owner.id}/{owner.path}"


def _parts(adapter: Adapter) -> Parts:
    return Parts(adapter.store.uploads.root, adapter.store.objects)

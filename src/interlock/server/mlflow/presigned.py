"""Signed addresses: a file of a run that can be fetched or sent for a while without credentials.

They are addresses of this server, so they work wherever it does. A signed download names the bytes by their digest: a
client that fetches parts side by side gets parts of one file, also when the run replaces it meanwhile.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import posixpath
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

import msgspec

from interlock.core.errors import NotFound
from interlock.core.files import StoredFile
from interlock.core.operations import Permission
from interlock.server.mlflow import checks
from interlock.server.mlflow.adapter import Adapter, Answer, Call
from interlock.server.mlflow.artifacts import (
    Owner,
    all_files,
    answer_file,
    check_owner,
    clean_path,
    find_owner,
    put_stored,
    store_body,
)
from interlock.server.mlflow.multipart import base_url, whole_body
from interlock.server.mlflow.routing import PREFIXES, route
from interlock.server.mlflow.wire import Refused, invalid, read_body
from interlock.store.keyfile import secret_key
from interlock.track.artifacts import Kind
from interlock.track.logged_models import model_row
from interlock.track.runs import run_row

if TYPE_CHECKING:
    from interlock.store import Store

READ, WRITE = Permission.TRACK_READ, Permission.TRACK_WRITE
_VALID_S: Final = 3600
_KEY: Final = "urls.key"
Expiration = Annotated[int, msgspec.Meta(ge=1, le=604_800)]


class Grant(msgspec.Struct, frozen=True, array_like=True):
    """What a signed address allows: `read` names bytes, `write` whose file will be made."""

    may: str
    until: int
    path: str
    digest: str = ""
    size: int = 0
    kind: str = ""
    owner: str = ""


class Download(msgspec.Struct):
    """Asks for an address to fetch a file of a run from."""

    run_id: str = ""
    path: str = ""
    expiration: Expiration = 300


class Upload(msgspec.Struct):
    """Asks for an address to send a file of a run or a logged model to."""

    run_id: str = ""
    model_id: str = ""
    path: str = ""
    expiration: Expiration = 900


def for_download(adapter: Adapter, call: Call) -> dict[str, Any]:
    """Answer an address to fetch a file of the proxy from."""
    owner = find_owner(adapter, call.parts["path"])
    return _download(adapter, call, owner, _VALID_S, "url")


def for_download_of_run(adapter: Adapter, call: Call) -> dict[str, Any]:
    """Answer an address to fetch a file of a run from."""
    ask = read_body(whole_body(call), Download)
    checks.required(run_id=ask.run_id, path=ask.path)
    run_row(adapter.database, ask.run_id)
    return _download(adapter, call, Owner("run", ask.run_id, clean_path(ask.path)), ask.expiration, "presigned_url")


def for_upload(adapter: Adapter, call: Call) -> dict[str, Any]:
    """Answer an address to send a file to."""
    ask = read_body(whole_body(call), Upload)
    checks.required(path=clean_path(ask.path))
    if bool(ask.run_id) == bool(ask.model_id):
        raise invalid("Exactly one of run_id and model_id must be provided.")
    if ask.run_id:
        owner = Owner("run", ask.run_id, clean_path(ask.path))
    else:
        model_row(adapter.database, ask.model_id)
        owner = Owner("logged_model", ask.model_id, clean_path(ask.path))
    check_owner(adapter.database, owner)
    grant = Grant("write", _now(adapter.store) + ask.expiration, owner.path, kind=owner.kind, owner=owner.id)
    return {"presigned_url": _url(adapter.store, call, grant), "headers": {}}


def get_signed(adapter: Adapter, call: Call) -> Answer:
    """Answer with the bytes that a signed address names, or a part of them."""
    grant = _opened(adapter.store, call, "read")
    return answer_file(adapter, call, StoredFile(grant.path, grant.digest, grant.size))


def put_signed(adapter: Adapter, call: Call) -> dict[str, Any]:
    """Take the file that a signed address allows."""
    grant = _opened(adapter.store, call, "write")
    owner = Owner(msgspec.convert(grant.kind, Kind), grant.owner, grant.path)
    check_owner(adapter.database, owner)
    put_stored(adapter, owner, store_body(adapter, call, owner.path))
    return {}


for _prefix in PREFIXES:
    route("GET", f"/{_prefix}/2.0/mlflow-artifacts/presigned/{{path}}", READ)(for_download)
route("POST", "artifacts/presigned-download-url", READ)(for_download_of_run)
route("POST", "artifacts/presigned-upload-url", WRITE)(for_upload)
# Open to whoever has an address that is signed.
route("GET", "/api/2.0/mlflow-artifacts/signed/{token}/{name}", None)(get_signed)
route("PUT", "/api/2.0/mlflow-artifacts/signed/{token}/{name}", None)(put_signed)


def _download(adapter: Adapter, call: Call, owner: Owner, valid_s: int, called: str) -> dict[str, Any]:
    if owner.kind == "version":
        found = next((file for file in all_files(adapter, owner) if file.name == owner.path), None)
        if found is None:
            raise NotFound.named("artifact", owner.path)
    else:
        found = adapter.tracker.artifacts.find(owner.id, owner.path)
    grant = Grant("read", _now(adapter.store) + valid_s, found.name, found.digest, found.size_bytes)
    return {called: _url(adapter.store, call, grant), "headers": {}, "file_size": found.size_bytes}


def _url(store: Store, call: Call, grant: Grant) -> str:
    body = msgspec.json.encode(grant)
    token = base64.urlsafe_b64encode(_seal(store, body) + body).decode().rstrip("=")
    return f"{base_url(call)}/api/2.0/mlflow-artifacts/signed/{token}/{quote(posixpath.basename(grant.path), safe='')}"


def _opened(store: Store, call: Call, may: str) -> Grant:
    """Return what the address of a request allows.

    Raises:
        Refused: it was not signed here, its time is over, or it allows something else.
    """
    token = call.parts["token"]
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    seal, body = raw[:32], raw[32:]
    if not hmac.compare_digest(seal, _seal(store, body)):
        raise Refused("PERMISSION_DENIED", "The address was not signed by this server.")
    grant = msgspec.json.decode(body, type=Grant)
    if grant.may != may:
        raise Refused("PERMISSION_DENIED", f"The address was signed to {grant.may}, not to {may}.")
    if grant.until < _now(store):
        raise Refused("PERMISSION_DENIED", "The address has expired; ask for another one.")
    return grant


def _seal(store: Store, body: bytes) -> bytes:
    return hmac.digest(secret_key(store.root / "keys" / _KEY), b"address\0" + body, hashlib.sha256)


def _now(store: Store) -> int:
    return int(store.clock.now().timestamp())

"""Signatures of OpenSSF's model-signing.

model_signing/model.sig was made by its own tool, version 1.1.1: model_signing sign key model --signature
model.sig --private_key ... (P-384). What ours looks like is compared with it part by part.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.errors import Corrupt, Invalid
from interlock.registry.openssf import check, public_pem, sign, workspace_key
from interlock.registry.verify import SeenFile, see
from interlock.store import Store

ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec", reason="the extra `signing` is not installed")
FILES = Path(__file__).parent / "model_signing"
THEIRS, THEIR_KEY = (FILES / "model.sig").read_text(), (FILES / "key.pem").read_text()
KEY = ec.generate_private_key(ec.SECP256R1())
SEEN = see(FILES / "model")


def payload_of(signature: str) -> dict[str, Any]:
    found = json.loads(base64.b64decode(json.loads(signature)["dsseEnvelope"]["payload"]))
    assert isinstance(found, dict)
    return found


def resigned(change: Callable[[dict[str, Any]], None]) -> str:
    """Return a signature by KEY over a statement that was changed before it was signed."""
    from cryptography.hazmat.primitives.hashes import SHA256

    from interlock.registry.openssf import _pae

    bundle = json.loads(sign("model", SEEN, KEY))
    statement = payload_of(json.dumps(bundle))
    change(statement)
    payload = json.dumps(statement).encode()
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    raw = KEY.sign(_pae(payload), ec.ECDSA(SHA256()))
    bundle["dsseEnvelope"]["signatures"] = [{"sig": base64.b64encode(raw).decode()}]
    return json.dumps(bundle)


def test_what_their_tool_signed_holds_here() -> None:
    assert check(THEIRS, THEIR_KEY, SEEN) == []
    worse = [SeenFile("a.txt", "0" * 64), *[file for file in SEEN if file.path == "a/x"], SeenFile("new", "1" * 64)]
    assert [(f.fault, f.path) for f in check(THEIRS, THEIR_KEY, worse)] == [
        ("missing", "a-b/y"),
        ("changed", "a.txt"),
        ("extra", "new"),
    ]


def test_ours_has_the_shape_of_theirs() -> None:
    ours = sign("model", reversed(SEEN), KEY)
    mine, yours = json.loads(ours), json.loads(THEIRS)
    assert mine.keys() == yours.keys()
    assert mine["mediaType"] == yours["mediaType"]
    assert mine["verificationMaterial"].keys() == yours["verificationMaterial"].keys()
    assert mine["verificationMaterial"]["tlogEntries"] == []
    assert mine["dsseEnvelope"].keys() == yours["dsseEnvelope"].keys()
    assert mine["dsseEnvelope"]["payloadType"] == yours["dsseEnvelope"]["payloadType"]
    said, wanted = payload_of(ours), payload_of(THEIRS)
    assert said["predicate"]["serialization"].pop("ignore_paths") == ["model.sig"]
    wanted["predicate"]["serialization"].pop("ignore_paths")
    assert said == wanted


@pytest.mark.parametrize("curve", ["SECP256R1", "SECP384R1", "SECP521R1"])
def test_a_signature_holds_for_its_files_and_key_alone(curve: str) -> None:
    key = ec.generate_private_key(getattr(ec, curve)())
    made = sign("model", SEEN, key)
    assert check(made, public_pem(key), [*SEEN, SeenFile("model.sig", "0" * 64)]) == []
    assert check(made, public_pem(key), [*SEEN, SeenFile("their.sig", "0" * 64)], "their.sig") == []
    assert [fault.fault for fault in check(made, public_pem(key), SEEN[1:])] == ["missing"]
    with pytest.raises(Invalid, match="another key"):
        check(made, THEIR_KEY, SEEN)
    nameless = json.loads(made)
    nameless["verificationMaterial"]["publicKey"]["hint"] = None
    with pytest.raises(Invalid, match="does not hold"):
        check(json.dumps(nameless), THEIR_KEY, SEEN)


def test_a_file_that_is_ignored_and_signed_cannot_be_left_out() -> None:
    def hide(statement: dict[str, Any]) -> None:
        statement["predicate"]["serialization"]["ignore_paths"] = ["a"]

    found = check(resigned(hide), public_pem(KEY), SEEN)
    assert [(fault.fault, fault.path) for fault in found] == [("missing", "a/x")]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda s: s.update(_type="x"), "says"),
        (lambda s: s.update(predicateType="https://model_signing/Digests/v0.1"), "Digests"),
        (lambda s: s["subject"][0]["digest"].update(sha256="0" * 64), "one digest"),
        (lambda s: s["subject"].append(s["subject"][0]), "one digest"),
        (lambda s: s["predicate"]["resources"].append(s["predicate"]["resources"][0]), "twice"),
        (lambda s: s["predicate"]["resources"][0].update(algorithm="blake3"), "no SHA-256"),
        (lambda s: s["predicate"]["resources"][0].update(digest="zz"), "no SHA-256"),
        (lambda s: s["predicate"]["serialization"].update(method="shards"), "shards"),
        (lambda s: s.pop("predicate"), "no statement"),
    ],
)
def test_what_is_signed_and_makes_no_sense_is_refused(change: Callable[[dict[str, Any]], None], why: str) -> None:
    assert check(resigned(lambda statement: None), public_pem(KEY), SEEN) == []
    with pytest.raises(Invalid, match=why):
        check(resigned(change), public_pem(KEY), SEEN)


@given(st.integers(0, len(THEIRS) - 1), st.characters(codec="ascii"))
def test_a_changed_signature_never_passes_for_other_files(place: int, letter: str) -> None:
    changed = THEIRS[:place] + letter + THEIRS[place + 1 :]
    try:
        faults = check(changed, THEIR_KEY, SEEN[1:])
    except Invalid:
        return
    assert faults


@given(st.text())
def test_any_text_is_a_signature_or_refused(text: str) -> None:
    with pytest.raises(Invalid):
        check(text, THEIR_KEY, SEEN)
    with pytest.raises(Invalid):
        check(THEIRS, text, SEEN)


def test_a_key_on_another_curve_is_none() -> None:
    other = ec.generate_private_key(ec.SECP256K1())
    with pytest.raises(Invalid, match="P-256"):
        check(THEIRS, public_pem(other), SEEN)


def test_a_workspace_has_one_key_for_its_owner_only(tmp_path: Path) -> None:
    first = workspace_key(tmp_path / "keys")
    assert public_pem(workspace_key(tmp_path / "keys")) == public_pem(first)
    path = tmp_path / "keys/model-signing.key"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("spoiled")
    with pytest.raises(Corrupt, match=r"model-signing\.key"):
        workspace_key(tmp_path / "keys")


def test_a_version_is_signed_in_the_ledger_and_checked_where_it_rests(store: Store, make, manifest, registry) -> None:
    version = make(bundle=manifest(a=b"a", b=b"b"))
    made = registry.sign(version.ref)
    event = store.ledger.events(kinds=("model_version.signed",), subject=version.ref)[-1]
    assert store.objects.get(event.data["signature"]).decode() == made.signature
    assert registry.check_signature(version.ref, made.signature, made.key).ok
    other = registry.check_signature(make(bundle=manifest(a=b"a", b=b"x")).ref, made.signature, made.key)
    assert (other.ok, [(fault.fault, fault.path) for fault in other.faults]) == (False, [("changed", "b")])
    digest = store.objects.put(b"b")
    (store.root / "objects" / digest[:2] / digest[2:]).unlink()
    found = registry.check_signature(version.ref, made.signature, made.key)
    assert [(fault.fault, fault.path) for fault in found.faults] == [("missing", "b")]
    with pytest.raises(Invalid, match="not pinned"):
        registry.sign(make().ref)

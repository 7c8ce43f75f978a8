"""`interlock models`: sign, verify and check files, over a real workspace."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interlock.registry.service import RegistryService
from interlock.sdk.services import SERVICES
from interlock.sdk.workspace import Workspace
from interlock.store import create_store, open_store
from interlock.store.manifests import put_folder, read_manifest, write_folder
from interlock.track.records import Start
from interlock.track.service import TrackService


@pytest.fixture
def models(command: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """A version of model m whose files are in ./copy too; returns `interlock models`."""
    (folder / "source/deep").mkdir(parents=True)
    (folder / "source/deep/model.bin").write_bytes(b"bytes")
    store = create_store(folder / ".interlock")
    run = TrackService(store).start(Start("e"))
    made = RegistryService(store).register("m", run.ref, put_folder(store.objects, folder / "source"))
    write_folder(read_manifest(store.objects, made.bundle).files, folder / "copy", store.objects.fetch)
    store.close()
    return lambda *words: command("models", *words, services=SERVICES)


def test_what_is_signed_is_checked_without_a_workspace(models, folder: Path) -> None:
    pytest.importorskip("cryptography", reason="the extra `signing` is not installed")
    assert models("sign", "m@1", "-o", "copy/model.sig", "--public-key", "key.pem").code == 0
    (folder / ".interlock").rename(folder / "away")
    assert models("check", "copy", "--key", "key.pem").code == 0
    (folder / "copy/deep/model.bin").write_bytes(b"other")
    done = models("check", "copy", "--key", "key.pem")
    assert (done.code, "changed" in done.out, "deep/model.bin" in done.out) == (1, True, True)
    (folder / "copy/model.sig").rename(folder / "copy/deep/own.sig")
    (folder / "copy/deep/model.bin").write_bytes(b"bytes")
    assert models("check", "copy", "--key", "key.pem", "--signature", "copy/deep/own.sig").code == 0
    assert "There is no file" in models("check", "copy", "--key", "key.pem").err
    assert "no public key" in models("check", "copy", "--key", "copy/deep/own.sig", "--signature", "key.pem").err
    assert "There is no folder" in models("check", "cpoy", "--key", "key.pem", "--signature", "copy/deep/own.sig").err


def test_what_a_workspace_signed_is_checked_without_it(models, folder: Path) -> None:
    """The proof of a version's registration and the ledger's key are enough; a link is no file of a model."""
    assert models("prove", "m@1", "-o", "copy/model.proof.json", "--public-key", "trusted.vkey").code == 0
    (folder / ".interlock").rename(folder / "away")
    assert models("check", "copy", "--key", "trusted.vkey").code == 0
    (folder / "copy/extra").write_text("x")
    done = models("check", "copy", "--key", "trusted.vkey")
    assert (done.code, "extra" in done.out) == (1, True)
    (folder / "copy/extra").unlink()
    text = (folder / "trusted.vkey").read_text()
    (folder / "other.vkey").write_text(text.replace("+", "-", 1))
    assert models("check", "copy", "--key", "other.vkey").code != 0
    (folder / "copy/link").symlink_to(folder / "away")
    done = models("check", "copy", "--key", "trusted.vkey")
    assert (done.code != 0, "no plain file" in done.err or "not a plain file" in done.err) == (True, True)


def test_models_and_versions_are_listed_and_found(models, folder: Path) -> None:
    assert "m " in models("ls").out
    assert "model:m@1" in models("ls", "--versions").out
    assert "model:m@1" in models("ls", "--versions", "--filter", "created > '2026-01-01' and stage = 'registered'").out
    assert models("ls", "--filter", "feature = 'AGEP'").out.strip() == "none"
    done = models("ls", "--filter", "metrics.auc > 'x'")
    assert (done.code != 0, "column 15" in done.err) == (True, True)
    page = json.loads(models("ls", "--versions", "--order-by", "name", "--limit", "1", "--json").out)
    assert [version["ref"] for version in page["versions"]] == ["model:m@1"]


def test_verify_looks_here_or_at_a_copy(models, folder: Path) -> None:
    assert models("verify", "m@1").code == 0
    assert models("verify", "m@1", "--folder", "copy").code == 0
    (folder / "copy/new").write_text("x")
    done = models("verify", "m", "--folder", "copy")
    assert (done.code, "extra" in done.out) == (1, True)
    assert models("verify", "m@7").code != 0


def test_a_place_that_cannot_be_written_is_an_error(models, folder: Path) -> None:
    pytest.importorskip("cryptography", reason="the extra `signing` is not installed")
    done = models("sign", "m@1", "-o", "nowhere/model.sig")
    assert (done.code != 0, "cannot be written" in done.err) == (True, True)


def blob(layout: Path, descriptor: Any) -> bytes:
    """Return the bytes that a descriptor names, which have its digest and size."""
    data = (layout / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes()
    assert f"sha256:{hashlib.sha256(data).hexdigest()}" == descriptor["digest"]
    assert len(data) == descriptor["size"]
    return data


def test_a_version_is_an_oci_artifact_whose_digests_are_ours(models, folder: Path) -> None:
    done = models("export", "m@1", "layout", "--json")
    assert done.code == 0, done.err
    layout = folder / "layout"
    assert json.loads((layout / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    (listed,) = json.loads((layout / "index.json").read_text())["manifests"]
    assert listed["digest"] == json.loads(done.out)["digest"]
    assert listed["annotations"] == {"org.opencontainers.image.ref.name": "1"}
    manifest = json.loads(blob(layout, listed))
    assert (manifest["schemaVersion"], manifest["mediaType"]) == (2, listed["mediaType"])
    store = open_store(folder / ".interlock")
    version = RegistryService(store).version("m@1")
    files = {entry.path: entry.digest for entry in read_manifest(store.objects, version.bundle).files}
    assert json.loads(blob(layout, manifest["config"]))["bundle"] == version.bundle
    layers = {layer["annotations"]["org.opencontainers.image.title"]: layer for layer in manifest["layers"]}
    assert {path: f"sha256:{digest}" for path, digest in files.items()}.items() <= {
        path: layer["digest"] for path, layer in layers.items()
    }.items()
    assert blob(layout, layers["deep/model.bin"]) == b"bytes"
    signed = json.loads(blob(layout, layers["model.proof.json"]))
    assert signed["note"] == RegistryService(store).signature("m@1").note
    assert manifest["annotations"]["dev.interlock.reference"] == "model:m@1"
    named = {listed["digest"], manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}
    assert {f"sha256:{path.name}" for path in (layout / "blobs/sha256").iterdir()} == named
    store.close()
    assert models("export", "m@1", "again").code == 0
    assert (folder / "again/index.json").read_bytes() == (layout / "index.json").read_bytes()


def test_an_export_comes_whole_or_not_at_all(models, folder: Path) -> None:
    assert "is there already" in models("export", "m@1", "copy").err
    store = open_store(folder / ".interlock")
    (digest,) = [d for d in store.objects.digests() if store.objects.get(d) == b"bytes"]
    path = folder / ".interlock/objects" / digest[:2] / digest[2:]
    path.chmod(0o644)
    path.write_bytes(b"other")
    store.close()
    before = sorted(folder.iterdir())
    done = models("export", "m@1", "layout")
    assert (done.code != 0, digest in done.err) == (True, True)
    assert sorted(folder.iterdir()) == before
    path.write_bytes(b"bytes")
    assert "cannot be written" in models("export", "m@1", "nowhere/layout").err


def test_a_version_and_a_part_of_a_run_come_back_as_folders(models, folder: Path) -> None:
    store = create_store(folder / ".interlock")
    track = TrackService(store)
    run = track.start(Start("e"))
    store.close()
    with Workspace.open(folder) as workspace:
        for path in ("models/tree/a.bin", "models/tree/deep/b.bin", "models/trees.txt"):
            (folder / "file").write_bytes(path.encode())
            workspace.track.log_artifact(run.id, path, folder / "file")
    for number, ref in enumerate(("m@1", "model:m", "models:/m/1")):
        done = models("download", ref, f"out{number}", "--json")
        assert (done.code, json.loads(done.out)["ref"]) == (0, "model:m@1")
        assert files(folder / f"out{number}") == {"deep/model.bin": b"bytes"}
        assert models("verify", "m@1", "--folder", f"out{number}").code == 0
    assert models("download", "m@1/deep", "part").code == 0
    assert files(folder / "part") == {"model.bin": b"bytes"}
    assert models("download", f"runs:/{run.id}/models/tree", "tree").code == 0
    assert files(folder / "tree") == {"a.bin": b"models/tree/a.bin", "deep/b.bin": b"models/tree/deep/b.bin"}
    assert models("download", f"run:{run.id}/models/trees.txt", "one").code == 0
    assert files(folder / "one") == {"trees.txt": b"models/trees.txt"}
    assert "models/tree'" in models("download", f"run:{run.id}/models/tre", "none").err
    assert "is there already" in models("download", "m@1", "out0").err
    assert "neither a version" in models("download", "data:m@1", "none").err
    assert "cannot be written" in models("download", "m@1", "nowhere/none").err
    assert not (folder / "none").exists()


def test_a_download_with_its_proof_is_checked_without_a_workspace(models, folder: Path) -> None:
    assert models("prove", "m@1", "-o", "other.json", "--public-key", "trusted.vkey").code == 0
    assert models("download", "m@1", "out", "--proof").code == 0
    (folder / ".interlock").rename(folder / "away")
    assert models("check", "out", "--key", "trusted.vkey").code == 0
    (folder / "out/deep/model.bin").write_bytes(b"other")
    assert models("check", "out", "--key", "trusted.vkey").code == 1


def test_a_download_with_a_changed_file_leaves_nothing(models, folder: Path) -> None:
    digest = hashlib.sha256(b"bytes").hexdigest()
    kept = folder / ".interlock/objects" / digest[:2] / digest[2:]
    kept.chmod(0o644)
    kept.write_bytes(b"bytez")
    before = sorted(folder.iterdir())
    done = models("download", "m@1", "out")
    assert (done.code != 0, sorted(folder.iterdir())) == (True, before), done.err


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

"""`interlock models`: sign, verify and check files, over a real workspace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interlock.registry.service import RegistryService
from interlock.sdk.services import SERVICES
from interlock.store import create_store
from interlock.store.manifests import fetch_folder, put_folder
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
    fetch_folder(store.objects, made.bundle, folder / "copy")
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

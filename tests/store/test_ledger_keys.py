"""The key files: made once, for their owner only, refused when damaged."""

from __future__ import annotations

import stat
import threading
from typing import TYPE_CHECKING

import pytest

from interlock.core.clock import SystemClock
from interlock.core.errors import Corrupt, Invalid
from interlock.store.ledger_keys import LedgerKeys
from interlock.store.notes import Head, parse_public_key, sign_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

ORIGIN = "interlock/test"


def test_the_key_is_made_on_first_use_and_stays(tmp_path: Path) -> None:
    keys = LedgerKeys(tmp_path / "deep" / "keys", ORIGIN)
    assert not keys.is_made
    assert keys.public() is None
    assert not (tmp_path / "deep").exists()
    key = keys.private()
    assert LedgerKeys(tmp_path / "deep" / "keys", ORIGIN).private() == key
    assert keys.public() == key.public
    folder = tmp_path / "deep" / "keys"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "ledger.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "ledger.vkey").stat().st_mode) == 0o644
    assert parse_public_key((folder / "ledger.vkey").read_text().strip()) == key.public
    assert sorted(file.name for file in folder.iterdir()) == ["ledger.key", "ledger.vkey"]


def test_threads_that_make_it_at_once_agree(tmp_path: Path) -> None:
    barrier, found = threading.Barrier(8), []

    def make() -> None:
        keys = LedgerKeys(tmp_path, ORIGIN)
        barrier.wait()
        found.append(keys.private())

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.parametrize("name", ["ledger.key", "ledger.vkey"])
@pytest.mark.parametrize("text", ["", "nonsense", "\udcff"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, text: str) -> None:
    keys = LedgerKeys(tmp_path, ORIGIN)
    keys.private()
    if name == "ledger.vkey":
        (tmp_path / "ledger.key").unlink()
    (tmp_path / name).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(Corrupt, match=name):
        keys.public()


def test_the_key_of_another_ledger_is_refused(tmp_path: Path) -> None:
    LedgerKeys(tmp_path, ORIGIN).private()
    with pytest.raises(Corrupt, match="interlock/test"):
        LedgerKeys(tmp_path, "interlock/other").private()


@pytest.mark.parametrize("origin", ["", "a b", "a+b", "a\nb"])
def test_an_origin_that_cannot_name_a_key_is_refused(tmp_path: Path, origin: str) -> None:
    with pytest.raises(Invalid):
        LedgerKeys(tmp_path, origin)


def test_the_largest_checkpoint_is_remembered(tmp_path: Path) -> None:
    keys = LedgerKeys(tmp_path, ORIGIN)

    def note(size: int) -> str:
        return sign_checkpoint(Head(ORIGIN, size, bytes(32)), keys.private(), SystemClock().now())

    assert keys.remembered() is None
    five, three, nine = note(5), note(3), note(9)
    for signed, newest in ((five, five), (three, five), (nine, nine)):
        keys.remember(signed)
        assert keys.remembered() == newest
    (tmp_path / "ledger.checkpoint").write_text("spoiled")
    keys.remember(three)
    assert keys.remembered() == three

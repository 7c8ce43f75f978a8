from __future__ import annotations

import threading
from pathlib import Path

import pytest

from interlock.core.errors import Corrupt
from interlock.store.keyfile import secret_key


def test_a_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "a.key"
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(secret_key(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert len(found[0]) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["a.key"]


def test_a_damaged_key_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "a.key").write_bytes(b"short")
    with pytest.raises(Corrupt, match=r"a\.key is damaged"):
        secret_key(tmp_path / "a.key")

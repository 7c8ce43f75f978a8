"""What every object store must do."""

from __future__ import annotations

import hashlib
import io
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Protocol

from interlock.core.errors import Invalid, NotFound
from interlock.core.ports import ObjectStore, Removable
from interlock.testing.raises import raises

_SAMPLES = (b"", b"x", bytes(range(256)) * 5000)


class RemovableStore(ObjectStore, Removable, Protocol):
    """An object store from which a collection may remove."""


def check_object_store(store: ObjectStore) -> None:
    """Accept an empty object store that keeps the port's promises.

    Args:
        store: the store, with nothing in it.

    Raises:
        AssertionError: it breaks one.
    """
    for data in _SAMPLES:
        digest = hashlib.sha256(data).hexdigest()
        assert store.size(digest) is None, "an object that was never put has no size"
        raises(NotFound, partial(store.get, digest))
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "source"
            path.write_bytes(data)
            assert store.put(path) == digest, "a file's digest is its SHA-256"
            assert store.put(io.BytesIO(data)) == store.put(data) == digest, (
                "all sources of the same bytes are one object"
            )
            store.fetch(digest, Path(name) / "target")
            assert (Path(name) / "target").read_bytes() == data, "fetch writes the bytes"
        assert store.get(digest) == data, "get returns the bytes"
        assert store.size(digest) == len(data), "size counts the bytes"
        assert store.hold(digest), "what is here can be held"
    assert not store.hold("0" * 64), "what is not here cannot be held"
    for text in ("", "../x", "A" * 64, "0" * 63):
        raises(Invalid, partial(store.get, text))


def check_removable(store: RemovableStore) -> None:
    """Accept an empty object store that keeps the promises to collections of garbage, too.

    Args:
        store: the store, with nothing in it.

    Raises:
        AssertionError: it breaks one.
    """
    begun = time.time() - 60
    wanted = sorted(store.put(data) for data in _SAMPLES)
    assert sorted(store.digests()) == wanted, "each is there once"
    for data in _SAMPLES:
        digest = hashlib.sha256(data).hexdigest()
        held = store.look(digest)
        assert held is not None, "what is here is known"
        assert held.size_bytes == len(data), "it has its size"
        assert held.touched_at >= begun, "it was put now"
        assert not store.remove(digest, begun), "what was put since is not removed"
        assert store.hold(digest), "it is here as before"
        assert store.remove(digest, time.time() + 60), "what was put before is removed"
        assert store.look(digest) is None, "then it is gone"
        raises(NotFound, partial(store.get, digest))
        assert not store.remove(digest, time.time() + 60), "what is not here is not removed"
    store.sweep(begun)
    assert not list(store.digests()), "nothing is left"

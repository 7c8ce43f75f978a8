"""What every object store must do."""

from __future__ import annotations

import hashlib
import io
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.core.errors import Invalid, NotFound
from interlock.testing.raises import raises

if TYPE_CHECKING:
    from interlock.core.ports import ObjectStore

_SAMPLES = (b"", b"x", bytes(range(256)) * 5000)


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
    assert sorted(store.digests()) == sorted(hashlib.sha256(data).hexdigest() for data in _SAMPLES), (
        "each is there once"
    )
    for text in ("", "../x", "A" * 64, "0" * 63):
        raises(Invalid, partial(store.get, text))

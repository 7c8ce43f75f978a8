"""Files as operations see them: a name and a digest, the bytes waiting to be kept or refused."""

from __future__ import annotations

import re

import msgspec

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


class StoredFile(msgspec.Struct, frozen=True):
    """A file whose bytes are an object, or an upload that an operation may keep.

    A `Workspace` accepts a path of the caller's machine wherever an operation takes one of these, and sends its bytes
    first; so the operation itself never opens a path that a client named.

    Attributes:
        name: the file's name, without folders.
        digest: the SHA-256 of its bytes, in hexadecimal.
        size_bytes: how many bytes it has.
    """

    name: str
    digest: str
    size_bytes: int

    def __str__(self) -> str:
        return self.name


def is_digest(text: str) -> bool:
    """Return whether a text is a SHA-256 in lower-case hexadecimal."""
    return _DIGEST.match(text) is not None

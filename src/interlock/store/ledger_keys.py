"""The ledger's signing key, in files beside the database, and the key's memory of what it has signed.

`ledger.key` is secret, `ledger.vkey` is what verifiers need, `ledger.checkpoint` is the newest checkpoint: a database
that was put back to an older state does not have it, and so is noticed. Files are whole or not there, and synced.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from interlock.core.errors import Corrupt, Invalid
from interlock.store.notes import PrivateKey, is_origin, parse_head, parse_note, parse_private_key, parse_public_key
from interlock.store.objects import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.store.notes import PublicKey

_KEY: Final = "ledger.key"
_VKEY: Final = "ledger.vkey"
_CHECKPOINT: Final = "ledger.checkpoint"
_SEED_BYTES: Final = 32


class LedgerKeys:
    """The key of one ledger, made on first use.

    Args:
        folder: where the files are; made, for its owner only, when it is missing.
        origin: the ledger's name, which is the key's name too.

    Raises:
        Invalid: the origin cannot name a key.
    """

    def __init__(self, folder: Path, origin: str) -> None:
        if not is_origin(origin):
            raise Invalid(
                f"{origin!r} cannot be the origin of a ledger.",
                about="ledger",
                hint="Use a name like interlock/team, without spaces and '+'.",
            )
        self._folder = folder
        self._origin = origin

    @property
    def is_made(self) -> bool:
        """Whether the secret key is here."""
        return (self._folder / _KEY).exists()

    def private(self) -> PrivateKey:
        """Return the key, made when there is none; processes that make it at once get the same one.

        Raises:
            Corrupt: its file is damaged, or is the key of another ledger.
        """
        if not self.is_made:
            self._make()
        try:
            key = parse_private_key((self._read(_KEY) or "").removesuffix("\n"))
        except Invalid as error:
            raise self._damaged(_KEY, error.message) from None
        self._check_name(key.name, _KEY)
        return key

    def public(self) -> PublicKey | None:
        """Return the key that verifies, or None when none was ever made. None is made here.

        Raises:
            Corrupt: its file is damaged, or is the key of another ledger.
        """
        if self.is_made:
            return self.private().public
        text = self._read(_VKEY)
        if text is None:
            return None
        try:
            key = parse_public_key(text.removesuffix("\n"))
        except Invalid as error:
            raise self._damaged(_VKEY, error.message) from None
        self._check_name(key.name, _VKEY)
        return key

    def remembered(self) -> str | None:
        """Return the newest checkpoint that the key signed, as a note, or None when it has signed none."""
        return self._read(_CHECKPOINT)

    def remember(self, note: str) -> None:
        """Keep a checkpoint as the newest, unless one of a larger size is kept already."""
        with self._locked():
            old = self.remembered()
            if old is None or _size(old) < _size(note):
                self._write(_CHECKPOINT, note, 0o600)

    def _make(self) -> None:
        with self._locked():
            if not self.is_made:
                key = PrivateKey(self._origin, os.urandom(_SEED_BYTES))
                self._write(_VKEY, key.public.vkey + "\n", 0o644)
                self._write(_KEY, key.text + "\n", 0o600)

    def _read(self, name: str) -> str | None:
        try:
            return (self._folder / name).read_bytes().decode(errors="replace")
        except FileNotFoundError:
            return None

    def _write(self, name: str, text: str, mode: int) -> None:
        handle, temporary = tempfile.mkstemp(dir=self._folder, prefix=f"{name}.")
        try:
            with os.fdopen(handle, "wb") as sink:
                sink.write(text.encode())
                sink.flush()
                os.fchmod(sink.fileno(), mode)
                os.fsync(sink.fileno())
            Path(temporary).replace(self._folder / name)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        sync_folder(self._folder)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other threads and processes from writing below the folder."""
        if not self._folder.exists():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(self._folder.parent)
        handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _check_name(self, name: str, file: str) -> None:
        if name != self._origin:
            raise self._damaged(file, f"It is the key of {name!r}, this ledger is {self._origin!r}.")

    def _damaged(self, name: str, why: str) -> Corrupt:
        return Corrupt(
            f"{name} cannot be used. {why}",
            about="ledger",
            hint=f"Put {name} back from a backup of {self._folder}.",
            file=name,
        )


def _size(note: str) -> int:
    """Return the size in a checkpoint that we wrote, -1 where the file was spoiled."""
    try:
        return parse_head(parse_note(note)[0]).size
    except Invalid:
        return -1

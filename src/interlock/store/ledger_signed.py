"""Checking a ledger's checkpoints: signature, columns, root, and that none was taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.core.clock import to_micros
from interlock.core.errors import Invalid
from interlock.store.notes import PLAIN, TIMED, parse_note, verify_checkpoint

if TYPE_CHECKING:
    from interlock.core.ports import Reader
    from interlock.store.ledger_frontier import Report
    from interlock.store.notes import PublicKey, SignedHead

_PAGE: Final = 1000


class SignedStates:
    """The checkpoints of one ledger, compared with the tree as it is recomputed.

    Args:
        reader: the database.
        report: where differences go.
        key: the key that verifies them, None where none was made.
    """

    def __init__(self, reader: Reader, report: Report, key: PublicKey | None) -> None:
        self._reader = reader
        self._report = report
        self._key = key
        self._end = 0
        self._newest: object = None
        self.sound = 0
        self._seen = 0
        self._is_miscounted = False

    def begin(self, end: int, newest: object, root: tuple[bytes, ...]) -> None:
        """Settle what is checked: a ledger of `end` entries, and no checkpoint after `newest`."""
        self._end, self._newest = end, newest
        for size in self.sizes(-1, 0):
            self.check(size, root)

    def sizes(self, low: int, high: int) -> set[int]:
        """Return the sizes, larger than `low` and up to `high`, that were signed."""
        rows = self._reader.all(
            "SELECT size FROM ledger_checkpoints WHERE size > :low AND size <= :high AND size <= :newest",
            {"low": low, "high": high, "newest": self._newest},
        )
        for row in rows:
            if type(row["size"]) is not int:  # no tree has this size; it is wrong, and is named as such
                self.check(row["size"])
        return {row["size"] for row in rows if type(row["size"]) is int}

    def check(self, size: object, roots: tuple[bytes, ...] = ()) -> None:
        """Check the checkpoint of one size.

        Args:
            size: what its row says.
            roots: the roots that the tree of this size may have.
        """
        try:
            row = self._reader.one(
                "SELECT size, number, root, note, signed_at FROM ledger_checkpoints WHERE size = :size", {"size": size}
            )
        except UnicodeDecodeError:
            row = None
        signed = self._open(row["note"]) if row else None
        place = signed.head.size if signed else self._place(size)
        self._count(place, row["number"] if row else self._seen + 1)
        if signed is None or row is None:
            self._report.add("signature", place, f"The checkpoint of size {size!r} has no valid signature.")
            return
        head, at = signed.head, signed.signed_at
        if (row["size"], row["root"], row["signed_at"]) != (head.size, head.root, at and to_micros(at)):
            self._report.add("column", place, f"The checkpoint of size {place} and its columns differ.")
        elif place > self._end:
            self._removed(place)
        elif head.root not in roots:
            self._report.add("root", place, f"The first {place} entries do not have the root that was signed.")
        else:
            self.sound += 1

    def finish(self, remembered: str | None) -> None:
        """Check what the tree cannot show: checkpoints beyond its end, and missing ones.

        Args:
            remembered: the newest checkpoint that the key is known to have signed.
        """
        for row in self._reader.all(
            "SELECT size FROM ledger_checkpoints WHERE (size < 0 OR size > :end) AND size <= :newest ORDER BY size"
            " LIMIT :limit",
            {"end": self._end, "newest": self._newest, "limit": _PAGE},
        ):
            self.check(row["size"])
        if remembered is not None:
            self._check_remembered(remembered)

    def _count(self, place: int, number: object) -> None:
        """Check that checkpoints are numbered 1, 2, 3 ..., so that none is missing; name the first that is not."""
        self._seen += 1
        if number != self._seen and not self._is_miscounted:
            self._is_miscounted = True
            self._report.add(
                "number",
                place,
                f"The checkpoint of size {place} is numbered {number!r}, not {self._seen}: its number was changed,"
                " or one before it was taken away.",
            )

    def _check_remembered(self, remembered: str) -> None:
        signed = self._open(remembered)
        if signed is None:
            self._report.add(
                "signature", self._end, "The checkpoint that is kept beside the key has no valid signature."
            )
        elif signed.head.size > self._end:
            self._removed(signed.head.size)
        elif not self._reader.one("SELECT size FROM ledger_checkpoints WHERE size = :size", {"size": signed.head.size}):
            self._report.add(
                "number",
                signed.head.size,
                f"The checkpoint of size {signed.head.size} was taken away: the key signed it.",
            )

    def _open(self, note: object) -> SignedHead | None:
        """Return what a checkpoint says, None unless it is signed and written as we do both."""
        if self._key is None or not isinstance(note, str):
            return None
        try:
            signed = verify_checkpoint(note, self._key)
        except Invalid:
            return None
        ids = [signature.key_id for signature in parse_note(note)[1]]
        ours = [self._key.key_id(PLAIN), self._key.key_id(TIMED)]
        return signed if ids == ours and signed.signed_at is not None else None

    def _removed(self, size: int) -> None:
        self._report.add(
            "removed", self._end, f"The ledger had {size} entries when its key signed it, and has {self._end} now."
        )

    def _place(self, size: object) -> int:
        return size if type(size) is int and size >= 0 else self._end

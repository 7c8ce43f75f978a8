"""What runs have said and no disk has yet: usually of a tenth of a second; on a full disk, so much and no more.

While nothing can be written, memory is all there is. It takes 64 MiB; then points and lines of the log are left out and
counted, and when the disk has room again, the log of each run says how many are missing and when.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.sdk.recording.console import stamped
from interlock.sdk.recording.entries import Ended, Points, Resumed, Said, Started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from interlock.sdk.recording import entries

MOST_BYTES: Final = 64 << 20
_ENTRY_BYTES: Final = 500  # of an entry's objects, besides what they hold


class Missing(msgspec.Struct):
    """What was left out of a run: points, lines of the log, other things, and when that began."""

    points: int = 0
    lines: int = 0
    others: int = 0
    since_ns: int = 0

    def __str__(self) -> str:
        counted = ((self.points, "points"), (self.lines, "lines of the log"), (self.others, "other things"))
        return " and ".join(f"{count} {what}" for count, what in counted if count)


class Held:
    """Entries that wait for the disk, in their order."""

    def __init__(self) -> None:
        self.entries: list[entries.Any] = []
        self.missing: dict[str, Missing] = {}
        self._stuck = False
        self._bytes = 0

    def add(self, said: Iterable[entries.Any]) -> bool:
        """Take entries, or what there is room for; return whether something was left out for the first time."""
        full = bool(self.missing)
        for entry in said:
            size = _size(entry)
            if self._stuck and self._bytes + size > MOST_BYTES and not isinstance(entry, Started | Resumed | Ended):
                self._leave_out(entry, size)
            else:
                self._take(entry, size)
        return not full and bool(self.missing)

    def refused(self) -> None:
        """Remember that the disk takes nothing: from now on there is only so much room."""
        self._stuck = True

    def keep_only(self, is_sound: Callable[[entries.Any], bool]) -> int:
        """Forget entries that can never be written; return how many those were."""
        before = len(self.entries)
        self.entries = [entry for entry in self.entries if is_sound(entry)]
        self._bytes = sum(map(_size, self.entries))
        return before - len(self.entries)

    def whole(self) -> list[entries.Any]:
        """Return the entries, and a line in the log of each run of which something was left out."""
        told = []
        for run, what in self.missing.items():
            since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(what.since_ns / 1e9))
            line = f"interlock: {what} are missing here: nothing could be written to disk since {since}."
            told.append(Said(run, log=stamped("log", line)))
        return self.entries + told

    def written(self) -> None:
        """Forget all, which is on disk."""
        self.entries, self.missing, self._bytes, self._stuck = [], {}, 0, False

    def _take(self, entry: entries.Any, size: int) -> None:
        self.entries.append(entry)
        self._bytes += size

    def _leave_out(self, entry: entries.Any, size: int) -> None:
        """Count an entry; of words, leave out the lines of the log first."""
        missing = self.missing.setdefault(entry.run, Missing(since_ns=time.time_ns()))
        if isinstance(entry, Points):
            missing.points += count_points(entry)
            return
        if isinstance(entry, Said) and entry.log:
            missing.lines += entry.log.count("\n")
            entry = msgspec.structs.replace(entry, log="")
            size = _size(entry)
            if not (entry.params or entry.tags or entry.inputs):
                return
        if self._bytes + size <= 2 * MOST_BYTES:  # params and files are worth more than points are
            self._take(entry, size)
        else:
            missing.others += 1


def count_points(entry: Points) -> int:
    """Return how many points an entry has."""
    return sum(len(values) // 8 for part in (entry.columns, entry.following) for _, _, values in part.values())


def _size(entry: entries.Any) -> int:
    """Return about how many bytes of memory an entry takes."""
    if isinstance(entry, Points):
        return _ENTRY_BYTES + 24 * count_points(entry)
    if isinstance(entry, Said):
        words = (*entry.params.items(), *entry.tags.items(), entry.inputs)
        return _ENTRY_BYTES + len(entry.log) + sum(map(len, (text for pair in words for text in pair)))
    return _ENTRY_BYTES

"""What the parts of an import share: the store they read, the workspace they write, and both sides' counts.

`there` is counted while the store is read. `here` is counted in the workspace afterwards, thing by thing, by asking its
database what it holds of them; nothing is taken to be here because it was written.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, TypeVar

from interlock.bridges.mlflow.careful import UNREADABLE, why
from interlock.registry.catalogue import Catalogue
from interlock.track.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from interlock.bridges.mlflow.records import Source
    from interlock.store import Store

_Item = TypeVar("_Item")
_MOST_LEFT: Final = 10_000


class Watch:
    """Is told how an import or export goes; this one keeps it to itself."""

    def expects(self, runs: int | None) -> None:
        """Take note of how many runs there are; None where nobody knows."""

    def began(self, what: str) -> None:
        """Take note that an experiment or registered model is next."""

    def took(self, what: str) -> None:
        """Take note that a run was looked at."""

    def ended(self) -> None:
        """Take note that all was looked at."""


class Intake:
    """One import.

    Args:
        store: the workspace.
        source: the store.
        watch: is told how it goes.
        dry: whether it only counts.

    Attributes:
        there: how many of each kind the store has.
        here: how many of these the workspace has.
        experiments: the ids of experiments here by their ids there.
    """

    def __init__(self, store: Store, source: Source, watch: Watch, *, dry: bool) -> None:
        self.store, self.source, self.watch, self.dry = store, source, watch, dry
        self.tracker, self.registry = Tracker(store), Catalogue(store)
        self.there: Counter[str] = Counter()
        self.here: Counter[str] = Counter()
        self.experiments: dict[str, str] = {}
        self._left: list[str] = []
        self._more = 0

    def leave(self, what: str) -> None:
        """Tell what could not be taken over, and why."""
        if len(self._left) < _MOST_LEFT:
            self._left.append(what)
        else:
            self._more += 1

    def left(self) -> tuple[str, ...]:
        """Return what was left here and by the source, each once; names of files that are no text are made one."""
        self._drain()
        lines = dict.fromkeys(line.encode("utf-8", "replace").decode() for line in self._left)
        return (*lines, *([f"{self._more:,} more."] if self._more else []))

    def guarded(self, what: str, work: Callable[[], None]) -> None:
        """Do a part; what it cannot take over is told in the report and stops nothing else."""
        try:
            work()
        except UNREADABLE as error:
            self.leave(f"{what}: {why(error)}")
        self._drain()

    def each(self, what: str, items: Iterator[_Item]) -> Iterator[_Item]:
        """Yield items; where reading breaks off, what comes after is told to be left, and it ends."""
        count = 0
        while True:
            try:
                item = next(items)
            except StopIteration:
                return
            except UNREADABLE as error:
                self.leave(f"{what}: reading broke off after {count:,}, so all after these are left: {why(error)}")
                return
            count += 1
            yield item

    def tally(self, kind: str, theirs: Mapping[str, _Item], ours: Mapping[str, _Item]) -> None:
        """Count the values of one kind that they have, and those of them that are the same here."""
        self.there[kind] += len(theirs)
        self.here[kind] += sum(name in ours and ours[name] == value for name, value in theirs.items())

    def _drain(self) -> None:
        for line in self.source.left:
            self.leave(line)
        self.source.left.clear()

"""The models of one server, each under a name with an engine of its own; loaded and unloaded while others answer.

A model answers once it is loaded and has given its golden answers, which warms it too. One that fails is refused with
its reason, and the others go on. All engines share a prediction log, the counters and the server's limits.

Who may change what is served: where the server was started with explicit control, whoever reaches it, apart from pages
in browsers; from the workspace's registry, and from folders below the server's roots. Else nobody.
"""

from __future__ import annotations

import asyncio
import ctypes
import re
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from interlock.core.errors import Conflict, Corrupt, Error, Invalid, NotFound
from interlock.serve.engine import Report
from interlock.serve.http import refusal
from interlock.serve.watch import Watcher, reasons

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from interlock.serve.app import Limits
    from interlock.serve.engine import Engine
    from interlock.serve.sources import Source

State = Literal["LOADING", "READY", "UNLOADING", "UNAVAILABLE"]
_NAME: Final = re.compile(r"[\w.@:+-]{1,200}", re.ASCII)
_POLL_S: Final = 0.25
_LOOK_S: Final = 0.005
_DRAIN_S: Final = 20.0
_STATM: Final = Path("/proc/self/statm")
_PAGE: Final = 4096


class Supply(Protocol):
    """Where models come from."""

    def source(self, place: str) -> Source:
        """Return what says how a model of a reference or a folder is loaded.

        Raises:
            Error: there is none that may be served.
        """
        ...

    def size(self, source: Source) -> int:
        """Return how many bytes the files of what is wanted have."""
        ...


class Entry:
    """One name.

    Attributes:
        name: the name.
        place: where its model came from.
        engine: what answers.
        watcher: what loads, and follows an alias.
        meant: whether the server was started for it; then it is not ready without.
        live: whether it is followed.
    """

    def __init__(self, name: str, place: str, watcher: Watcher, engine: Engine, *, meant: bool = False) -> None:
        self.name = name
        self.place = place
        self.watcher = watcher
        self.engine = engine
        self.meant = meant
        self.live = True
        self._lock = threading.Lock()

    def tick(self) -> None:
        """Follow what is wanted, unless it is retired."""
        with self._lock:
            if self.live:
                self.watcher.tick()

    def retire(self) -> None:
        """Follow it no more; waits for a load that is under way."""
        with self._lock:
            self.live = False


class Repository:
    """See the module.

    Args:
        supply: where models come from; None where nothing is loaded later.
        make: makes an engine of a name.
        limits: what the server takes on.
        explicit: whether callers may load and unload.
        memory_bytes: how much memory the process may have after a load; 0 for no bound.
        resident: how much it has.
    """

    def __init__(
        self,
        make: Callable[[str], Engine],
        limits: Limits,
        *,
        supply: Supply | None = None,
        explicit: bool = False,
        memory_bytes: int = 0,
        resident: Callable[[], int] | None = None,
    ) -> None:
        self.explicit = explicit
        self.limits = limits
        self._make = make
        self._supply = supply
        self._memory_bytes = memory_bytes
        self._resident = resident or resident_bytes
        self._entries: dict[str, Entry] = {}
        self._under_way: dict[str, State] = {}
        self._refused: dict[str, str] = {}
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()  # the event loop itself keeps none alive
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def mean(self, name: str, place: str, watcher: Watcher, engine: Engine) -> None:
        """Have a model from the start, which is loaded by `start` and followed."""
        if name in self._entries:
            raise Invalid(f"{name!r} is named twice.", about="model", hint="Name each model once.")
        engine.fleet = self
        self._entries[name] = Entry(name, place, watcher, engine, meant=True)

    def start(self) -> None:
        """Load what was named at the start, one after the other, and follow it, in a thread."""
        self._thread = threading.Thread(target=self._watch, name="interlock-repository", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop following."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def number(self) -> int | None:
        """Return the revision of the first model; 0 where there is none.

        None while the first is not there yet, or others that were named at the start are neither loaded nor refused.

        Raises:
            Error: none of them answers, nor will by itself, and nobody may load another: the server has nothing to do.
        """
        if not self.explicit and (error := self._hopeless()) is not None:
            raise error
        entries = [entry for entry in list(self._entries.values()) if entry.meant]
        if any(entry.engine.revision is None and entry.watcher.error is None for entry in entries[1:]):
            return None
        first = entries[0].engine.revision if entries else None
        return 0 if not entries else None if first is None else first.number

    def _hopeless(self) -> Error | None:
        """Return why nothing that was named at the start will ever answer, None where some does or may yet.

        A deployment may: its row follows what is deployed, and names no place.
        """
        entries = [entry for entry in list(self._entries.values()) if entry.meant]
        errors = [entry.watcher.error for entry in entries if entry.engine.revision is None]
        lasting = [error for error in errors if error is not None and not error.transient]
        return (
            lasting[0] if lasting and len(lasting) == len(entries) and all(entry.place for entry in entries) else None
        )

    def find(self, name: str, version: str = "") -> Engine:
        """Return the engine that answers to a name; "" is for those who name none: the first.

        A name of the repository goes before that of a model which is served under another; of several versions the
        newest answers.

        Raises:
            NotFound: nothing is loaded of this name.
        """
        entries = self._entries
        if (entry := entries.get(name)) is not None:
            return entry.engine
        if len(entries) == 1 and not self.explicit:
            return next(iter(entries.values())).engine  # it knows by itself what it is called
        known = [(e.engine.revision, e.engine) for e in entries.values()]
        if not name:
            if known:
                return next((engine for revision, engine in known if revision is not None), known[0][1])
            raise NotFound("No model is loaded.", about="model", hint="Load one, or start the server with one.")
        found = [(r.number, engine) for r, engine in known if r is not None and (name, version) in r.views]
        if found:
            return max(found, key=lambda one: one[0])[1]
        raise NotFound.named("model", f"{name}@{version}" if version else name, entries, hint="GET /v2/models has all.")

    def engines(self) -> list[Engine]:
        """Return the engines of all that answers now, or should since the start."""
        return [e.engine for e in list(self._entries.values()) if e.meant or e.engine.revision is not None]

    def reports(self) -> list[Report]:
        """Return what became of each model that answers, or should since the start."""
        shown = [e for e in list(self._entries.values()) if e.meant or e.engine.revision is not None]
        return [Report(e.name, e.engine, reasons(e.watcher.error)) for e in shown]

    def tell(self, told: dict[str, str], refused: Callable[[str, str], None]) -> None:
        """Tell of each model what stands in its way, unless that was told before.

        Args:
            told: what was told last, by name; it is brought up to date.
            refused: is told a name and the reason.
        """
        for report in self.reports():
            why = " ".join(report.errors)
            if why and told.get(report.name) != why:
                refused(report.name, why)
            told[report.name] = why

    def index(self) -> list[dict[str, str]]:
        """Return each name, version, state and reason, and where it came from; what was refused is there too."""
        listed = []
        for entry in self._entries.values():
            error = entry.watcher.error
            if (revision := entry.engine.revision) is None:
                state = "LOADING" if error is None else "UNAVAILABLE"
                listed.append(_row(entry.engine.alias or entry.name, "", state, entry.place, str(error or "")))
                continue
            for live in revision.routes:
                name = entry.engine.alias or live.name
                listed.append(_row(name, live.version, "READY", entry.place, ""))
        listed += [
            _row(name, "", state, "", "") for name, state in self._under_way.items() if name not in self._entries
        ]
        return listed + [_row(name, "", "UNAVAILABLE", "", why) for name, why in self._refused.items()]

    async def load(self, name: str, place: str = "", *, anew: bool = True) -> None:
        """Load a model and let it answer; one of this name and place takes over what is wanted now.

        Args:
            name: the name to answer to.
            place: a reference, or a folder; "" for a name that is a reference itself.
            anew: whether one that answers already is loaded again, and not refused.

        Raises:
            Conflict: the name has a model already.
            Invalid: nobody may load here; the memory would not do (status 507); or it is no model that can answer.
            Error: whatever else loading it raised.
        """
        supply = self._allowed(name)
        await self._change(lambda: self._load(supply, name, place or name, anew))

    async def unload(self, name: str) -> None:
        """Let a name answer no more; return when all that it began is finished and its memory free.

        Raises:
            NotFound: nothing is loaded of this name.
            Invalid: nobody may unload here.
        """
        self._allowed(name)
        await self._change(lambda: self._unload(name))

    async def _change(self, change: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Make a change beside no other one; it is made to its end, also where the caller goes away meanwhile."""
        await self._changing.acquire()
        task = asyncio.create_task(change())
        self._tasks.add(task)
        task.add_done_callback(self._changed)
        await asyncio.shield(task)

    def _changed(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._changing.release()

    async def _load(self, supply: Supply, name: str, place: str, anew: bool) -> None:
        held = self._entries.get(name)
        if held is not None:
            if not anew or held.place != place:
                raise Conflict(f"Model {name!r} is loaded already.", about="model", hint="Unload it first.")
            await asyncio.to_thread(_again, held)
            return
        self._under_way[name] = "LOADING"
        self._refused.pop(name, None)
        try:
            self._entries[name] = await asyncio.to_thread(self._loaded, supply, name, place)
        except Error as error:
            if _NAME.fullmatch(name) and len(self._refused) < 100 and not isinstance(error, NotFound):
                self._refused[name] = str(error)
            if isinstance(error, Corrupt):  # whoever sent us there can mend it, so it is no fault of the server's
                raise Invalid(error.message, about="model", hint=error.hint, findings=error.findings) from None
            raise
        finally:
            del self._under_way[name]

    async def _unload(self, name: str) -> None:
        entry = self._entries.pop(name, None)
        if entry is None:
            if self._refused.pop(name, None) is not None:
                return
            raise NotFound.named("model", name, self._entries, hint="It is not loaded.")
        self._under_way[name] = "UNLOADING"
        try:
            await asyncio.to_thread(entry.retire)
            with suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN_S):
                    while entry.engine.answering:  # noqa: ASYNC110 - an event would cost at every request
                        await asyncio.sleep(_LOOK_S)
            await asyncio.to_thread(_release, entry.engine)
        finally:
            del self._under_way[name]

    def _allowed(self, name: str) -> Supply:
        if not self.explicit or self._supply is None:
            raise Invalid(
                "Models are not loaded by hand here.",
                hint="Deploy a version (interlock deploy), or start with --model-control explicit.",
            )
        if not _NAME.fullmatch(name):
            raise Invalid(
                "This cannot be the name of a model.", hint="Letters, digits and any of . _ - + @ : are taken."
            )
        return self._supply

    def _loaded(self, supply: Supply, name: str, place: str) -> Entry:
        """Return a model that answers; runs in a thread."""
        source = supply.source(place)
        if self._memory_bytes:
            self._check_memory(name, supply.size(source))
        engine = self._make(name)
        engine.alias = name
        watcher = Watcher(engine, source)
        watcher.check()
        if watcher.error is not None:
            _release(engine)
            raise watcher.error
        if self._memory_bytes:
            try:
                self._check_memory(name, 0)
            except Error:
                _release(engine)
                raise
        return Entry(name, place, watcher, engine)

    def _check_memory(self, name: str, more: int) -> None:
        need = self._resident() + more
        if need > self._memory_bytes:
            raise refusal(
                507,
                f"Model {name!r} would take the server to {need:,} bytes; {self._memory_bytes:,} is its bound.",
                hint="Unload another model first, or raise --memory-bytes.",
            )

    def _watch(self) -> None:
        while True:
            for entry in list(self._entries.values()):
                entry.tick()
            if self._stop.wait(_POLL_S):
                return


def resident_bytes() -> int:
    """Return how much memory this process has, as the kernel counts it; 0 where it does not say."""
    try:
        return int(_STATM.read_text().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def _again(entry: Entry) -> None:
    entry.watcher.check()
    if entry.watcher.error is not None:
        raise entry.watcher.error


def _release(engine: Engine) -> None:
    """Let go of an engine's models, and give freed memory back to the kernel, so that the bound counts it no more."""
    revision, engine.revision = engine.revision, None
    for live in revision.routes if revision is not None else ():
        live.model.close()
    del revision
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc's; others keep it


def _row(name: str, version: str, state: str, place: str, reason: str) -> dict[str, str]:
    return {"name": name, "version": version, "state": state, "reason": reason, "place": place}

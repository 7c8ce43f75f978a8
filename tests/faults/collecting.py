"""Logs artifacts and registers versions from four threads beside collections of garbage, until it is killed.

    python collecting.py WORKSPACE RUN CONTENTS SEED

It names bytes without sending them, as clients do that were told that they are there; what has been collected it sends
again. What was acknowledged goes to stdout, a JSON list a line.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.core.errors import NotFound
from interlock.core.files import StoredFile
from interlock.registry.gc import collect
from interlock.registry.service import RegistryService
from interlock.store import Store, open_store
from interlock.track.service import TrackService

if TYPE_CHECKING:
    from collections.abc import Callable

_PRINTING = threading.Lock()


def say(*words: object) -> None:
    with _PRINTING:
        print(json.dumps(words), flush=True)


def named(store: Store, content: bytes, keep: Callable[[StoredFile], object]) -> None:
    """Name bytes that were sent some time ago, and send them again when they are gone."""
    file = StoredFile("file", hashlib.sha256(content).hexdigest(), len(content))
    while True:
        try:
            keep(file)
        except NotFound:
            say("gone")
            store.objects.put(content)
        else:
            return


def log(store: Store, run: str, contents: int, chance: random.Random) -> None:
    track = TrackService(store)
    for number in range(10**9):
        content, path = f"content {chance.randrange(contents)}".encode(), f"{chance.random()}/{number % 20}"
        named(store, content, lambda file, path=path: track.log_artifact(run, path, file))
        say("artifact", path, hashlib.sha256(content).hexdigest())


def register(store: Store, contents: int, chance: random.Random) -> None:
    registry = RegistryService(store)
    while True:
        content = f"content {chance.randrange(contents)}".encode()

        def publish(file: StoredFile) -> None:
            made = registry.publish("m", {"weights": file, "other": file})
            say("version", made.version, made.bundle)

        named(store, content, publish)


def sweep(store: Store) -> None:
    while True:
        found = collect(store, apply=True)
        say("removed", found.removed)


def main(folder: str, run: str, contents: str, seed: str) -> None:
    store, chances = open_store(Path(folder)), [random.Random(int(seed) * 4 + number) for number in range(4)]
    work: list[Callable[[], None]] = [
        *(lambda chance=chance: log(store, run, int(contents), chance) for chance in chances[:2]),  # type: ignore[misc]
        *(lambda chance=chance: register(store, int(contents), chance) for chance in chances[2:]),  # type: ignore[misc]
        lambda: sweep(store),
    ]
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()


main(*sys.argv[1:])

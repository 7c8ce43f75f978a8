"""What a version rests on, gathered from its run when it is registered, and kept as one object."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from interlock.core.canonical import canonical
from interlock.registry.content import files_of
from interlock.registry.packages import recorded_in
from interlock.registry.records import Pins

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.core.ports import ObjectStore
    from interlock.store import Store


def gather(store: Store, run: str, bundle: str, data: Sequence[str]) -> Pins:
    """Return what a version rests on; the environment is that of its run, or else what its files say.

    Args:
        store: where runs are.
        run: the run's id, or ""; one that is not here leaves the rest empty.
        bundle: the digest of the version's files, or "".
        data: references of its data; the run's own inputs when there are none.
    """
    reader, values = store.database, {"run": run}
    found = reader.one("SELECT code, environment, inputs FROM runs WHERE id = :run", values) if run else None
    environment = found["environment"] if found else ""
    if not environment and bundle and (record := recorded_in(store.objects, files_of(store.objects, bundle))):
        environment = store.objects.put(record)
    if found is None:
        return Pins(bundle, f"run:{run}" if run else "", "", environment, tuple(data), {}, {})
    params = reader.all("SELECT name, value FROM run_params WHERE run = :run ORDER BY name", values)
    inputs = [ref for ref in found["inputs"].split("\n") if ref.startswith("data:")]
    return Pins(
        bundle=bundle,
        run=f"run:{run}",
        code=found["code"],
        environment=environment,
        data=tuple(data or inputs),
        params={row["name"]: row["value"] for row in params},
        metrics={key: repr(point.value) for key, point in sorted(store.series.latest(run).items())},
    )


def keep(objects: ObjectStore, pins: Pins) -> str:
    """Return the digest of the stored record."""
    return objects.put(canonical(pins))


def read(objects: ObjectStore, digest: str) -> Pins:
    """Return a stored record; an empty one where a version has none."""
    if not digest:
        return Pins("", "", "", "", (), {}, {})
    return msgspec.json.decode(objects.get(digest), type=Pins)

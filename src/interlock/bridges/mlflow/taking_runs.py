"""Runs taken over: small ones in one transaction, large ones in pieces that a second import completes."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.bridges.mlflow.files import take_files
from interlock.core.clock import from_micros
from interlock.store.inbox import columns
from interlock.store.packing import sealed
from interlock.track.links import Dataset, Link
from interlock.track.records import ENDED, Start, Status
from interlock.track.runs import check_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.bridges.mlflow.intake import Intake
    from interlock.bridges.mlflow.records import Point, TheirRun
    from interlock.core.ports import Transaction
    from interlock.store.packing import Segment

_AT_ONCE: Final = 1 << 18  # points in a transaction
_SEGMENTS: Final = (
    "SELECT key, first_step, last_step, points FROM metric_segments WHERE run = :run ORDER BY key, first_step"
)


def take_run(intake: Intake, theirs: TheirRun, experiment: str) -> None:
    """Take a run over with its points, links and files.

    Args:
        intake: the import.
        theirs: the run.
        experiment: the id of its experiment here; "" where there is none, as in a dry run.
    """
    intake.there["runs"] += 1
    points: Counter[str] = Counter()
    try:
        _take(intake, theirs, experiment, points)
    finally:
        _count(intake, theirs, points)


def _take(intake: Intake, theirs: TheirRun, experiment: str, points: Counter[str]) -> None:
    row = intake.store.database.one("SELECT lifecycle FROM runs WHERE id = :id", {"id": theirs.id})
    if row is None and not intake.dry:
        _write(intake, theirs, experiment, points)
    else:
        for name, piece in intake.source.metrics(theirs):
            points[name] += len(piece)
        if row is not None and row["lifecycle"] == "active" and not intake.dry:
            _complete(intake, theirs, points)
    take_files(intake, "run", theirs.id, theirs.artifacts)
    if theirs.lifecycle == "deleted" and not intake.dry:
        intake.store.database.write(lambda tx: intake.tracker.runs.move(tx, theirs.id, "deleted"))


def _write(intake: Intake, theirs: TheirRun, experiment: str, points: Counter[str]) -> None:
    """Write a run that is not here; the last transaction ends it, so that one that broke off is seen to go on."""
    database, batches = intake.store.database, _batches(intake, theirs, points)
    first, following = next(batches), next(batches, None)

    def create(tx: Transaction) -> None:
        started_at = from_micros(theirs.started_ms * 1000)
        start = Start("", theirs.name, theirs.params, theirs.tags, id=theirs.id, started_at=started_at)
        intake.tracker.runs.create(tx, start, experiment, theirs.user)
        intake.tracker.links.add(tx, theirs.id, experiment, _links(theirs))
        _append(intake, theirs, first, tx, last=following is None)

    database.write(create)
    while following is not None:
        batch, following = following, next(batches, None)
        database.write(partial(_append, intake, theirs, batch, last=following is None))


def _complete(intake: Intake, theirs: TheirRun, points: Counter[str]) -> None:
    """Write what a run lacks that an earlier import left: its links, the rest of its points, its end."""
    database = intake.store.database
    row = database.one("SELECT experiment, status FROM runs WHERE id = :id", {"id": theirs.id})
    wanted = _links(theirs)
    if row is not None and len(intake.tracker.links.of([theirs.id]).get(theirs.id, ())) < len(wanted):
        database.write(lambda tx: intake.tracker.links.add(tx, theirs.id, row["experiment"], wanted))
    if all(found >= points[name] for name, found in held_points(intake, theirs.id, points).items()):
        return
    for batch in _batches(intake, theirs, Counter()):  # what is there already is written once
        database.write(partial(_append, intake, theirs, batch, last=False))
    if row is not None and row["status"] == "running":
        database.write(lambda tx: _end(intake, tx, theirs))


def _batches(intake: Intake, theirs: TheirRun, points: Counter[str]) -> Iterator[list[Segment]]:
    """Yield all points as segments, at least one batch of them, and count them."""
    batch: list[Segment] = []
    size = 0
    for name, piece in intake.source.metrics(theirs):
        points[name] += len(piece)
        batch += _packed(name, piece)
        size += len(piece)
        if size >= _AT_ONCE:
            yield batch
            batch, size = [], 0
    yield batch


def _packed(name: str, piece: list[Point]) -> Iterator[Segment]:
    check_names([name], "metric")
    return sealed(name, columns([(step, at_ms * 1000, value) for step, at_ms, value in piece]))


def _append(intake: Intake, theirs: TheirRun, batch: list[Segment], tx: Transaction, *, last: bool) -> None:
    metrics = intake.tracker.metrics
    metrics.append(tx, metrics.active_row(tx, theirs.id), batch)
    if last:
        _end(intake, tx, theirs)


def _end(intake: Intake, tx: Transaction, theirs: TheirRun) -> None:
    status: Status = msgspec.convert(theirs.status.lower(), Status)
    if status in ENDED:
        ended_ms = theirs.ended_ms if theirs.ended_ms is not None else theirs.started_ms
        intake.tracker.runs.finish(tx, theirs.id, status, "", ended_ms * 1000)
    elif status != "running":
        intake.tracker.runs.change(tx, theirs.id, status=status)


def _links(theirs: TheirRun) -> list[Link]:
    datasets = [
        Link(
            "dataset",
            given.name,
            given.digest,
            tags=given.tags,
            dataset=Dataset(given.name, given.digest, given.source_type, given.source, given.schema, given.profile),
        )
        for given in theirs.inputs
    ]
    read = [Link("model", model) for model in theirs.models]
    return [*datasets, *read, *(Link("output", made.model, step=made.step) for made in theirs.outputs)]


def _count(intake: Intake, theirs: TheirRun, points: Counter[str]) -> None:
    """Count what there is of a run, and what the database now holds of it."""
    row = intake.store.database.one("SELECT * FROM runs WHERE id = :id", {"id": theirs.id})
    found = intake.tracker.runs.load([row]) if row is not None else []
    intake.here["runs"] += len(found)
    intake.tally("params", theirs.params, found[0].params if found else {})
    intake.tally("tags", theirs.tags, found[0].tags if found else {})
    held = held_points(intake, theirs.id, points)
    intake.there.update(metrics=len(points), points=points.total())
    intake.here.update(metrics=sum(map(bool, held.values())), points=sum(min(held[k], points[k]) for k in points))
    links = {
        (link.kind, link.name, link.digest): link for link in intake.tracker.links.of([theirs.id]).get(theirs.id, ())
    }
    for kind, names in (("inputs", {"dataset", "model"}), ("outputs", {"output"})):
        wanted = {_place(link): link for link in _links(theirs) if link.kind in names}
        intake.there[kind] += len(wanted)
        intake.here[kind] += sum(place in links and links[place].step == link.step for place, link in wanted.items())


def _place(link: Link) -> tuple[str, str, str]:
    return link.kind, link.name, link.digest


def held_points(intake: Intake, run: str, names: Counter[str]) -> dict[str, int]:
    """Return how many points of these metrics the database holds of a run, each point once.

    Cost: one query; a metric whose segments overlap, or that has points which are not packed, is read.
    """
    database = intake.store.database
    found, last, unclear = dict.fromkeys(names, 0), dict[str, int](), set[str]()
    for row in database.all(_SEGMENTS, {"run": run}):
        key = row["key"]
        if key in found:
            found[key] += row["points"]
            if last.get(key, row["first_step"] - 1) >= row["first_step"]:
                unclear.add(key)
            last[key] = max(last.get(key, row["last_step"]), row["last_step"])
    if database.one("SELECT run FROM metric_inbox WHERE run = :run LIMIT 1", {"run": run}):
        unclear = set(found)
    return found | {key: len(intake.store.series.points(run, key)) for key in unclear}

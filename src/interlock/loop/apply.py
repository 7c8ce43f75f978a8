"""`interlock apply`: make the workspace what interlock.toml says; the plan is shown first and says the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from interlock.audit.service import AuditService
from interlock.core.canonical import digest
from interlock.core.clock import to_micros
from interlock.core.errors import Invalid, NotFound
from interlock.core.files import StoredFile
from interlock.core.ids import new_id
from interlock.data.records import Declaration
from interlock.data.service import DataService
from interlock.monitor.records import MonitorPlan
from interlock.monitor.service import MonitorService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from interlock.core.ports import Transaction
    from interlock.loop.project import Data, Project, ProjectFile
    from interlock.store import Store


class Change(msgspec.Struct, frozen=True):
    """One thing that `apply` does.

    Attributes:
        what: the reference of what is changed.
        action: create, update or none.
        detail: a sentence.
    """

    what: str
    action: Literal["create", "update", "none"]
    detail: str


Step = tuple[Change, "Callable[[], object]"]


def plan(store: Store, file: ProjectFile) -> list[Change]:
    """Return what `apply` would do; nothing is changed."""
    return [change for change, _ in _steps(store, file.project)]


def apply(store: Store, file: ProjectFile) -> list[Change]:
    """Return what was done to make the workspace what the file says; doing it again does nothing.

    Raises:
        Invalid: a source cannot be read or breaks its contract; what came before it in the plan stays done.
    """
    changes = []
    for change, work in _steps(store, file.project):
        if change.action != "none":
            work()
        changes.append(change)
    text = store.objects.put(file.text.encode())

    def record(tx: Transaction) -> None:
        row = tx.one("SELECT digest FROM applied WHERE name = 'project'")
        if row is not None and row["digest"] == text:
            return
        tx.run(
            "INSERT INTO applied (name, digest, applied_at) VALUES ('project', :digest, :at)"
            " ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, applied_at = excluded.applied_at",
            {"digest": text, "at": to_micros(store.clock.now())},
        )
        data = {"digest": text, "changes": [f"{c.action} {c.what}" for c in changes if c.action != "none"]}
        store.ledger.append(tx, "project.applied", f"pipeline:{file.project.project.name}", data)

    store.database.write(record)
    return changes


def applied_text(store: Store) -> str:
    """Return the interlock.toml that was applied last.

    Raises:
        NotFound: none was.
    """
    row = store.database.one("SELECT digest FROM applied WHERE name = 'project'")
    if row is None:
        raise NotFound("Nothing has been applied yet.", about="project", hint="Run `interlock apply`.")
    return store.objects.get(row["digest"]).decode()


def _steps(store: Store, project: Project) -> Iterator[Step]:
    data, audit, monitor = DataService(store), AuditService(store), MonitorService(store)
    for name, table in project.data.items():
        yield from _data_steps(store, data, name, table)
    for name, model in project.model.items():
        yield _policy_step(audit, project, name, dict(model.gates))
    for name, watched in project.monitor.items():
        deployment = project.deployment[name]
        dataset = _dataset_of(project, deployment.model_name)
        wanted = MonitorPlan(
            name, dataset.id, dataset.target, watched.window, watched.false_alarms, watched.quality.at_least
        )
        held = monitor.plan_of(name)
        action: Literal["create", "update", "none"] = "create" if held is None else "update"
        change = Change(
            f"monitor:{name}",
            "none" if held == wanted else action,
            f"watch {deployment.model} in windows of {watched.window}",
        )
        yield change, lambda name=name, wanted=wanted: monitor.set(name, wanted)  # type: ignore[misc]


def _data_steps(store: Store, data: DataService, name: str, table: Data) -> Iterator[Step]:
    wanted = Declaration(table.id, table.time, table.target, table.sensitive, table.columns)
    try:
        held = data.show(name)
    except NotFound:
        held = None
    action: Literal["create", "update", "none"] = "create" if held is None else "update"
    if held is not None and held.declaration == wanted:
        action = "none"
    roles = f"id {table.id or '-'}, target {table.target or '-'}, sensitive {', '.join(table.sensitive) or '-'}"
    yield Change(f"data:{name}", action, roles), lambda: data.declare(name, wanted)
    paths = [table.source] if isinstance(table.source, str) else table.source
    files = [_local(store, path) for pattern in paths if pattern for path in _matching(store.project, pattern, name)]
    if not files:
        return
    where = f" where {table.where}" if table.where else ""
    named = ", ".join(path.name for path in files)
    known = {(tuple(s.digest for s in v.sources), v.where) for v in data.versions(name)}
    sources = tuple(StoredFile(path.name, digest(path.read_bytes()), path.stat().st_size) for path in files)
    done = (tuple(source.digest for source in sources), table.where) in known
    change = Change(
        f"data:{name}@{1 + (held.versions if held else 0) - done}", "none" if done else "create", f"{named}{where}"
    )

    def ingest() -> None:
        call = new_id()
        try:
            for path in files:
                with path.open("rb") as source:
                    store.uploads.put(source, call)
            data.ingest(name, list(sources), table.where)
        finally:
            store.uploads.release(call)

    yield change, ingest


def _matching(project: Path, pattern: str, name: str) -> list[Path]:
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise Invalid(f"Source {pattern!r} of data {name!r} leaves the project's folder.", about="project")
    found = sorted(path for path in project.glob(pattern) if path.is_file())
    if not found:
        raise NotFound(
            f"No file matches source {pattern!r} of data {name!r}.",
            about="file",
            hint=f"It is looked for in {project}.",
        )
    return found


def _local(store: Store, path: Path) -> Path:
    if not path.resolve().is_relative_to(store.project.resolve()):
        raise Invalid(f"{path.name} is a link that leaves the project's folder.", about="file")
    return path


def _policy_step(audit: AuditService, project: Project, name: str, gates: dict[str, str | int]) -> Step:
    dataset = _dataset_of(project, name)
    wanted = audit.make_policy(gates, dataset.sensitive, dataset.target, dataset.id)
    held = audit.policy_of(name)
    action: Literal["create", "update", "none"] = "create" if held is None else "update"
    rules = ", ".join(f"{key} {value}" for key, value in gates.items())
    change = Change(f"model:{name}", "none" if held == wanted else action, f"gates: {rules}")
    return change, lambda: audit.set_policy(name, wanted)


def _dataset_of(project: Project, model: str) -> Data:
    """Return the data table whose subjects and truth a model is about; a project that was read has at most one."""
    for name in project.data_of(model):
        return project.data[name]
    raise Invalid("No [data.NAME] table names a target.", about="project", hint='Add `target = "COLUMN"`.')

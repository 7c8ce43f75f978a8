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
from interlock.data.contract import nearest
from interlock.data.records import Declaration
from interlock.data.service import DataService
from interlock.deploy.service import DeployService
from interlock.loop.project import FILE, fault
from interlock.loop.toml_lines import line_of
from interlock.monitor.records import MonitorPlan
from interlock.monitor.service import MonitorService

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.core.bundles import Serving
    from interlock.core.ports import Transaction
    from interlock.loop.project import Data, Project, ProjectFile
    from interlock.store import Store


Action = Literal["create", "update", "none"]


class Change(msgspec.Struct, frozen=True):
    """One thing that `apply` does.

    Attributes:
        what: the reference of what is changed.
        action: create, update or none.
        detail: a sentence.
    """

    what: str
    action: Action
    detail: str


Step = tuple[Change, "Callable[[], object]"]


def plan(store: Store, file: ProjectFile) -> list[Change]:
    """Return what `apply` would do; nothing is changed.

    Raises:
        Invalid: `apply` would refuse.

    Cost: reads the source files that would become a version.
    """
    return [change for change, _ in _steps(store, file)]


def apply(store: Store, file: ProjectFile) -> list[Change]:
    """Return what was done to make the workspace what the file says; doing it again does nothing.

    Raises:
        Invalid: something does not fit, such as a source and its contract; nothing was changed.
    """
    steps = _steps(store, file)
    for change, work in steps:
        if change.action != "none":
            work()
    changes = [change for change, _ in steps]
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


def _steps(store: Store, file: ProjectFile) -> list[Step]:
    """Return what there is to do. All of it is checked before any of it is done."""
    project, steps = file.project, []
    columns: dict[str, tuple[str, ...]] = {}
    for name, table in project.data.items():
        try:
            found, columns[name] = _data_steps(store, name, table)
        except Invalid as error:
            raise _with_lines(file.text, name, table, error) from None
        steps += found
    for name in project.model:
        steps.append(_policy_step(AuditService(store), file, name, columns))
    steps += [_monitor_step(MonitorService(store), project, name) for name in project.monitor]
    wanted = {name: table.serving.record for name, table in project.deployment.items()}
    return steps + [_serving_step(DeployService(store), name, how) for name, how in wanted.items() if how]


def _data_steps(store: Store, name: str, table: Data) -> tuple[list[Step], tuple[str, ...]]:
    """Return the steps of a dataset, and the columns that it has after them."""
    data = DataService(store)
    wanted = Declaration(table.id, table.time, table.target, table.sensitive, table.columns)
    versions = data.versions(name) if _is_known(data, name) else None
    action: Action = "create" if versions is None else "update"
    roles = f"id {table.id or '-'}, target {table.target or '-'}, sensitive {', '.join(table.sensitive) or '-'}"
    declared = Change(f"data:{name}", "none" if data.is_declared(name, wanted) else action, roles)
    newest = versions[-1] if versions else None
    declare: list[Step] = [(declared, lambda: data.declare(name, wanted))]
    paths = [table.source] if isinstance(table.source, str) else table.source
    files = [_local(store, path) for pattern in paths if pattern for path in _matching(store.project, pattern, name)]
    if not files:
        return declare, newest.columns if newest else ()
    where = f" where {table.where}" if table.where else ""
    detail = f"{', '.join(path.name for path in files)}{where}"
    sources = tuple(StoredFile(path.name, digest(path.read_bytes()), path.stat().st_size) for path in files)
    # What the loop joined has no files: it stands beside the source, and is no reason to bring the source again.
    brought = next((version for version in reversed(versions or []) if version.sources), None)
    known = ([source.digest for source in brought.sources], brought.where) if brought else None
    if brought and newest and known == ([source.digest for source in sources], table.where):
        return [*declare, (Change(newest.ref, "none", detail), lambda: None)], newest.columns
    columns = data.check(name, wanted, files, table.where)
    made = Change(f"data:{name}@{newest.version + 1 if newest else 1}", "create", detail)

    def bring() -> None:
        call = new_id()
        try:
            for path in files:
                with path.open("rb") as source:
                    store.uploads.put(source, call)
            data.bring(name, wanted, list(sources), table.where)
        finally:
            store.uploads.release(call)

    return [(declared, lambda: None), (made, bring)], columns


def _is_known(data: DataService, name: str) -> bool:
    try:
        data.show(name)
    except NotFound:
        return False
    return True


def _with_lines(text: str, name: str, table: Data, error: Invalid) -> Invalid:
    """Return an error whose findings say in which line of the file a role or an edit of a column stands."""
    if error.about not in {"contract", "dataset"}:
        return error
    findings = []
    for found in error.findings:
        role = next((role for role in ("id", "time", "target") if getattr(table, role) == found.column), "sensitive")
        path = ("data", name, "columns", found.column) if error.about == "contract" else ("data", name, role)
        place = f"{FILE}, line {line_of(text, path)}"
        findings.append(msgspec.structs.replace(found, message=f"{place}: {found.message}"))
    return Invalid(error.message, about=error.about, hint=error.hint, findings=findings, **error.facts)


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


def _policy_step(audit: AuditService, file: ProjectFile, name: str, columns: dict[str, tuple[str, ...]]) -> Step:
    gates, table = dict(file.project.model[name].gates), _dataset_of(file.project, name)
    dataset = file.project.data[table]
    wanted = audit.make_policy(gates, dataset.sensitive, dataset.target, dataset.id)
    for bound in wanted.fairness:
        if columns[table] and bound.column not in columns[table]:
            why = f"data {table!r} has no column {bound.column!r}"
            raise fault(file.text, ("model", name, "gates", bound.key), why, nearest(bound.column, columns[table]))
    held = audit.policy_of(name)
    action: Action = "create" if held is None else "update"
    rules = ", ".join(f"{key} {value}" for key, value in gates.items())
    if held == wanted:
        return Change(f"model:{name}", "none", f"gates: {rules}"), lambda: None
    told = " ".join(audit.takes_away(name, wanted))
    change = Change(f"model:{name}", action, f"gates: {rules}" + (f". Takes away: {told}" if told else ""))
    return change, lambda: audit.put_policy(name, wanted)


def _monitor_step(monitor: MonitorService, project: Project, name: str) -> Step:
    watched, deployment = project.monitor[name], project.deployment[name]
    dataset = project.data[_dataset_of(project, deployment.model_name)]
    wanted = MonitorPlan(
        name, dataset.id, dataset.target, watched.window, watched.false_alarms, watched.quality.at_least
    )
    held = monitor.plan_of(name)
    action: Action = "create" if held is None else "update"
    detail = f"watch {deployment.model} in windows of {watched.window}"
    change = Change(f"monitor:{name}", "none" if held == wanted else action, detail)
    return change, lambda: monitor.set(name, wanted)


def _serving_step(deploy: DeployService, name: str, wanted: Serving) -> Step:
    try:
        held = deploy.show(name).serving
    except NotFound:
        return Change(f"deployment:{name}", "none", f"when it is deployed: {wanted}"), lambda: None
    action: Action = "none" if held == wanted else "update"
    return Change(f"deployment:{name}", action, str(wanted)), lambda: deploy.configure(name, wanted)


def _dataset_of(project: Project, model: str) -> str:
    """Return the data table whose subjects and truth a model is about; a project that was read has at most one."""
    for name in project.data_of(model):
        return name
    raise Invalid("No [data.NAME] table names a target.", about="project", hint='Add `target = "COLUMN"`.')

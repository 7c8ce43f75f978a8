"""`interlock.toml`: one file wires a loop. Read, checked, every fault with its line and the nearest valid name."""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin

import msgspec

from interlock.audit.policy import METRICS, parse_policy
from interlock.core.errors import Error, Invalid, NotFound
from interlock.core.periods import parse_period
from interlock.core.refs import check_name
from interlock.data.contract import ColumnEdit
from interlock.deploy.stated import ServingTable, model_name
from interlock.loop.toml_lines import line_of

if TYPE_CHECKING:
    from pathlib import Path

FILE = "interlock.toml"
_ENTRY: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
WATCHED_METRIC = "roc_auc"


class About(msgspec.Struct, frozen=True):
    """`[project]`: what it is for."""

    name: str
    goal: str = ""


class Data(msgspec.Struct, frozen=True):
    """`[data.NAME]`: where a dataset comes from, and what its columns mean."""

    source: str | list[str] = ""
    where: str = ""
    id: str = ""
    time: str = ""
    target: str = ""
    sensitive: tuple[str, ...] = ()
    columns: dict[str, ColumnEdit] = {}


class Pipeline(msgspec.Struct, frozen=True):
    """`[pipeline.NAME]`: a plain function, `module:function`, and values for its arguments."""

    entry: str
    args: dict[str, str | int | float | bool] = {}


class ModelTable(msgspec.Struct, frozen=True):
    """`[model.NAME]`: how it is made, what it must pass, and who lets it through.

    `approve` is `person`, or `better than champion`: a rule that approves when the challenger does better on the newest
    labelled window. `data` names the `[data]` table that says whom the model is about and what is true of them; it may
    be left out where only one table has a target.
    """

    pipeline: str
    headline: str = "roc_auc"
    approve: str = "person"
    data: str = ""
    gates: dict[str, str | int | float] = {}


class Rollout(msgspec.Struct, frozen=True):
    """How a new version takes over: first `canary` of the traffic, and all of it after `watch` without harm."""

    canary: str = "0%"
    watch: str = "15m"

    @property
    def share(self) -> float:
        """The canary's share of the traffic, 0-1."""
        return float(self.canary.rstrip("% ")) / 100


class DeploymentTable(msgspec.Struct, frozen=True):
    """`[deployment.NAME]`: which model answers, and how."""

    model: str
    rollout: Rollout = Rollout()
    serving: ServingTable = ServingTable()

    @property
    def model_name(self) -> str:
        """The model's name, without kind, version and alias."""
        return model_name(self.model)


class Quality(msgspec.Struct, frozen=True):
    """The metric that must not fall below a bound once labels are there."""

    metric: str = "roc_auc"
    at_least: float = 0.0


class MonitorTable(msgspec.Struct, frozen=True):
    """`[monitor.NAME]`: how a deployment of this name is watched."""

    window: str = "1 month"
    false_alarms: float = 0.01
    quality: Quality = Quality()


class When(msgspec.Struct, frozen=True):
    """`[[when]]`: what follows from an event."""

    event: str
    do: str


class Project(msgspec.Struct, frozen=True):
    """All that interlock.toml says."""

    project: About
    data: dict[str, Data] = {}
    pipeline: dict[str, Pipeline] = {}
    model: dict[str, ModelTable] = {}
    deployment: dict[str, DeploymentTable] = {}
    monitor: dict[str, MonitorTable] = {}
    when: tuple[When, ...] = ()
    settings: dict[str, str | int | float | bool] = {}

    def data_of(self, model: str) -> tuple[str, ...]:
        """Return the data tables that a model may be about: the one it names, else all that have a target."""
        named = self.model[model].data
        return (named,) if named else tuple(name for name, table in self.data.items() if table.target)


class ProjectFile(msgspec.Struct, frozen=True):
    """A project with the text it was read from and its digest."""

    project: Project
    text: str
    digest: str


def read_project(folder: Path) -> ProjectFile:
    """Return the project of a folder.

    Raises:
        NotFound: there is no interlock.toml.
        Invalid: it is no TOML, has an unknown key or a wrong value; the error names line and key.
    """
    path = folder / FILE
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise NotFound(
            f"There is no {FILE} in {folder}.", about="project", hint="Run `interlock init` to make one."
        ) from None
    except UnicodeDecodeError as error:
        raise Invalid(f"{FILE} is not UTF-8 (byte {error.start}).", about="project") from None
    return ProjectFile(parse_project(text), text, hashlib.sha256(text.encode()).hexdigest())


def parse_project(text: str) -> Project:
    """Return the project that a text describes.

    Raises:
        Invalid: as `read_project`.
    """
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"{FILE} is no TOML: {error}.", about="project") from None
    _check(plain, Project, (), text)
    try:
        project = msgspec.convert(plain, Project)
    except msgspec.ValidationError as error:
        raise Invalid(f"{FILE}: {error}.", about="project") from None
    _cross_check(project, text)
    return project


def _check(value: Any, kind: Any, path: tuple[str, ...], text: str) -> None:
    """Walk a value along its type, so that a fault is told with its own place."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and isinstance(value, dict):
        fields = {field.name: field for field in msgspec.structs.fields(kind)}
        for key, item in value.items():
            if key not in fields:
                raise fault(text, (*path, key), f"{key!r} is not known here", _nearest(key, fields))
            _check(item, fields[key].type, (*path, key), text)
        for name, field in fields.items():
            if field.required and name not in value:
                raise fault(text, path, f"{name!r} is missing in {_dotted(path) or 'the file'}")
        return
    if get_origin(kind) is dict and isinstance(value, dict):
        for key, item in value.items():
            _check(item, get_args(kind)[1], (*path, key), text)
        return
    if get_origin(kind) is tuple and isinstance(value, list) and get_args(kind)[0] is When:
        for number, item in enumerate(value):
            _check(item, When, (*path, str(number)), text)
        return
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise fault(text, path, str(error).split(" - at ", 1)[0]) from None


def _cross_check(project: Project, text: str) -> None:
    """Check what one table says of another, and values that have a grammar of their own."""
    _check_names(project, text)
    for name, model in project.model.items():
        place = ("model", name)
        _known(text, (*place, "pipeline"), model.pipeline, project.pipeline, "pipeline")
        if model.approve not in {"person", "better than champion"}:
            raise fault(text, (*place, "approve"), f"{model.approve!r} approves nothing", "'better than champion'")
        if model.headline not in METRICS:
            raise fault(
                text, (*place, "headline"), f"{model.headline!r} is no metric", _nearest(model.headline, METRICS)
            )
        _check_data(project, name, text)
        for key, value in model.gates.items():
            _guard(text, (*place, "gates", key), lambda key=key, value=value: parse_policy({key: value}))
    for name, deployment in project.deployment.items():
        _known(text, ("deployment", name, "model"), deployment.model_name, project.model, "model")
        rollout = ("deployment", name, "rollout")
        _guard(text, rollout, lambda d=deployment: parse_period(d.rollout.watch))
        _guard(text, rollout, lambda d=deployment: _share(d.rollout))
        _guard(text, ("deployment", name, "serving", "stale_after"), lambda d=deployment: d.serving.record)
    for name, monitor in project.monitor.items():
        _known(text, ("monitor", name), name, project.deployment, "deployment")
        _guard(text, ("monitor", name, "window"), lambda m=monitor: parse_period(m.window))
        if not 0 < monitor.false_alarms < 1:
            raise fault(text, ("monitor", name, "false_alarms"), "a share between 0 and 1 is wanted")
        if not 0 <= monitor.quality.at_least <= 1:
            raise fault(text, ("monitor", name, "quality", "at_least"), "a number from 0 to 1 is wanted")
        if monitor.quality.metric != WATCHED_METRIC:
            why = f"{monitor.quality.metric!r} is not watched"
            raise fault(text, ("monitor", name, "quality", "metric"), why, repr(WATCHED_METRIC))
    for number, when in enumerate(project.when):
        _check_when(project, when, ("when", str(number)), text)


def _check_names(project: Project, text: str) -> None:
    """Check names, entries of pipelines and ranges of columns: what would be refused only once work has begun."""
    _guard(text, ("project", "name"), lambda: check_name(project.project.name, "project"))
    tables: dict[str, list[str]] = {
        "data": [*project.data],
        "pipeline": [*project.pipeline],
        "model": [*project.model],
        "deployment": [*project.deployment],
    }
    for kind, names in tables.items():
        for name in names:
            _guard(text, (kind, name), lambda name=name, kind=kind: check_name(name, kind))
    for name, pipeline in project.pipeline.items():
        if not _ENTRY.fullmatch(pipeline.entry):
            raise fault(text, ("pipeline", name, "entry"), f"{pipeline.entry!r} is not like 'pipeline:train'")
    for name, data in project.data.items():
        for column, edit in data.columns.items():
            if edit.range and not edit.range[0] <= edit.range[1]:
                place = ("data", name, "columns", column, "range")
                raise fault(text, place, "the smallest number comes first, then the largest")


def _check_data(project: Project, model: str, text: str) -> None:
    """Check that a model is about one data table, which has a target; whether there is any, `apply` says."""
    place, found = ("model", model), project.data_of(model)
    if named := project.model[model].data:
        _known(text, (*place, "data"), named, project.data, "data table")
        if not project.data[named].target:
            raise fault(text, (*place, "data"), f"[data.{named}] names no target")
    elif len(found) > 1:
        nearest = " or ".join(f'`data = "{name}"`' for name in found)
        raise fault(text, place, "several data tables have a target, and the model names none of them", nearest)


def _check_when(project: Project, when: When, path: tuple[str, ...], text: str) -> None:
    subject, _, word = when.event.partition(" ")
    kind, _, name = subject.partition(":")
    words = {"monitor": ("alarm",), "model": ("validated", "approved"), "data": ("new",)}
    if kind not in words or word not in words[kind]:
        known = ", ".join(f"'{k}:NAME {w}'" for k, ws in words.items() for w in ws)
        raise fault(text, (*path, "event"), f"{when.event!r} is no event; known: {known}")
    tables: dict[str, Any] = {"monitor": project.monitor, "model": project.model, "data": project.data}
    _known(text, (*path, "event"), name, tables[kind], kind)
    verb, _, target = when.do.partition(" ")
    targets: dict[str, Any] = {
        "retrain": project.pipeline,
        "train": project.pipeline,
        "deploy": project.deployment,
        "approve": project.model,
    }
    if verb not in targets:
        raise fault(text, (*path, "do"), f"{verb!r} can not be done", _nearest(verb, targets))
    _known(text, (*path, "do"), target, targets[verb], verb)


def _share(rollout: Rollout) -> None:
    try:
        share = rollout.share
    except ValueError:
        share = -1
    if not 0 <= share < 1:
        raise Invalid(f"{rollout.canary!r} is no share; write for example '10%'", about="project")


def _known(text: str, path: tuple[str, ...], name: str, known: dict[str, Any], what: str) -> None:
    if name not in known:
        raise fault(text, path, f"there is no {what} {name!r} in this file", _nearest(name, known))


def _guard(text: str, path: tuple[str, ...], work: Any) -> None:
    try:
        work()
    except Error as error:
        raise fault(text, path, f"{error.message} {error.hint}".strip().rstrip(".")) from None


def fault(text: str, path: tuple[str, ...], why: str, nearest: str = "") -> Invalid:
    """Return the error for a fault of the file.

    Args:
        text: the file.
        path: the keys that lead to it.
        why: what is wrong.
        nearest: what may be meant, quoted, or "".
    """
    line = line_of(text, path)
    return Invalid(
        f"{FILE}, line {line}, {_dotted(path) or 'file'}: {why}.",
        about="project",
        hint=f"Did you mean {nearest}?" if nearest else "",
        line=line,
        key=_dotted(path),
    )


def _nearest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    if near:
        return repr(near[0])
    return " or ".join(repr(k) for k in list(known)[:6])


def _dotted(path: tuple[str, ...]) -> str:
    return ".".join(path)

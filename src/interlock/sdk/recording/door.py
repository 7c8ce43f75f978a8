"""The doors: `interlock.run`, `interlock.current_run`, and what stands behind `interlock.data.load`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from interlock.core.errors import Invalid
from interlock.core.refs import parse
from interlock.data.loading import read_through
from interlock.sdk.recording import live, words
from interlock.sdk.recording.opening import Plan
from interlock.sdk.recording.run import Run

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from interlock.sdk.workspace import Workspace


class Options(TypedDict, total=False):
    """What may be said of a run besides.

    Attributes:
        workspace: a project folder, a server's address or an open `Workspace`; without it, the nearest one.
        resume: the id of a run that goes on.
        console: False leaves out what is printed.
        machine: False leaves out what the machine does.
        files: True remembers the files that the process opens for reading, with their digests.
    """

    workspace: str | os.PathLike[str] | Workspace
    resume: str
    console: bool
    machine: bool
    files: bool


def run(
    experiment: str = "",
    *,
    name: str = "",
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    **options: Unpack[Options],
) -> Run:
    """Return a run that begins with `with`, with `start()`, or, as a decorator, at each call of the function.

    What it runs in is recorded too: code, arguments, packages, machine, what is printed. A run inside a run is nested.

    Args:
        experiment: where it belongs; the script's name when left out.
        name: its name; made from the experiment when left out.
        params: its params.
        tags: its tags.
        options: workspace, resume, console, machine, files; see `Options`.

    Raises:
        Invalid: an option is none of these.
    """
    unknown = sorted(set(options) - Options.__annotations__.keys())
    if unknown:
        raise Invalid(
            f"interlock.run has no option {unknown[0]!r}.",
            about="run",
            hint=f"It has {', '.join(Options.__annotations__)}. Params go into params={{...}}.",
        )
    plan = Plan(
        experiment=experiment,
        name=name,
        params=dict(params or {}),
        tags=words.texts(tags or {}, "tag"),
        **options,
    )
    return Run(plan)


def current_run() -> Run | None:
    """Return the run that goes on, the innermost one; None when there is none."""
    found: Run | None = live.current()
    return found


def _read(ref: str, workspace: str | os.PathLike[str] | Workspace | None) -> tuple[str, bytes]:
    """Return a version that is read through `interlock.data`, and let the run that goes on remember it."""
    from interlock.sdk.workspace import Workspace

    inside = current_run()
    if isinstance(workspace, Workspace):
        found, content = _version(workspace, ref)
    else:
        with Workspace.open(workspace or (inside.location if inside else None)) as opened:
            found, content = _version(opened, ref)
    if inside is not None:
        inside.input(found)
    return found, content


def _version(workspace: Workspace, ref: str) -> tuple[str, bytes]:
    version = workspace.data.version(str(parse(ref, "data")))
    return version.ref, workspace.read(version.digest)


read_through(_read)

"""`interlock runs`: look at runs, compare and draw them, put them away, take them out."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import click

from interlock.cli.commands import Near, common
from interlock.cli.session import note, open_workspace, said, show

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from interlock.sdk.services import Service
    from interlock.sdk.workspace import Workspace

_RUN = "A run: its id or reference, or its name (the newest of that name)."


def runs(services: Mapping[str, Service]) -> click.Command:
    """Return the group of commands about runs."""
    group = Near("runs", help="Look at runs: list, compare, draw, delete, export.", params=common())

    def add(name: str, work: Callable[..., Any], text: str, *params: click.Parameter) -> None:
        def call(**words: Any) -> Any:
            with open_workspace(services) as workspace:
                return work(workspace, **words)

        group.add_command(click.Command(name, callback=call, params=[*params, *common()], help=text))

    for name, (work, text, params) in _commands().items():
        add(name, work, text, *params)
    return group


def _commands() -> dict[str, tuple[Callable[..., Any], str, list[click.Parameter]]]:
    """Return the commands by name: what they do, their help, their parameters."""
    one = click.Argument(["run"], help=_RUN)
    many = click.Argument(["run"], nargs=-1, required=True, help=_RUN)
    found: list[click.Parameter] = [
        click.Argument(["experiment"], nargs=-1, help="Only runs of these experiments."),
        click.Option(["--filter"], default="", help='Such as "metrics.auc > 0.8 and params.depth > 3".'),
        click.Option(["--order-by"], multiple=True, metavar="TERM", help='Such as "metrics.auc DESC".'),
        click.Option(["--limit"], default=50, show_default=True, help="At most so many."),
        click.Option(["--page-token"], default="", help="Where the page begins: what the last page came with."),
        click.Option(["--deleted"], is_flag=True, help="Deleted runs instead of active ones."),
        click.Option(["--all", "everything"], is_flag=True, help="Show system/* metrics too, after the others."),
    ]
    compared: list[click.Parameter] = [
        many,
        click.Option(["--all", "everything"], is_flag=True, help="What is the same too, and system/* and interlock.*."),
        click.Option(["--plot"], metavar="FILE", help="Draw a metric's curves into this .svg or .png."),
        click.Option(["--metric"], default="", help="Which metric to draw [default: the first with curves]."),
    ]
    both: list[click.Parameter] = [
        click.Argument(["old"], help=_RUN),
        click.Argument(["new"], help=_RUN),
        click.Option(["--all", "everything"], is_flag=True, help="Metrics system/* and tags interlock.* too."),
    ]
    grep = click.Option(["--grep", "contains"], default="", metavar="TEXT", help="Only lines that hold this text.")
    output = click.Option(["--output", "-o"], required=True, metavar="PATH", help="Where to write; not there yet.")
    exported = "Write runs to a .csv (a row a run), a .json (all facts), or a folder (all facts, curves and files)."
    return {
        "ls": (_ls, "List runs, newest first, or those that a filter finds.", found),
        "show": (_show, "Show one run, and the versions of models that it made.", [one]),
        "compare": (_compare, "Show what differs between runs, and draw their curves.", compared),
        "diff": (_diff, "Show what changed from one run to another: facts, code, packages.", both),
        "logs": (_logs, "Print what a run printed.", [one, grep]),
        "rm": (_rm, "Delete runs; `restore` brings them back.", [many]),
        "restore": (_restore, "Restore runs that were deleted.", [many]),
        "export": (_export, exported, [many, output]),
    }


def find(workspace: Workspace, run: str, *, deleted: bool = False) -> str:
    """Return the id of a run that a person named by id, reference or name; by name, a deleted one if that is wanted.

    Raises:
        NotFound: there is none.
    """
    from interlock.core.errors import NotFound
    from interlock.core.refs import is_name

    bare = run.removeprefix("run:").removeprefix("runs:/")
    for ident in dict.fromkeys((bare, bare.upper())):
        if is_name(ident):
            with contextlib.suppress(NotFound):
                return workspace.track.run(ident).id
    quoted = bare.replace("\\", "\\\\").replace("'", "\\'")
    page = workspace.track.search(filter=f"attributes.run_name = '{quoted}'", limit=1, deleted=deleted)
    if not page.runs:
        raise NotFound(f"There is no run {run!r}.", about="run", hint="`interlock runs ls` lists them.")
    return page.runs[0].id


def _ls(workspace: Workspace, **words: Any) -> None:
    page = workspace.track.search(
        filter=words["filter"],
        experiments=list(words["experiment"]),
        order_by=list(words["order_by"]),
        limit=words["limit"],
        page_token=words["page_token"],
        deleted=words["deleted"],
    )
    if said("json"):
        show(page)
        return
    show([_line(run, everything=words["everything"]) for run in page.runs])
    if page.next_page_token:
        note(f"There are more: --page-token {page.next_page_token}")


def _line(run: Any, *, everything: bool = False) -> dict[str, Any]:
    """Return a run as a row of a table, the user's metrics first; those of the machine only if they are wanted."""
    from interlock.cli.differences import is_made

    metrics = {name: value for name, value in run.metrics.items() if not is_made("metric", name)}
    if everything:
        metrics |= run.metrics
    took = (run.ended_at - run.started_at).total_seconds() if run.ended_at else None
    return {
        "run": run.ref,
        "name": run.name,
        "experiment": run.experiment,
        "status": run.status,
        "started": run.started_at,
        "seconds": took,
        "metrics": metrics,
        "params": run.params,
    }


def _show(workspace: Workspace, run: str) -> None:
    from interlock.sdk.recording.versions import versions_of

    found = workspace.track.run(find(workspace, run))
    facts = {name: getattr(found, name) for name in found.__struct_fields__}
    show(facts | {"versions": [ref for ref, _, _ in versions_of(workspace, found.id)]})


def _compare(workspace: Workspace, run: Sequence[str], everything: bool, plot: str | None, metric: str) -> None:
    idents = [find(workspace, one) for one in run]
    compared = workspace.track.compare(idents, everything=everything)
    if said("json"):
        show(compared)
    else:
        from interlock.cli.differences import of_users

        compared, left = (compared, "") if everything else of_users(compared)
        names = _apart(compared.names, compared.runs)
        rows = [
            {"part": found.part, "name": found.name, **dict(zip(names, found.values, strict=True))}
            for found in compared.differences
        ]
        show(rows)
        note(f"{compared.same} facts are the same in all {len(idents)} runs.")
        if left:
            note(left)
    if plot:
        from interlock.cli.drawing import draw

        draw(workspace, idents, metric, plot)


def _apart(names: Sequence[str], refs: Sequence[str]) -> list[str]:
    """Return titles of columns: names, with the end of the id where two are alike."""
    return [name if names.count(name) == 1 else f"{name} {ref[-6:]}" for name, ref in zip(names, refs, strict=True)]


def _diff(workspace: Workspace, old: str, new: str, everything: bool) -> None:
    from interlock.cli.differences import changes, of_users

    compared = workspace.track.compare([find(workspace, old), find(workspace, new)])
    if said("json"):
        show(compared)
        return
    compared, left = (compared, "") if everything else of_users(compared)
    for line in changes(workspace, compared):
        click.echo(line)
    if left:
        note(left)


def _logs(workspace: Workspace, run: str, contains: str) -> None:
    show(workspace.track.logs(find(workspace, run), contains))


def _rm(workspace: Workspace, run: Sequence[str]) -> None:
    done = [workspace.track.delete(find(workspace, one)) for one in run]
    show([_line(one) for one in done])
    note(f"Deleted; `interlock runs restore {' '.join(one.ref for one in done)}` brings them back.")


def _restore(workspace: Workspace, run: Sequence[str]) -> None:
    show([_line(workspace.track.restore(find(workspace, one, deleted=True))) for one in run])


def _export(workspace: Workspace, run: Sequence[str], output: str) -> None:
    from interlock.cli.exporting import export

    written = export(workspace, [find(workspace, one) for one in run], output)
    show({"runs": len(run), "files": written, "output": output})

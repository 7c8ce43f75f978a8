"""`interlock import` and `interlock export`: take over what another tool holds, and give it what it reads.

They are verbs and no operations: a server must not read or write where a caller from elsewhere says
(docs/decisions/0010-moving-is-done-where-the-files-are.md).
"""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from interlock.cli.commands import Near, common
from interlock.cli.packing import commands
from interlock.cli.session import note, open_workspace, said, show
from interlock.core.errors import Invalid
from interlock.sdk.places import find, is_address, settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.bridges.mlflow import Report, Watch
    from interlock.sdk.services import Service
    from interlock.store import Store

_INCOMPLETE: Final = 1
_SHOWN: Final = 100
_WIDTH: Final = 30
_EVERY_S: Final = 0.1


def take_over(services: Mapping[str, Service]) -> click.Command:
    """Return the group of stores that can be taken over."""

    def mlflow(**words: Any) -> int:
        return _mlflow(services, words["source"], words["artifacts"], dry=words["dry_run"])

    params: list[click.Parameter] = [
        click.Argument(
            ["source"], help="http://server:5000, sqlite:///mlflow.db, or a folder such as mlruns; it is only read."
        ),
        click.Option(
            ["--artifacts"],
            metavar="FOLDER",
            help="Where the store's server kept proxied files (its --artifacts-destination).",
        ),
        click.Option(["--dry-run"], is_flag=True, help="Only count what is there and what is here; write nothing."),
    ]
    text = (
        "Take over an MLflow store: experiments, runs with all their points, tags, files, models, versions, aliases."
        " Started again, it goes on where it broke off. It ends with 1 where not all could be taken over."
    )
    command = click.Command("mlflow", callback=mlflow, params=[*params, *common()], help=text)
    return Near("import", help="Take over what another tool holds.", commands=[command], params=common())


def _mlflow(services: Mapping[str, Service], address: str, artifacts: str | None, *, dry: bool) -> int:
    from interlock.bridges.mlflow import Importer, open_source

    _check_here("import mlflow ...")
    folder = Path(artifacts) if artifacts else None
    with open_workspace(services) as workspace, contextlib.closing(open_source(address, folder)) as source:
        report = Importer(workspace.store, source, _watch(workspace.store), dry=dry).run()
    return _tell(report)


def _tell(report: Report) -> int:
    if said("json"):
        show(report)
        return 0 if report.complete or report.dry else _INCOMPLETE
    show([count for count in report.counts if count.there or count.here])
    for line in report.left[:_SHOWN]:
        note(f"Left: {line}")
    if len(report.left) > _SHOWN:
        note(f"Left: {len(report.left) - _SHOWN:,} more; --json has all.")
    if report.others:
        note(f"Never taken over: {', '.join(f'{count:,} {what}' for what, count in report.others.items())}.")
    if report.dry:
        note("Counted only: nothing was written.")
        return 0
    note("Both sides are equal." if report.complete else "Not all could be taken over; see above.")
    return 0 if report.complete else _INCOMPLETE


def give(services: Mapping[str, Service]) -> click.Command:
    """Return the group of tools for which everything can be written."""

    def mlflow(**words: Any) -> None:
        from interlock.bridges.mlflow import Exporter

        _check_here("export mlflow ...")
        with open_workspace(services) as workspace:
            exporter = Exporter(workspace.store, Path(words["folder"]), _watch(workspace.store))
            counts = exporter.run()
        show(counts)
        for line in exporter.left:
            note(f"Left: {line}")
        note(f"MLflow reads it: MLFLOW_ALLOW_FILE_STORE=true MLFLOW_TRACKING_URI={words['folder']}/mlruns")

    folder = click.Argument(["folder"], help="Where to write; must not be there yet.")
    text = "Write all runs and models as folders that MLflow loads."
    command = click.Command("mlflow", callback=mlflow, params=[folder, *common()], help=text)
    return Near(
        "export",
        help="Write everything for another tool, or a version for a container.",
        commands=[command, *commands(services)],
        params=common(),
    )


def _check_here(words: str) -> None:
    """Refuse a workspace that is an address, before anything is read.

    Raises:
        Invalid: it is one.
    """
    place = find(said("workspace"))
    if is_address(place):
        raise Invalid(
            f"The workspace is {place}, and files are moved where its folder is.",
            about="workspace",
            hint=f"On the machine of that server, run `interlock --workspace FOLDER {words}` with the folder that it"
            " serves; it may go on serving meanwhile.",
        )


def _watch(store: Store) -> Watch:
    """Return what shows how it goes: a bar on a terminal, else a line for each experiment and model."""
    from interlock.bridges.mlflow import Watch

    class Lines(Watch):
        def began(self, what: str) -> None:
            note(what)

    class Bar(Watch):
        """One line that is written over: how many runs of how many, and for how long still."""

        def __init__(self) -> None:
            self._runs: int | None = None
            self._done = 0
            self._began = self._shown = time.monotonic()

        def expects(self, runs: int | None) -> None:
            self._runs = runs

        def began(self, what: str) -> None:
            sys.stderr.write("\r\033[K")
            note(what)

        def took(self, what: str) -> None:  # noqa: ARG002 - how many, not which
            self._done += 1
            if time.monotonic() - self._shown >= _EVERY_S:
                self._shown = time.monotonic()
                sys.stderr.write(f"\r\033[K{bar(self._done, self._runs, self._shown - self._began)}")
                sys.stderr.flush()

        def ended(self) -> None:
            sys.stderr.write("\r\033[K")

    shows = sys.stderr.isatty() and not said("json") and settings(store.project)["color"].value
    return Bar() if shows else Lines()


def bar(done: int, runs: int | None, took_s: float) -> str:
    """Return a bar with its figures, as far as it is known how many runs there are."""
    if not runs:
        return f"{done:,} runs"
    share = min(done / runs, 1.0)
    left_s = round(took_s * (1 - share) / share) if share else 0
    filled = "#" * round(share * _WIDTH)
    return f"[{filled:-<{_WIDTH}}] {done:,} of {runs:,} runs, {left_s // 60}:{left_s % 60:02} left"

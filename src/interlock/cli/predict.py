"""`interlock predict`: a model version scores files.

A verb and no operation: files are read and written where it runs
(docs/decisions/0010-moving-is-done-where-the-files-are.md).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from interlock.cli.commands import common
from interlock.cli.session import note, open_workspace, said, show
from interlock.core.errors import Invalid
from interlock.deploy.batch_records import BATCH_ROWS, FORMATS, PART_ROWS, Watch
from interlock.sdk.places import find, is_address, settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.deploy.batch_records import Report
    from interlock.sdk.services import Service
    from interlock.store import Store

_EVERY_S: Final = 5.0
_TEXT: Final = (
    "Score files with a model version: Parquet, CSV, Arrow; as many rows as you like. Broken off, even by kill -9, the"
    " same command goes on where it was; every row is answered once. Nothing is visible before everything is done."
)


def predict(services: Mapping[str, Service]) -> click.Command:
    """Return the command that scores files."""

    def run(**words: Any) -> None:
        _run(services, **words)

    params: list[click.Parameter] = [
        click.Argument(["model"], help="A version: model:NAME@3, model:NAME@champion, or model:NAME for the newest."),
        click.Argument(["files"], nargs=-1, type=click.Path(), help="More files, as with --input."),
        click.Option(
            ["--input", "-i", "inputs"],
            multiple=True,
            type=click.Path(),
            metavar="FILES...",
            help="Files, or folders of files, in this order: .parquet, .csv, .arrow (file or stream).",
        ),
        click.Option(
            ["--output", "-o"], required=True, type=click.Path(), metavar="FOLDER", help="Where to write; new or empty."
        ),
        click.Option(
            ["--keep"], default="", metavar="COLUMNS", help="Input columns for the output too, such as id,year."
        ),
        click.Option(["--id-column"], default="", metavar="COLUMN", help="Names each row: kept, and never missing."),
        click.Option(
            ["--format"], type=click.Choice(FORMATS), default="parquet", show_default=True, help="Of the output."
        ),
        click.Option(
            ["--bad-rows"],
            type=click.Choice(["fail", "null", "skip"]),
            default="fail",
            show_default=True,
            help="What becomes of rows that the model refuses.",
        ),
        click.Option(["--batch-rows"], default=BATCH_ROWS, show_default=True, help="Rows that are scored at a time."),
        click.Option(
            ["--part-rows"], default=PART_ROWS, show_default=True, help="Input rows for a file of the output."
        ),
        click.Option(["--restart"], is_flag=True, help="Throw away what was begun in the folder."),
        click.Option(["--dry-run"], is_flag=True, help="Check model, files and folder; write nothing."),
    ]
    return click.Command("predict", callback=run, params=[*params, *common()], help=_TEXT)


def _run(
    services: Mapping[str, Service],
    model: str,
    files: tuple[str, ...],
    inputs: tuple[str, ...],
    output: str,
    **words: Any,
) -> None:
    from interlock.deploy.batch import Batch
    from interlock.deploy.batch_records import Options

    check_here()
    kept = tuple(name.strip() for name in words["keep"].split(",") if name.strip())
    options = Options(kept, words["id_column"], words["format"], words["bad_rows"], words["part_rows"])
    with open_workspace(services) as workspace:
        batch = Batch(workspace.store, model, [*inputs, *files], options)
        if words["dry_run"]:
            show(batch.preview(Path(output)))
            note("Nothing was written.")
            return
        watch = _watch(workspace.store)
        report = batch.run(Path(output), watch=watch, batch_rows=words["batch_rows"], restart=words["restart"])
    _tell(report, output)


def _tell(report: Report, output: str) -> None:
    if said("json"):
        show(report)
        return
    show([{"file": part.name, "rows": part.rows, "refused": part.refused} for part in report.parts[:100]])
    if report.resumed:
        note(f"{report.resumed:,} rows were answered by an earlier call.")
    if report.refused:
        note(f"{report.refused:,} rows were refused; {output}/_bad_rows says which, and why.")
    answered = report.rows - report.refused
    note(f"{report.model} answered {answered:,} of {report.rows:,} rows: {output}, event {report.event}.")


def check_here() -> None:
    """Refuse a workspace that is an address, before anything is read.

    Raises:
        Invalid: it is one.
    """
    place = find(said("workspace"))
    if is_address(place):
        raise Invalid(
            f"The workspace is {place}, and files are scored where its folder is.",
            about="workspace",
            hint="On the machine of that server, run `interlock --workspace FOLDER predict ...` with the folder that it"
            " serves; it may go on serving meanwhile. Python, Polars and DuckDB score here with its models.",
        )


def _watch(store: Store) -> Watch:
    """Return what shows how it goes: a bar on a terminal with `rich`, else a line now and then."""
    if said("json"):
        return Watch()
    if sys.stderr.isatty() and settings(store.project)["color"].value:
        try:
            return _bar()
        except ModuleNotFoundError:
            pass
    return Lines()


def _bar() -> Watch:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    class Bar(Watch):
        def __init__(self) -> None:
            columns = (BarColumn(), MofNCompleteColumn(), "rows", TimeElapsedColumn(), TimeRemainingColumn())
            self._progress = Progress(*columns, console=Console(stderr=True), transient=True)

        def expects(self, rows: int | None) -> None:
            self._task = self._progress.add_task("rows", total=rows)
            self._progress.start()

        def took(self, rows: int, resumed: bool = False) -> None:  # noqa: ARG002 - done is done
            self._progress.advance(self._task, rows)

        def ended(self) -> None:
            self._progress.stop()

    return Bar()


class Lines(Watch):
    """Says every few seconds how many rows are done."""

    def __init__(self, clock: Any = time.monotonic) -> None:
        self._clock = clock
        self._rows: int | None = None
        self._done = 0
        self._began = self._said = clock()

    def expects(self, rows: int | None) -> None:
        """Take how many rows there are."""
        self._rows = rows

    def took(self, rows: int, resumed: bool = False) -> None:
        """Take how many more rows are done."""
        self._done += rows
        if resumed:
            note(f"{rows:,} rows were done before.")
            return
        if self._clock() - self._said >= _EVERY_S:
            self._said = self._clock()
            of = f" of {self._rows:,}" if self._rows else ""
            note(f"{self._done:,}{of} rows after {self._said - self._began:.0f} s")

    def ended(self) -> None:
        """Take that nothing more follows."""

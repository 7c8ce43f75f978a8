"""What the demo says: headings, lines and progress; plain lines when nobody watches a terminal."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_WIDTH = 108


class Screen:
    """Prints the story. Colours and bars only on a terminal that has rich."""

    def __init__(self) -> None:
        self.fancy = sys.stdout.isatty() and importlib.util.find_spec("rich") is not None

    def title(self, text: str) -> None:
        """Print the heading of a part."""
        self._print(f"\n{text}", style="bold cyan")

    def line(self, text: str, *, mark: str = " ") -> None:
        """Print one line of a part, wrapped and indented.

        Args:
            text: what to say.
            mark: what kind of line it is: "+" something passed, "!" something was stopped, " " neither.
        """
        lead = f" {mark} "
        wrapped = textwrap.fill(text, _WIDTH, initial_indent=lead, subsequent_indent="   ")
        self._print(wrapped, style={"+": "green", "!": "yellow"}.get(mark, ""))

    def table(self, rows: list[tuple[str, ...]]) -> None:
        """Print rows in columns, the first row being their names."""
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for number, row in enumerate(rows):
            text = "   " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            self._print(text, style="bold" if number == 0 else "")

    @contextlib.contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show how far a long piece of work is; yields what is called with the size of each step."""
        if not self.fancy:
            yield lambda _: None
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (TextColumn("   {task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda size: bar.advance(task, size)

    @contextlib.contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Show that something takes a moment."""
        if not self.fancy:
            yield
            return
        from rich.console import Console

        with Console().status(f"   {what}"):
            yield

    def _print(self, text: str, *, style: str = "") -> None:
        if self.fancy and style:
            from rich.console import Console

            Console(highlight=False, soft_wrap=True).print(text, style=style, markup=False)
        else:
            print(text, flush=True)  # noqa: T201 - this module is how the demo speaks

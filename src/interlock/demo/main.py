"""`interlock demo`: lay out the example, tell the story, say where to look."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.core.errors import EXTRAS, Conflict, MissingExtra, NotFound
from interlock.demo.layout import lay_out
from interlock.demo.people import PEOPLE
from interlock.demo.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.demo.story import Story
    from interlock.sdk import Workspace

SCRIPTED = (
    "The rows are real: American Community Survey, Massachusetts, 2015-2018. What is scripted: who arrives in which"
    " month (the rows of a year are dealt to its months by a hash of `person`), and that labels come a month later."
    " Time is the requests' own time. Every number below is computed in this run."
)


def run_demo(folder: Path, people: int = PEOPLE) -> None:
    """Tell the story in a folder; a demo that was stopped there goes on.

    Args:
        folder: where the example is laid out.
        people: how many people come in a month.

    Raises:
        Conflict: the folder holds something else, or another demo is at work there.
        MissingExtra: a library that the demo needs is not installed.
    """
    _check_installed()
    screen, began = Screen(), time.monotonic()
    fresh = lay_out(folder)
    screen.title(f"Interlock: one model's life, in {folder}")
    screen.line(SCRIPTED)
    if not fresh:
        screen.line("The folder is there already: the story goes on where it stopped.")
    from interlock.demo.story import Story
    from interlock.sdk import Workspace

    with Workspace.open(folder) as workspace, _alone(folder):
        story = Story(workspace, folder, screen, people)
        try:
            _tell(story)
        finally:  # the server is a process of its own, which would outlive a story that breaks off
            try:
                _stop(workspace)
            except KeyboardInterrupt:  # one Ctrl-C may come twice, from Polars and from Python
                _stop(workspace)
                raise
    screen.title(f"Done in {time.monotonic() - began:.0f} s. The workspace stays in {folder}. Look around:")
    for command in (*_activation(), *LOOK):
        screen.line(f"$ {command.format(folder=folder)}")


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other demos out of a folder, and let the end by SIGTERM be as orderly as that by Ctrl-C.

    Raises:
        Conflict: another demo is at work there; two would send everybody twice.
    """

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    with (folder / ".interlock" / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"Another demo is at work in {folder}.",
                about="demo",
                hint="Wait for it, or name another with --folder.",
            ) from None
        before = signal.signal(signal.SIGTERM, end)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)


def _tell(story: Story) -> None:
    story.data()
    story.first_candidate()
    story.second_candidate()
    story.approve()
    story.live(2016, "5. 2016: the same ages are scored, every month; labels come a month later")
    story.live(2017, "6. 2017: the programme opens to everyone aged 16 to 94")
    story.live(2018, "8. 2018: the new champion")
    story.last_labels()
    story.replay()
    story.prove()
    story.life()


def _stop(workspace: Workspace) -> None:
    from interlock.demo.story import NAME

    with contextlib.suppress(NotFound):  # it broke off before there was a deployment
        workspace.deploy.stop(NAME)


def _check_installed() -> None:
    """Check that what the demo needs is there, before anything is laid out; it looks plainer without `terminal`."""
    for module, extra in EXTRAS.items():
        if extra in {"data", "train", "serve"} and importlib.util.find_spec(module) is None:
            raise MissingExtra.named("demo", module)


def _activation() -> list[str]:
    """Return what makes `interlock` a command in this shell, when it is none yet."""
    script = Path(sys.prefix, "bin", "activate")
    if shutil.which("interlock") or not script.exists():
        return []
    return [f"source {os.path.relpath(script)}"]


LOOK = (
    "cd {folder}",
    "interlock status",
    "interlock audit report model:employment@1",
    "interlock monitor windows employment",
    "interlock ledger events --newest --limit 20",
    "interlock deploy start employment",
    "interlock up",
)

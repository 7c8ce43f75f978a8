"""`interlock up`: one process that serves the workspace and keeps the loop turning."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any

import click

from interlock.cli.commands import common
from interlock.cli.session import open_workspace
from interlock.sdk.places import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from interlock.sdk.services import Service
    from interlock.sdk.workspace import Workspace


def up(services: Mapping[str, Service]) -> click.Command:
    """Return the command that serves and turns."""

    def run(**words: Any) -> None:
        with open_workspace(services) as workspace:
            _serve(workspace, words)

    params: list[click.Parameter] = [
        click.Option(["--host"], metavar="ADDRESS", help="Address to listen on [default: 127.0.0.1]."),
        click.Option(["--port"], type=int, help="Port to listen on; 0 picks a free one [default: 8230]."),
        click.Option(["--loop/--no-loop"], default=True, help="Keep the loop turning, or only serve."),
        click.Option(["--allow-host"], multiple=True, metavar="NAME", help="Answer to this name too (a proxy's)."),
        click.Option(
            ["--insecure-no-auth"],
            is_flag=True,
            help="Listen beyond this machine although nobody signs in: whoever reaches it may do everything.",
        ),
    ]
    text = "Serve the workspace's API and pages, and keep the loop turning, until it is interrupted."
    return click.Command("up", callback=run, params=[*params, *common()], help=text)


def _serve(workspace: Workspace, words: Mapping[str, Any]) -> None:
    from interlock.server.run import Server, stopping

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    values = settings(workspace.store.project, {"host": words["host"], "port": words["port"]})
    server = Server(
        workspace,
        values["host"].value,
        values["port"].value,
        insecure_no_auth=words["insecure_no_auth"],
        hosts=words["allow_host"],
    )
    if words["insecure_no_auth"]:
        warning = "Nobody signs in here: whoever reaches this address may do everything."
        click.echo(click.style(warning, fg="red", bold=True), err=True)
    click.echo(f"Interlock serves {workspace.location} at {server.address} (Ctrl-C ends it)")
    turning = _turning(workspace, server.stop) if words["loop"] else contextlib.nullcontext()
    with stopping(server.stop), turning:
        server.run()


@contextlib.contextmanager
def _turning(workspace: Workspace, end: Callable[[], None]) -> Iterator[None]:
    """Keep the loop turning in a thread while the block runs; one that breaks calls `end`, and its error is raised."""
    from interlock.loop.runner import run_forever

    stop = threading.Event()
    broken: list[BaseException] = []

    def turn() -> None:
        try:
            run_forever(workspace.store, stop)
        except BaseException as error:  # noqa: BLE001 - the border of the thread: raised again below
            broken.append(error)
            end()

    thread = threading.Thread(target=turn, name="interlock-loop")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if broken:
        raise broken[0]

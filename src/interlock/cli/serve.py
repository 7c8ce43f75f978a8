"""`interlock serve MODEL`: answers of one version of a model over HTTP, until it is interrupted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from interlock.cli.commands import common
from interlock.cli.session import note, open_workspace
from interlock.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from interlock.sdk.services import Service

_PORT = 8231


def serve(services: Mapping[str, Service]) -> click.Command:
    """Return the command that serves a model."""

    def run(**words: Any) -> None:
        with open_workspace(services) as workspace:
            if workspace.store is None:
                raise Invalid(
                    "A model is served where the workspace's files are.",
                    about="workspace",
                    hint="Run this on the server's machine, or deploy: `interlock deploy deploy NAME MODEL`.",
                )
            _serve(workspace.store.root, words)

    params: list[click.Parameter] = [
        click.Argument(["model"], help="The version: credit@champion, credit@7, or credit for the newest."),
        click.Option(["--host"], default="127.0.0.1", show_default=True, help="Address to listen on."),
        click.Option(["--port"], type=int, default=_PORT, show_default=True, help="Port; 0 picks a free one."),
        click.Option(["--grpc-port"], type=int, help="Port for gRPC too; 0 picks a free one."),
        click.Option(
            ["--durability"],
            type=click.Choice(["fsync", "1s"]),
            default="fsync",
            show_default=True,
            help="When an answer counts as recorded: on disk, or with the kernel and on disk within a second.",
        ),
        click.Option(["--allow-host"], multiple=True, metavar="NAME", help="Answer to this name too (a proxy's)."),
        click.Option(["--max-concurrent"], type=int, default=256, show_default=True, help="Requests at once."),
        click.Option(["--code-models"], is_flag=True, help="Let originals answer, in a process of their own."),
        click.Option(["--unapproved"], is_flag=True, help="Beyond this machine, also what nobody approved."),
    ]
    text = "Serve one version of a model: Open Inference Protocol, MLflow's /invocations, SageMaker's contract."
    return click.Command("serve", callback=run, params=[*params, *common()], help=text)


def _serve(root: Path, words: Mapping[str, Any]) -> None:
    # Threads of the linear algebra library spin while they wait, and would take the processor from other requests.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from interlock.serve.app import Limits
    from interlock.serve.server import Options, run
    from interlock.store import open_store

    options = Options(
        model=words["model"],
        unapproved=words["unapproved"],
        code_models=words["code_models"],
        host=words["host"],
        port=words["port"],
        grpc_port=words["grpc_port"],
        durability=words["durability"],
        limits=Limits(concurrent=words["max_concurrent"], hosts=tuple(words["allow_host"])),
        ready=lambda said: note(f"{words['model']}: version {said.revision} answers at {said.url} (Ctrl-C ends it)"),
    )
    store = open_store(root)
    try:
        run(store, options)
    finally:
        store.close()

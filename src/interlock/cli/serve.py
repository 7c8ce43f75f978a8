"""`interlock serve MODEL...`: answers of versions of models over HTTP, until it is interrupted.

Without a MODEL it looks whether it runs in a container of a platform that says where the model is
(`interlock.cli.containers`): `docker run IMAGE serve` is how SageMaker starts one.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from interlock.cli.answering import answering, serving_of
from interlock.cli.commands import common
from interlock.cli.containers import admit, container, memory_bound, reason
from interlock.cli.session import note, open_workspace, said
from interlock.core.errors import Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from interlock.cli.containers import Container
    from interlock.sdk.services import Service
    from interlock.serve.holding import Announcement
    from interlock.serve.server import Options
    from interlock.store import Store

_PORT = 8231
_HOST = "127.0.0.1"
_WORKSPACE = "INTERLOCK_WORKSPACE"


def serve(services: Mapping[str, Service]) -> click.Command:
    """Return the command that serves models."""

    def run(**words: Any) -> None:
        _run(services, words)

    text = (
        "Serve versions of models: Open Inference Protocol, MLflow's /invocations, and the contracts of SageMaker's and"
        " Vertex AI's containers."
    )
    return click.Command(
        "serve", callback=run, params=[*_models(), *_listening(), *_taking(), *answering(), *common()], help=text
    )


def _models() -> list[click.Parameter]:
    what = (
        "A version, credit@champion, credit@7, or credit for the newest; or a folder of files, ./credit; or one file,"
        " ./credit.onnx."
    )
    return [
        click.Argument(["models"], nargs=-1, metavar="MODEL...", help=f"{what} In a container: none, for its own."),
        click.Option(
            ["--model-control"],
            type=click.Choice(["none", "explicit"]),
            default="none",
            show_default=True,
            help="explicit: whoever reaches the server may load and unload models of this workspace.",
        ),
        click.Option(
            ["--model-root"],
            multiple=True,
            type=click.Path(),
            metavar="FOLDER",
            help="With explicit control, folders below this one may be loaded, too.",
        ),
        click.Option(
            ["--memory-bytes"],
            type=int,
            help="Refuse to load beyond so much memory [default: no bound; where a container loads, 9/10 of its own].",
        ),
        click.Option(
            ["--code-models/--no-code-models"],
            default=None,
            help="Whether originals may answer, in a process of their own [default: as interlock.toml says of the"
            " model's deployments; else no].",
        ),
        click.Option(["--unapproved"], is_flag=True, help="Beyond this machine, also what nobody approved."),
    ]


def _listening() -> list[click.Parameter]:
    return [
        click.Option(["--host"], help=f"Address to listen on [default: {_HOST}; all in a container]."),
        click.Option(["--port"], type=int, help=f"Port; 0 picks a free one [default: {_PORT}, or the container's]."),
        click.Option(["--grpc-port"], type=int, help="Port for gRPC too; 0 picks a free one."),
        click.Option(["--allow-host"], multiple=True, metavar="NAME", help="Answer to this name too (a proxy's)."),
    ]


def _taking() -> list[click.Parameter]:
    return [
        click.Option(
            ["--durability"],
            type=click.Choice(["fsync", "1s"]),
            default="fsync",
            show_default=True,
            help="When an answer counts as recorded: on disk, or with the kernel and on disk within a second.",
        ),
        click.Option(["--max-concurrent"], type=int, default=256, show_default=True, help="Requests at once."),
    ]


def _run(services: Mapping[str, Service], words: dict[str, Any]) -> None:
    # Threads of the linear algebra library spin while they wait, and would take the processor from other requests.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from interlock.serve.server import run
    from interlock.serve.stock import is_folder

    inside = container(named=bool(words["models"]))
    models = words["models"] or ((inside.model,) if inside is not None and inside.model else ())
    words["model_control"] = words["model_control"] == "explicit" or bool(inside is not None and inside.roots)
    if not models and not words["model_control"]:
        raise Invalid(
            "No model is named.",
            about="server",
            hint="Say which: interlock serve credit@champion, or interlock serve ./folder.",
        )
    options = _options(words, models, inside)
    folders = bool(models) and all(map(is_folder, models)) and not (said("workspace") or os.environ.get(_WORKSPACE))
    with _store(services, alone=inside is not None or folders) as store:
        if words["code_models"] is None and not words["model_control"] and _originals(store, models):
            note("Originals may answer: interlock.toml says so of the model's deployments (--no-code-models forbids).")
            options = msgspec.structs.replace(options, code_models=True)
        run(store, options)


def _originals(store: Store, models: tuple[str, ...]) -> bool:
    """Return whether the project that was applied lets the originals of all these models answer; a folder's never."""
    from interlock.core.refs import parse
    from interlock.deploy.stated import allows_originals
    from interlock.serve.stock import is_folder

    return all(
        not is_folder(model) and allows_originals(store.database, store.objects, parse(model, "model").name)
        for model in models
    )


def _options(words: Mapping[str, Any], models: tuple[str, ...], inside: Container | None) -> Options:
    """Return how the server is started; what is said goes before what the container says."""
    from interlock.serve.app import Limits
    from interlock.serve.server import Options

    hosts, why = words["allow_host"], reason() if inside is not None else ""
    if inside is not None:
        hosts = (*hosts, "*")
        note(f"In a container of {inside.platform}" + (f"; unapproved models may answer: {why}" if why else "."))

    bound = words["memory_bytes"]
    if bound is None:
        bound = memory_bound() if inside is not None and inside.roots else 0

    def ready(told: Announcement) -> None:
        version = f"version {told.revision}" if told.revision and len(models) == 1 else f"{len(models)} models"
        calls = f", gRPC on port {told.grpc_port}" if told.grpc_port else ""
        note(f"{', '.join(models) or 'No model yet'}: {version} at {told.url}{calls} (Ctrl-C ends it)")

    def refused(name: str, why: str) -> None:
        click.echo(f"{name} is refused: {why}", err=True)

    return Options(
        model=models[0] if models else "",
        further=models[1:],
        explicit=words["model_control"],
        memory_bytes=bound,
        roots=(*map(Path, words["model_root"]), *(inside.roots if inside is not None else ())),
        admit=admit,
        unapproved=words["unapproved"] or bool(why),
        code_models=bool(words["code_models"]),
        host=words["host"] or (_HOST if inside is None else "0.0.0.0"),  # noqa: S104 - the container is the border
        port=words["port"] if words["port"] is not None else _PORT if inside is None else inside.port,
        grpc_port=words["grpc_port"],
        durability=words["durability"],
        serving=serving_of(words),
        limits=Limits(concurrent=words["max_concurrent"], hosts=tuple(hosts)),
        ready=ready,
        refused=refused,
    )


@contextlib.contextmanager
def _store(services: Mapping[str, Service], *, alone: bool) -> Iterator[Store]:
    """Open the workspace; where folders are served and there is none, one is made.

    Raises:
        Invalid: the workspace is an address.
        NotFound: there is none, and versions of models are wanted.
    """
    from interlock.store import open_store

    try:
        with open_workspace(services) as workspace:
            if workspace.store is None:
                raise Invalid(
                    "A model is served where the workspace's files are.",
                    about="workspace",
                    hint="Run this on the server's machine, or deploy: `interlock deploy deploy NAME MODEL`.",
                )
            root = workspace.store.root
    except NotFound:
        if not alone:
            raise
        root = make_workspace(said("workspace") or "")
    store = open_store(root)
    try:
        yield store
    finally:
        store.close()


def make_workspace(named: str = "") -> Path:
    """Return the root of a workspace, which is made if it is missing, and say on stderr where it is.

    Args:
        named: where; "" for INTERLOCK_WORKSPACE, or a temporary folder.

    Raises:
        Invalid: it cannot be made there.
    """
    from interlock.sdk.places import FOLDER
    from interlock.store import create_store

    named = named or os.environ.get(_WORKSPACE, "")
    place = Path(named).expanduser() if named else Path(tempfile.mkdtemp(prefix="interlock-"))
    root = place if place.name == FOLDER else place / FOLDER
    try:
        create_store(root).close()
    except OSError as error:
        raise Invalid(
            f"No workspace can be made in {place}: {error.strerror}.",
            about="workspace",
            hint=f"Name a folder that can be written, by {_WORKSPACE}.",
        ) from None
    kept = "" if named else f"; it ends with this machine, unless {_WORKSPACE} names a folder that stays"
    click.echo(f"Predictions are recorded in {place}{kept}.", err=True)
    return root

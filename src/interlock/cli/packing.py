"""`interlock export container` and `interlock export azureml`: a version as folders that container platforms take.

The files of the version go with the workspace's signed note that it is approved, so that a container shows it to others
(`interlock.cli.containers`); a version that is not approved is packed only with `--unapproved`, and without a note. The
held-out rows that it was judged on are people's, and stay at home.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from interlock.cli.commands import common
from interlock.cli.session import note, open_workspace, show
from interlock.core.errors import Conflict, Invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from interlock.registry.vouching import Vouched
    from interlock.sdk.services import Service
    from interlock.sdk.workspace import Workspace

MODEL: Final = "model"
KEY_FILE: Final = "trusted.vkey"
_DOCKERFILE: Final = """\
# docker build -t NAME . && docker run -p 8080:8080 NAME
FROM python:3.12-slim
RUN pip install --no-cache-dir 'interlock[serve]=={version}'
COPY model /opt/ml/model
COPY trusted.vkey /opt/interlock/trusted.vkey
ENV INTERLOCK_TRUSTED_KEY=/opt/interlock/trusted.vkey INTERLOCK_WORKSPACE=/var/lib/interlock
VOLUME /var/lib/interlock
EXPOSE 8080
# In the form of a list, so that SIGTERM reaches the server; SageMaker adds the word `serve` by itself.
ENTRYPOINT ["interlock"]
CMD ["serve"]
"""
_SCORE: Final = '''\
"""Answers for azureml-inference-server-http: `init` opens the model, `run` answers as /invocations does."""

import os

from azureml_inference_server_http.api.aml_response import AMLResponse

_scorer = None


def init():
    from interlock.cli.packing import open_scorer

    global _scorer
    here = os.path.dirname(os.path.abspath(__file__))
    _scorer = open_scorer(os.environ.get("AZUREML_MODEL_DIR") or os.path.join(here, "model"), here)


def run(data):
    status, body = _scorer.answer(data)
    return AMLResponse(body.decode(), status, {"Content-Type": "application/json"})
'''
_DEPLOYMENT: Final = """\
# az ml online-deployment create --file deployment.yml
$schema: https://azuremlschemas.azureedge.net/latest/managedOnlineDeployment.schema.json
name: {name}
endpoint_name: {name}
model:
  path: ./model
environment:
  image: IMAGE  # of `interlock export container`, pushed to a registry that Azure reads
  inference_config:
    liveness_route:
      port: 8080
      path: /v2/health/live
    readiness_route:
      port: 8080
      path: /ping
    scoring_route:
      port: 8080
      path: /invocations
instance_type: Standard_DS3_v2
instance_count: 1
"""


def commands(services: Mapping[str, Service]) -> list[click.Command]:
    """Return the commands that pack a version."""

    def add(name: str, more: Callable[[Path, str], None], text: str) -> click.Command:
        def run(**words: Any) -> None:
            with open_workspace(services) as workspace:
                found = pack(workspace, words["version"], Path(words["folder"]), more, unapproved=words["unapproved"])
            show(found)

        params: list[click.Parameter] = [
            click.Argument(["version"], help="A version: model:NAME@3, model:NAME@champion, or model:NAME."),
            click.Argument(["folder"], type=click.Path(), help="Where to write; not there yet."),
            click.Option(["--unapproved"], is_flag=True, help="Also a version that nobody approved."),
        ]
        return click.Command(name, callback=run, params=[*params, *common()], help=text)

    return [
        add("container", _container, "Write a version with a Dockerfile: for SageMaker, Vertex AI, or any machine."),
        add("azureml", _azureml, "Write a version with score.py and deployment.yml for Azure ML's endpoints."),
    ]


def pack(
    workspace: Workspace, version: str, folder: Path, more: Callable[[Path, str], None], *, unapproved: bool = False
) -> dict[str, str]:
    """Return what was written: a version's files below `model`, its approval, and what a platform wants beside.

    Args:
        workspace: where the version is.
        version: its reference.
        folder: a folder that is not there yet; it comes as a whole, or not at all.
        more: writes the rest into a folder, for a name.
        unapproved: whether a version that nobody approved is packed.

    Raises:
        Conflict: the folder is there, or cannot be made.
        GateClosed: nobody approved the version.
        Invalid: its files rest outside.
    """
    from interlock.registry.vouching import APPROVAL_FILE
    from interlock.sdk.downloads import download

    found = workspace.registry.version(version)
    if not found.bundle:
        raise Invalid(f"{found.ref} is not pinned: its files rest outside.", about="model_version")
    vouched = None if unapproved else workspace.registry.approval_note(found.ref)
    if folder.exists():
        raise Conflict(f"{str(folder)!r} is there already.", about="folder", hint="Name one that is not.")
    try:
        with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=".interlock-") as name:
            staged = Path(name) / "packed"
            staged.mkdir()
            download(workspace, found.ref, staged / MODEL)
            behind = _keep_back(staged / MODEL, vouched)
            if vouched is not None:
                (staged / MODEL / APPROVAL_FILE).write_text(vouched.note, encoding="utf-8")
            (staged / KEY_FILE).write_text(f"{vouched.key}\n" if vouched is not None else "", encoding="utf-8")
            more(staged, found.model)
            shutil.move(staged, folder)
    except OSError as error:
        raise Conflict(f"{str(folder)!r} cannot be written: {error.strerror}.", about="folder") from None
    if behind:
        note(f"Left out, for nothing that answers needs it: {', '.join(behind)}.")
    if vouched is None:
        note("Nobody approved it: set INTERLOCK_UNAPPROVED to the reason why it may answer.")
    return {"version": found.ref, "folder": str(folder), "approved": "no" if vouched is None else "yes"}


def _keep_back(folder: Path, vouched: Vouched | None) -> tuple[str, ...]:
    """Return the files that were taken out of a version's folder; where it is vouched for, those the note says."""
    from interlock.registry.vouching import kept_back

    bundle = folder / "bundle.json"
    paths = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
    behind = kept_back(paths, bundle.read_bytes() if bundle.is_file() else b"") if vouched is None else vouched.without
    for path in behind:
        (folder / path).unlink()
    return behind


def open_scorer(model: str, beside: str) -> Any:
    """Return what answers for a server that calls a function, such as Azure ML's.

    Args:
        model: the folder of the model.
        beside: the folder in which the key that is trusted may lie.

    Raises:
        GateClosed: nobody vouches for the model.
        Error: it cannot answer.
    """
    from interlock.cli.containers import KEY, admit, reason
    from interlock.cli.serve import make_workspace
    from interlock.serve.scoring import Scorer
    from interlock.serve.stock import Stock
    from interlock.store import open_store

    key = Path(beside) / KEY_FILE
    trusted = {KEY: str(key)} if key.is_file() else {}

    def check(folder: Path, digest: str) -> None:
        import os

        admit(folder, digest, {**trusted, **os.environ})

    store = open_store(make_workspace())
    source = Stock(store, approved_only=not reason(), admit=check).source(str(Path(model).absolute()))
    return Scorer(source, store)


def _container(folder: Path, name: str) -> None:  # noqa: ARG001 - all are packed alike
    from interlock import __version__

    (folder / "Dockerfile").write_text(_DOCKERFILE.format(version=__version__), encoding="utf-8")


def _azureml(folder: Path, name: str) -> None:
    import re

    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:32] or MODEL
    (folder / "score.py").write_text(_SCORE, encoding="utf-8")
    (folder / "deployment.yml").write_text(_DEPLOYMENT.format(name=plain), encoding="utf-8")

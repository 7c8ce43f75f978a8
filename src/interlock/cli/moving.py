"""`interlock import` and `interlock export`: take over what another tool holds, and give it what it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from interlock.cli.commands import Near, common
from interlock.cli.session import note, open_workspace, said, show

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.sdk.services import Service

_INCOMPLETE = 1


def take_over(services: Mapping[str, Service]) -> click.Command:
    """Return the group of stores that can be taken over."""

    def mlflow(**words: Any) -> int:
        return _mlflow(services, words["source"], words["artifacts"])

    params: list[click.Parameter] = [
        click.Argument(
            ["source"], help="http://server:5000, sqlite:///mlflow.db, or a folder such as mlruns; it is only read."
        ),
        click.Option(
            ["--artifacts"],
            metavar="FOLDER",
            help="Where the store's server kept proxied files (its --artifacts-destination).",
        ),
    ]
    text = (
        "Take over an MLflow store: experiments, runs with all their points, tags, files, models, versions, aliases."
        " Started again, it goes on where it broke off."
    )
    command = click.Command("mlflow", callback=mlflow, params=[*params, *common()], help=text)
    return Near("import", help="Take over what another tool holds.", commands=[command], params=common())


def _mlflow(services: Mapping[str, Service], address: str, artifacts: str | None) -> int:
    from pathlib import Path

    from interlock.bridges.mlflow import Importer, open_source

    source = open_source(address, Path(artifacts) if artifacts else None)
    try:
        with open_workspace(services) as workspace:
            report = Importer(workspace.store, source, note).run()
    finally:
        source.close()
    if said("json"):
        show(report)
    else:
        show(list(report.counts))
        for line in report.left:
            note(f"Left: {line}")
        note("Both sides are equal." if report.complete else "Not all could be taken over; see above.")
    return 0 if report.complete else _INCOMPLETE


def give(services: Mapping[str, Service]) -> click.Command:
    """Return the group of tools for which everything can be written."""

    def mlflow(**words: Any) -> None:
        from pathlib import Path

        from interlock.bridges.mlflow import Exporter

        with open_workspace(services) as workspace:
            exporter = Exporter(workspace.store, Path(words["folder"]), note)
            counts = exporter.run()
        show(counts)
        for line in exporter.left:
            note(f"Left: {line}")
        note(f"MLflow reads it: MLFLOW_ALLOW_FILE_STORE=true MLFLOW_TRACKING_URI={words['folder']}/mlruns")

    folder = click.Argument(["folder"], help="Where to write; must not be there yet.")
    text = "Write all runs and models as folders that MLflow loads."
    command = click.Command("mlflow", callback=mlflow, params=[folder, *common()], help=text)
    return Near("export", help="Write everything for another tool.", commands=[command], params=common())

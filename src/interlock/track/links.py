"""Links of runs: the datasets and models that a run read, and the models that it made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from interlock.core.canonical import canonical
from interlock.track.experiments import among

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.core.ports import Reader, Transaction
    from interlock.store import Store

CONTEXT: Final = "mlflow.data.context"
_DIGEST_LENGTH: Final = 36  # of MLflow's protocol
LinkKind = Literal["dataset", "model", "output"]


class Dataset(msgspec.Struct, frozen=True, omit_defaults=True):
    """A dataset as a client describes it; `digest` is the client's own fingerprint of it."""

    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str | None = None
    profile: str | None = None


class Link(msgspec.Struct, frozen=True):
    """What a run read or made.

    Attributes:
        kind: dataset, model (one that it read) or output (one that it made).
        name: the dataset's name, or the logged model's id.
        digest: the dataset's, or "".
        step: of an output: when in the run it was made.
        tags: of an input: such as `mlflow.data.context`.
        dataset: what the client said of it.
    """

    kind: LinkKind
    name: str
    digest: str = ""
    step: int = 0
    tags: dict[str, str] = {}
    dataset: Dataset | None = None


def of_input(ref: str) -> Link | None:
    """Return the link of one of a run's own inputs, as protocols show it; None of one that is no data.

    Args:
        ref: such as `data:people@3` or `file:data/people.csv@sha256=...`.
    """
    kind, _, rest = ref.partition(":")
    name, _, version = rest.rpartition("@")
    if kind not in {"data", "file"} or not name:
        return None
    digest = version.removeprefix("sha256=")[:_DIGEST_LENGTH]
    source = canonical({"uri": ref if kind == "data" else name}).decode()
    return Link(
        "dataset", name, digest, dataset=Dataset(name, digest, "interlock" if kind == "data" else "local", source)
    )


class Links:
    """The links of a workspace's runs.

    Args:
        store: what the workspace remembers.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, tx: Transaction, run: str, experiment: str, links: Sequence[Link]) -> None:
        """Add links to a run; one that is there already keeps its place and takes the new tags."""
        fresh = self.keep(tx, run, experiment, links)
        if fresh:
            data = {
                "datasets": [f"{link.name}@{link.digest}" for link in fresh if link.kind == "dataset"],
                "models": [link.name for link in fresh if link.kind == "model"],
                "outputs": [link.name for link in fresh if link.kind == "output"],
            }
            self._store.ledger.append(tx, "run.linked", f"run:{run}", data)

    def keep(self, tx: Transaction, run: str, experiment: str, links: Sequence[Link]) -> list[Link]:
        """Add links as `add` does, for a caller who tells the ledger of them; return those that were not there so."""
        held = {_identity(row): row for row in tx.all("SELECT * FROM run_links WHERE run = :run", {"run": run})}
        fresh = [link for link in links if not _is_held(link, held.get((link.kind, link.name, link.digest)))]
        for link in fresh:
            if link.dataset is not None:
                tx.run(
                    "INSERT INTO seen_datasets (experiment, name, digest, record)"
                    " VALUES (:experiment, :name, :digest, :record) ON CONFLICT (experiment, name, digest) DO NOTHING",
                    {
                        "experiment": experiment,
                        "name": link.name,
                        "digest": link.digest,
                        "record": canonical(link.dataset),
                    },
                )
            tx.run(
                "INSERT INTO run_links (run, kind, name, digest, step, context, tags)"
                " VALUES (:run, :kind, :name, :digest, :step, :context, :tags) ON CONFLICT (run, kind, name, digest)"
                " DO UPDATE SET step = excluded.step, context = excluded.context, tags = excluded.tags",
                {
                    "run": run,
                    "kind": link.kind,
                    "name": link.name,
                    "digest": link.digest,
                    "step": link.step,
                    "context": link.tags.get(CONTEXT, ""),
                    "tags": canonical(link.tags).decode(),
                },
            )
        return fresh

    def of(self, runs: list[str]) -> dict[str, list[Link]]:
        """Return the links of runs; runs without any are left out."""
        database = self._store.database
        rows = among(
            database,
            "SELECT l.*, d.record FROM run_links l JOIN runs r ON r.id = l.run LEFT JOIN seen_datasets d"
            " ON l.kind = 'dataset' AND d.experiment = r.experiment AND d.name = l.name AND d.digest = l.digest"
            " WHERE l.run IN",
            runs,
            "ORDER BY l.run, l.kind, l.name, l.digest",
        )
        found: dict[str, list[Link]] = {}
        for row in rows:
            found.setdefault(row["run"], []).append(_link(row))
        return found

    def seen(self, experiments: list[str], limit: int) -> list[tuple[str, str, str, str]]:
        """Return datasets that runs of experiments read: experiment, name, digest, context."""
        database: Reader = self._store.database
        rows = among(
            database,
            "SELECT DISTINCT r.experiment, l.name, l.digest, l.context FROM run_links l JOIN runs r ON r.id = l.run"
            " WHERE l.kind = 'dataset' AND r.experiment IN",
            experiments,
            f"ORDER BY r.experiment, l.name, l.digest LIMIT {int(limit)}",
        )
        return [(row["experiment"], row["name"], row["digest"], row["context"]) for row in rows]


def _identity(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["kind"], row["name"], row["digest"]


def _is_held(link: Link, row: dict[str, Any] | None) -> bool:
    return row is not None and (row["step"], _tags(row)) == (link.step, link.tags)


def _link(row: dict[str, Any]) -> Link:
    dataset = msgspec.json.decode(row["record"], type=Dataset) if row["record"] is not None else None
    return Link(row["kind"], row["name"], row["digest"], row["step"], _tags(row), dataset)


def _tags(row: dict[str, Any]) -> dict[str, str]:
    return msgspec.json.decode(row["tags"], type=dict[str, str])

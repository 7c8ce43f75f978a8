"""What an MLflow store holds, as it says it; instants in milliseconds since 1970 UTC."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

DELETED: Final = "Deleted_Internal"  # the stage under which stores keep what they deleted
Point = tuple[int, int, float]
"""Step, instant in milliseconds, value."""


class TheirExperiment(msgspec.Struct, frozen=True):
    """An experiment."""

    id: str
    name: str
    lifecycle: str
    tags: dict[str, str]


class TheirInput(msgspec.Struct, frozen=True):
    """A dataset that a run read."""

    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str | None = None
    profile: str | None = None
    tags: dict[str, str] = {}


class TheirRun(msgspec.Struct, frozen=True):
    """A run, without its points and files."""

    id: str
    experiment: str
    name: str
    user: str
    status: str
    lifecycle: str
    started_ms: int
    ended_ms: int | None
    artifacts: str
    params: dict[str, str]
    tags: dict[str, str]
    inputs: tuple[TheirInput, ...] = ()
    outputs: tuple[str, ...] = ()


class TheirLoggedModel(msgspec.Struct, frozen=True):
    """A logged model, without its files."""

    id: str
    experiment: str
    name: str
    type: str
    run: str
    status: str
    lifecycle: str
    artifacts: str
    params: dict[str, str]
    tags: dict[str, str]


class TheirModel(msgspec.Struct, frozen=True):
    """A registered model."""

    name: str
    description: str
    tags: dict[str, str]
    aliases: dict[str, int]


class TheirVersion(msgspec.Struct, frozen=True):
    """A version of a registered model; `artifacts` is where its files are."""

    model: str
    version: int
    description: str
    user: str
    stage: str
    source: str
    artifacts: str
    run: str
    status: str
    run_link: str
    tags: dict[str, str]


class Source(Protocol):
    """A store of MLflow, read only."""

    def experiments(self) -> Iterator[TheirExperiment]:
        """Yield all experiments, deleted ones too."""
        ...

    def runs(self, experiment: str) -> Iterator[TheirRun]:
        """Yield the runs of an experiment, deleted ones too."""
        ...

    def metrics(self, run: TheirRun) -> Iterator[tuple[str, list[Point]]]:
        """Yield the metrics of a run with all their points."""
        ...

    def logged_models(self, experiment: str) -> Iterator[TheirLoggedModel]:
        """Yield the logged models of an experiment."""
        ...

    def models(self) -> Iterator[tuple[TheirModel, list[TheirVersion]]]:
        """Yield the registered models with their versions, by number."""
        ...

    def files(self, place: str) -> Iterator[tuple[str, BinaryIO]]:
        """Yield the files below a place by relative path, opened; each is closed when the next is asked for."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...

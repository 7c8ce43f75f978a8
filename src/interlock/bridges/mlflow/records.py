"""What an MLflow store holds, as it says it; instants in milliseconds since 1970 UTC."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

DELETED: Final = "Deleted_Internal"  # the stage under which stores keep what they deleted
NO_STAGE: Final = "None"
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


class TheirOutput(msgspec.Struct, frozen=True):
    """A logged model that a run made, and when in the run."""

    model: str
    step: int = 0


class TheirRun(msgspec.Struct, frozen=True):
    """A run, without its points and files; `models` are the logged models that it read."""

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
    models: tuple[str, ...] = ()
    outputs: tuple[TheirOutput, ...] = ()


class TheirLoggedModel(msgspec.Struct, frozen=True):
    """A logged model, without its points and files."""

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


class TheirModelPoint(msgspec.Struct, frozen=True):
    """A point of a metric of a logged model, logged by a run, on a dataset if it names one."""

    key: str
    step: int
    at_ms: int
    value: float
    run: str = ""
    dataset_name: str = ""
    dataset_digest: str = ""


class TheirModel(msgspec.Struct, frozen=True):
    """A registered model; prompts are such models too."""

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


class TheirFile(NamedTuple):
    """A file: its relative path, its size in bytes (None where the store does not say), and what opens it."""

    path: str
    size: int | None
    open: Callable[[], AbstractContextManager[BinaryIO]]


class Overview(msgspec.Struct, frozen=True):
    """What a store says of itself at once.

    Attributes:
        runs: how many runs it holds; None where it does not say.
        others: how many it holds of kinds that are not taken over, by name.
    """

    runs: int | None = None
    others: dict[str, int] = {}


class Source(Protocol):
    """A store of MLflow, read only.

    Attributes:
        left: what could not be read so far, and why; the rest is yielded.
    """

    left: list[str]

    def overview(self) -> Overview:
        """Return what the store says of itself at once."""
        ...

    def experiments(self) -> Iterator[TheirExperiment]:
        """Yield all experiments, deleted ones too."""
        ...

    def runs(self, experiment: str) -> Iterator[TheirRun]:
        """Yield the runs of an experiment, deleted ones too."""
        ...

    def metrics(self, run: TheirRun) -> Iterator[tuple[str, list[Point]]]:
        """Yield the metrics of a run in pieces: all of a metric's, one after the other, in order, each point once."""
        ...

    def logged_models(self, experiment: str) -> Iterator[TheirLoggedModel]:
        """Yield the logged models of an experiment."""
        ...

    def model_points(self, model: TheirLoggedModel) -> Iterator[TheirModelPoint]:
        """Yield the points of a logged model's metrics."""
        ...

    def models(self) -> Iterator[tuple[TheirModel, list[TheirVersion]]]:
        """Yield the registered models with their versions, by number."""
        ...

    def files(self, place: str) -> Iterator[TheirFile]:
        """Yield the files below a place."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...

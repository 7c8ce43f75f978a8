"""Logged models as people and programs see them, in words of ours."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

import msgspec

from interlock.core.files import StoredFile
from interlock.track.experiments import Lifecycle
from interlock.track.instants import instant
from interlock.track.logged_models import LoggedModelFacts, ModelStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class ModelPoint(msgspec.Struct, frozen=True):
    """A value of a metric of a logged model.

    Attributes:
        name: the metric.
        value: its value.
        step: the step it belongs to.
        run: the id of the run that logged it, or "".
        dataset: the name of the dataset that it was measured on, or "".
        dataset_digest: the digest that the client gave of it, or "".
    """

    TABLE: ClassVar = ("name", "value", "step", "dataset", "run", "at")

    name: str
    value: float
    step: int
    at: datetime
    run: str
    dataset: str
    dataset_digest: str

    def __str__(self) -> str:
        on = f" on {self.dataset}" if self.dataset else ""
        return f"{self.name}={self.value:.6g}{on}"


class LoggedModel(msgspec.Struct, frozen=True):
    """What a run saved as a model. Registered, it becomes a version of a model.

    Attributes:
        id: its id, such as `m-` and 32 hexadecimal digits.
        name: what it is called.
        experiment: the name of its experiment.
        type: what its maker says it is, such as a library.
        run: the id of the run that made it, or "".
        status: pending, ready or upload_failed.
        params: its params, all as text.
        tags: its tags.
        metrics: points of its metrics, on each dataset.
        files: its files, by path.
        lifecycle: active or deleted.
    """

    TABLE: ClassVar = ("id", "name", "type", "run", "status", "metrics", "created_at")

    id: str
    name: str
    experiment: str
    type: str
    run: str
    status: ModelStatus
    params: dict[str, str]
    tags: dict[str, str]
    metrics: tuple[ModelPoint, ...]
    files: tuple[StoredFile, ...]
    created_at: datetime
    updated_at: datetime
    lifecycle: Lifecycle


class LoggedModelPage(msgspec.Struct, frozen=True):
    """Logged models that a search found, and the token of the next page; "" after the last."""

    models: tuple[LoggedModel, ...]
    next_page_token: str


def shown_models(
    found: Sequence[LoggedModelFacts], experiments: Mapping[str, str], files: Mapping[str, Sequence[StoredFile]]
) -> list[LoggedModel]:
    """Return logged models as people see them.

    Args:
        found: the logged models.
        experiments: the names of their experiments, by id.
        files: their files, by id.
    """
    return [
        LoggedModel(
            id=facts.id,
            name=facts.name,
            experiment=experiments.get(facts.experiment, facts.experiment),
            type=facts.type,
            run=facts.run,
            status=facts.status,
            params=facts.params,
            tags=facts.tags,
            metrics=tuple(
                ModelPoint(
                    metric.key,
                    metric.point.value,
                    metric.point.step,
                    instant(metric.point.at),
                    metric.run,
                    metric.dataset_name,
                    metric.dataset_digest,
                )
                for metric in facts.metrics
            ),
            files=tuple(files.get(facts.id, ())),
            created_at=instant(facts.created_at),
            updated_at=instant(facts.updated_at),
            lifecycle=facts.lifecycle,
        )
        for facts in found
    ]

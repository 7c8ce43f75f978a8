"""What an MLflow server answers, as far as it is read: fields that are missing have protobuf's defaults."""

from __future__ import annotations

import msgspec

from interlock.bridges.mlflow.records import NO_STAGE, TheirInput, TheirOutput


class Pair(msgspec.Struct):
    """A tag or param."""

    key: str
    value: str = ""


class Experiment(msgspec.Struct):
    """An experiment."""

    experiment_id: str
    name: str
    lifecycle_stage: str = "active"
    tags: list[Pair] = []


class RunInfo(msgspec.Struct):
    """What a run is."""

    run_id: str
    run_name: str = ""
    user_id: str = ""
    status: str = "RUNNING"
    lifecycle_stage: str = "active"
    start_time: int = 0
    end_time: int | None = None
    artifact_uri: str = ""


class Metric(msgspec.Struct):
    """A point of a metric; the last fields are a logged model's."""

    key: str
    value: float = 0.0
    timestamp: int = 0
    step: int = 0
    run_id: str = ""
    dataset_name: str = ""
    dataset_digest: str = ""


class RunData(msgspec.Struct):
    """What a run logged."""

    metrics: list[Metric] = []
    params: list[Pair] = []
    tags: list[Pair] = []


class Dataset(msgspec.Struct):
    """A dataset."""

    name: str = ""
    digest: str = ""
    source_type: str = ""
    source: str = ""
    schema: str | None = None
    profile: str | None = None


class DatasetInput(msgspec.Struct):
    """A dataset that a run read."""

    dataset: Dataset
    tags: list[Pair] = []

    def taken(self) -> TheirInput:
        """Return it in our words."""
        return TheirInput(**msgspec.structs.asdict(self.dataset), tags=pairs(self.tags))


class ModelLink(msgspec.Struct):
    """A logged model that a run read or made."""

    model_id: str
    step: int = 0

    def taken(self) -> TheirOutput:
        """Return it in our words."""
        return TheirOutput(self.model_id, self.step)


class RunInputs(msgspec.Struct):
    """What a run read."""

    dataset_inputs: list[DatasetInput] = []
    model_inputs: list[ModelLink] = []


class RunOutputs(msgspec.Struct):
    """What a run made."""

    model_outputs: list[ModelLink] = []


class Run(msgspec.Struct):
    """A run."""

    info: RunInfo
    data: RunData = msgspec.field(default_factory=RunData)
    inputs: RunInputs = msgspec.field(default_factory=RunInputs)
    outputs: RunOutputs = msgspec.field(default_factory=RunOutputs)


class LoggedModelInfo(msgspec.Struct):
    """What a logged model is."""

    model_id: str
    name: str = ""
    model_type: str = ""
    source_run_id: str = ""
    status: str = ""
    artifact_uri: str = ""
    tags: list[Pair] = []


class LoggedModelData(msgspec.Struct):
    """What was logged to a logged model."""

    params: list[Pair] = []
    metrics: list[Metric] = []


class LoggedModel(msgspec.Struct):
    """A logged model."""

    info: LoggedModelInfo
    data: LoggedModelData = msgspec.field(default_factory=LoggedModelData)


class Alias(msgspec.Struct):
    """A registered model's alias."""

    alias: str
    version: int


class RegisteredModel(msgspec.Struct):
    """A registered model."""

    name: str
    description: str = ""
    tags: list[Pair] = []
    aliases: list[Alias] = []


class ModelVersion(msgspec.Struct):
    """A version of a registered model."""

    version: int
    description: str = ""
    user_id: str = ""
    current_stage: str = NO_STAGE
    source: str = ""
    run_id: str = ""
    status: str = "READY"
    run_link: str = ""
    tags: list[Pair] = []


class Entry(msgspec.Struct):
    """A file or folder."""

    path: str
    is_dir: bool = False
    file_size: int | None = None


class Listing(msgspec.Struct):
    """What lies in a folder."""

    files: list[Entry] = []


class Place(msgspec.Struct):
    """Where the files of a version are."""

    artifact_uri: str = ""


class OneRun(msgspec.Struct):
    """A run that was asked for."""

    run: Run


def pairs(found: list[Pair]) -> dict[str, str]:
    """Return tags or params by name."""
    return {pair.key: pair.value for pair in found}

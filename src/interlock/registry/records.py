"""What the registry remembers: models, their versions, and what a version rests on."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Final, Literal

import msgspec

from interlock.registry.lifecycle import Stage

MLFLOW_STAGES: Final = ("None", "Staging", "Production", "Archived")
STATUSES: Final = ("READY", "PENDING_REGISTRATION", "FAILED_REGISTRATION")
Format = Literal["bundle", "onnx", "safetensors", "skops", "xgboost", "lightgbm", "opaque", "unpinned"]


class ModelVersion(msgspec.Struct, frozen=True):
    """One version of a model, whose bytes never change.

    Attributes:
        ref: how to name it, such as `model:employment@2`.
        run: the run that made it, or "".
        bundle: the digest of the manifest of its files; "" where they rest outside, which no gate lets through.
        data: references of the data it was trained on.
        stage: where it stands in its life cycle, since `stage_at`, for `stage_reason`.
        aliases: the aliases that point to it.
        status: whether its files are in place: READY, PENDING_REGISTRATION or FAILED_REGISTRATION.
        source: where its registrant said that it comes from.
        location: where clients of a protocol find its files.
        origin: the logged model that it comes from, or "".
        mlflow_stage: the stage that MLflow's clients gave it, a word without consequences.
        format: what its files are, found by looking into them; `opaque` where they cannot be loaded safely.
        format_reason: how that was found, or why it is opaque.
        pins: the digest of the record of all that it rests on (see `Pins`), or "".
        archived_at: when it was put away, or None.
    """

    TABLE: ClassVar = ("ref", "stage", "aliases", "format", "data", "run", "stage_reason")

    ref: str
    model: str
    version: int
    run: str
    bundle: str
    data: tuple[str, ...]
    stage: Stage
    stage_reason: str
    stage_at: datetime
    aliases: tuple[str, ...]
    created_at: datetime
    updated_at: datetime | None = None
    description: str = ""
    owner: str = ""
    tags: dict[str, str] = {}
    status: str = "READY"
    status_reason: str = ""
    source: str = ""
    location: str = ""
    run_link: str = ""
    origin: str = ""
    mlflow_stage: str = "None"
    format: Format = "bundle"
    format_reason: str = ""
    pins: str = ""
    archived_at: datetime | None = None


class Model(msgspec.Struct, frozen=True):
    """A model: how many versions it has, and where its aliases point.

    Attributes:
        versions: how many of its versions are live.
        gated: whether gates are written down for it, so that only an approved version may be its champion.
        last: the largest number that a version of this name ever had.
        archived_at: when it was put away, or None.
    """

    TABLE: ClassVar = ("name", "versions", "aliases", "owner", "gated", "created_at")

    name: str
    versions: int
    aliases: dict[str, int]
    created_at: datetime
    updated_at: datetime | None = None
    description: str = ""
    owner: str = ""
    tags: dict[str, str] = {}
    gated: bool = False
    last: int = 0
    archived_at: datetime | None = None


class ModelPage(msgspec.Struct, frozen=True):
    """Models that a search found, and the token of the next page; "" after the last."""

    models: tuple[Model, ...]
    next_page_token: str


class VersionPage(msgspec.Struct, frozen=True):
    """Versions that a search found, and the token of the next page; "" after the last."""

    versions: tuple[ModelVersion, ...]
    next_page_token: str


class Card(msgspec.Struct, frozen=True):
    """A model, and one of its versions where one was meant."""

    model: Model
    version: ModelVersion | None


class Approval(msgspec.Struct, frozen=True):
    """A signature of a person or a rule under a version: bound to the digests of what was seen.

    Attributes:
        actor: who approved.
        bundle: the digest of the version's bundle.
        report: the digest of the gate report.
        policy: the digest of the policy that was in force.
        note: what the approver wrote.
    """

    actor: str
    bundle: str
    report: str
    policy: str
    note: str
    given_at: datetime


class Pins(msgspec.Struct, frozen=True):
    """All that a version rests on, as it stood at registration; an object, named by its digest in the version.

    Attributes:
        bundle: the digest of the manifest of its files, or "".
        run: the reference of the run that made it, or "".
        code: the digest of the source snapshot, or "".
        environment: the digest of the environment record, or "".
        data: references of the data that it was trained on.
        params: the run's params.
        metrics: the run's latest metric values, as text.
    """

    bundle: str
    run: str
    code: str
    environment: str
    data: tuple[str, ...]
    params: dict[str, str]
    metrics: dict[str, str]


class Feature(msgspec.Struct, frozen=True):
    """A column that a model takes; `type` is "" where nobody says it."""

    TABLE: ClassVar = ("name", "type")

    name: str
    type: str = ""


class Facts(msgspec.Struct, frozen=True):
    """What searches know of a version beside its row.

    Attributes:
        params: the params of its run.
        metrics: the run's latest metric values, as text.
        data: references of the data that it was trained on.
        features: the columns that its model takes.
    """

    params: dict[str, str]
    metrics: dict[str, str]
    data: tuple[str, ...]
    features: tuple[Feature, ...]


class Draft(msgspec.Struct, frozen=True):
    """A version that waits for its number: all that is known of it, its content looked through and its pins stored."""

    model: str
    run: str
    bundle: str
    data: tuple[str, ...]
    source: str
    location: str
    run_link: str
    origin: str
    description: str
    owner: str
    tags: dict[str, str]
    format: Format
    format_reason: str
    pins: str
    signature: str
    facts: Facts


class AliasMove(msgspec.Struct, frozen=True):
    """One move of an alias: to `version` (0: taken away) from `previous` (0: it was new)."""

    TABLE: ClassVar = ("at", "alias", "version", "previous", "actor")

    alias: str
    version: int
    previous: int
    actor: str
    at: datetime
    event: int

"""Registered models taken over, prompts among them: versions under their numbers, aliases, stages, texts, tags."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from interlock.bridges.mlflow.files import pinned
from interlock.bridges.mlflow.records import NO_STAGE
from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.registry.finding import PROMPT_TAG

if TYPE_CHECKING:
    from interlock.bridges.mlflow.intake import Intake
    from interlock.bridges.mlflow.records import TheirModel, TheirVersion
    from interlock.core.ports import Transaction
    from interlock.registry.records import ModelVersion

MAX_GAPS: Final = 10_000  # numbers of deleted versions to give out again; a store that asks for more is a trap
_EXPERIMENTS: Final = "_mlflow_experiment_ids"  # of a prompt: `,1,2,`
_READY: Final = "READY"


def take_model(intake: Intake, theirs: TheirModel, versions: list[TheirVersion]) -> None:
    """Take a registered model over, with its versions and aliases.

    Args:
        intake: the import.
        theirs: the model.
        versions: its versions, by number.
    """
    tags = _translated(intake, theirs.tags)
    models, database = intake.registry.models, intake.store.database
    if not intake.dry and not models.named(database, [theirs.name]):
        database.write(lambda tx: models.create(tx, theirs.name, description=theirs.description, tags=tags))
    held = next(iter(models.named(database, [theirs.name])), None)
    intake.there["models"] += 1
    intake.here["models"] += held is not None
    intake.tally("model tags", tags, held.tags if held else {})
    intake.tally("descriptions", _text(theirs.description), _text(held.description) if held else {})
    gaps = _Gaps(intake, theirs.name)
    for version in versions:
        what = f"version {version.version} of model {theirs.name}"
        intake.guarded(what, partial(_take_version, intake, version, gaps))
    for alias, number in theirs.aliases.items():
        what = f"alias {alias} of {theirs.name}"
        intake.guarded(what, partial(_take_alias, intake, theirs.name, alias, number))


def _take_alias(intake: Intake, model: str, alias: str, number: int) -> None:
    """Set an alias that is not here; one that is here was moved by somebody, and stays."""
    intake.there["aliases"] += 1
    database, models = intake.store.database, intake.registry.models
    held = models.get(database, model).aliases.get(alias) if models.named(database, [model]) else None
    if held is None and not intake.dry:
        database.write(lambda tx: intake.registry.aliases.set(tx, model, alias, number))
        held = models.get(database, model).aliases.get(alias)
    intake.here["aliases"] += held == number
    if held not in {None, number}:
        raise Conflict(f"It points to version {held} here, to {number} there.", about="import")


def _take_version(intake: Intake, theirs: TheirVersion, gaps: _Gaps) -> None:
    intake.there["versions"] += 1
    held = _held(intake, theirs)
    if held is None and not intake.dry:
        gaps.fill(theirs.version)
        intake.store.database.write(_Writing(intake, theirs))
        held = _held(intake, theirs)
    intake.here["versions"] += held is not None and held.source == theirs.source
    intake.tally("version tags", theirs.tags, held.tags if held else {})
    intake.tally("descriptions", _text(theirs.description), _text(held.description) if held else {})
    stage = {} if theirs.stage == NO_STAGE else {"stage": theirs.stage}
    intake.tally("stages", stage, {"stage": held.mlflow_stage} if held else {})
    if held is not None and held.source != theirs.source:
        raise Conflict(f"model:{theirs.model}@{theirs.version} is here and is another one.", about="import")


class _Writing:
    """The transaction that makes a version; its files are read before it begins."""

    def __init__(self, intake: Intake, theirs: TheirVersion) -> None:
        self._intake, self._theirs = intake, theirs
        prompt = theirs.tags.get(PROMPT_TAG, "").lower() == "true"
        made_here = intake.store.database.one("SELECT id FROM runs WHERE id = :id", {"id": theirs.run})
        self._draft = intake.registry.versions.draft(
            theirs.model,
            bundle="" if prompt else pinned(intake, theirs),
            run=theirs.run if made_here else "",
            source=theirs.source,
            location=theirs.artifacts,
            run_link=theirs.run_link,
            description=theirs.description,
            owner=theirs.user,
            tags=theirs.tags,
            origin=theirs.source.removeprefix("models:/") if theirs.source.startswith("models:/m-") else "",
        )

    def __call__(self, tx: Transaction) -> None:
        """Make the version, in its stage and status."""
        theirs, versions = self._theirs, self._intake.registry.versions
        made = versions.create(tx, self._draft)
        if made.version != theirs.version:
            raise Conflict(f"The next version of {theirs.model} here is {made.version}.", about="import")
        if theirs.stage != NO_STAGE:
            versions.mlflow_stage(tx, theirs.model, made.version, theirs.stage)
        if theirs.status != _READY:
            versions.status(tx, theirs.model, made.version, theirs.status)


class _Gaps:
    """Gives the numbers of versions that a store no longer has to versions that are put away at once.

    Args:
        intake: the import.
        model: the model's name.
    """

    def __init__(self, intake: Intake, model: str) -> None:
        self._intake, self._model = intake, model
        self._filled = 0

    def fill(self, until: int) -> None:
        """Make `until` the next number of the model.

        Raises:
            Conflict: it was given already.
            Invalid: too many numbers are missing.
        """
        last = self._intake.registry.models.get(self._intake.store.database, self._model).last
        if until <= last:
            raise Conflict(f"Number {until} was given already, {last} is the last.", about="import")
        if self._filled + until - last - 1 > MAX_GAPS:
            raise Invalid(f"More than {MAX_GAPS:,} numbers before it are missing.", about="import")
        for number in range(last + 1, until):
            self._filled += 1
            self._put_away(number)

    def _put_away(self, number: int) -> None:
        versions = self._intake.registry.versions
        draft = versions.draft(self._model, description="deleted before the import")

        def change(tx: Transaction) -> None:
            versions.create(tx, draft)
            versions.archive(tx, self._model, number, "deleted before the import")

        self._intake.store.database.write(change)


def _held(intake: Intake, theirs: TheirVersion) -> ModelVersion | None:
    """Return the version of this number here, be it put away, or None."""
    try:
        return intake.registry.versions.get(intake.store.database, theirs.model, theirs.version, archived=True)
    except NotFound:
        return None


def _text(text: str) -> dict[str, str]:
    return {"text": text} if text else {}


def _translated(intake: Intake, tags: dict[str, str]) -> dict[str, str]:
    """Return tags in which ids of experiments are those that these have here."""
    if _EXPERIMENTS not in tags:
        return tags
    idents = [intake.experiments.get(ident, ident) for ident in tags[_EXPERIMENTS].split(",")]
    return tags | {_EXPERIMENTS: ",".join(idents)}

"""Why: from an answer back to the rows, code, environment and approvals behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import msgspec

from interlock.core.clock import from_micros
from interlock.core.errors import Invalid, NotFound
from interlock.core.refs import Ref, parse
from interlock.data.service import DataService
from interlock.loop.checks import Checked, check_event, check_prediction
from interlock.loop.why_replay import replay_answer
from interlock.registry.content import files_of_version
from interlock.registry.pins import read as read_pins
from interlock.registry.service import ModelVersion, RegistryService
from interlock.store.manifests import Entry, read_manifest
from interlock.track.service import TrackService

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.store import Store
    from interlock.store.predictions import Prediction
    from interlock.track.records import Run

_NAMED: Final = 8  # of files, in a sentence
_MACHINE: Final = "system/"  # metrics of the machine, such as of its memory


class Link(msgspec.Struct, frozen=True):
    """One step of the way back.

    Attributes:
        what: its kind: prediction, replay, model version, files, approval, run, code, environment, data, input, event.
        ref: its reference or digest.
        detail: a sentence.
        checked: "verified": what is behind it was read now and is what was recorded: bytes have their digest, an event
            is under the ledger's root, a prediction is as its window's event holds it, a score is given again.
            "recorded": it is only said, or a score is given again but for rounding. "differs": it is not what was
            recorded.
        metrics: of a run, all of them; the sentence has those of the machine not.
    """

    TABLE: ClassVar = ("what", "ref", "detail", "checked")

    what: str
    ref: str
    detail: str
    checked: Checked
    metrics: dict[str, float] = {}


class Answer(msgspec.Struct, frozen=True):
    """The way back from one thing to all that it rests on.

    Attributes:
        ok: whether nothing on the way differs from what was recorded.
        replayed: the score given again, where there is one and its model could be asked.
    """

    ref: str
    ok: bool
    links: tuple[Link, ...]
    score: float | None = None
    replayed: float | None = None


def why(store: Store, text: str) -> Answer:
    """Return what a prediction, a model version or a run rests on; a text without a kind is a model's.

    Raises:
        NotFound: there is no such thing.
        Corrupt: bytes it rests on have changed.
    """
    ref = parse(text if ":" in text else f"model:{text}")
    if ref.kind == "prediction":
        return _prediction(store, store.predictions.get(ref.name))
    if ref.kind == "model":
        version = RegistryService(store).version(str(ref))
        return _answer(version.ref, _version(store, version))
    if ref.kind == "run":
        run = TrackService(store).run(ref.name)
        files = [Entry(file.name, file.size_bytes, file.digest) for file in run.artifacts]
        links = [*_run(store, run), *_files(store, files, run.ref), *_data(store, run.inputs)]
        return _answer(run.ref, [*links, *_events(store, run.ref, ("run.started", "run.finished"))])
    raise Invalid(
        f"{text!r} is neither a prediction nor a model version nor a run.",
        about="reference",
        hint="Write for example prediction:ID, model:employment@champion or run:ID.",
    )


def _answer(ref: str, links: list[Link], score: float | None = None, replayed: float | None = None) -> Answer:
    return Answer(ref, all(link.checked != "differs" for link in links), tuple(links), score, replayed)


def _prediction(store: Store, found: Prediction) -> Answer:
    again = replay_answer(store, found)
    when, (checked, covered) = from_micros(found.occurred_at), check_prediction(store, found)
    links = [
        Link(
            "prediction",
            str(Ref("prediction", found.id)),
            f"{again.told}, subject {found.subject or '-'}, {when:%Y-%m-%d},"
            f" deployment:{found.deployment} revision {found.revision}, route {found.route};"
            f" {covered}",
            checked,
        ),
        Link("replay", found.bundle[:16], again.detail, again.checked),
    ]
    try:
        links += _version(store, RegistryService(store).version(found.model))
    except NotFound:  # a server may answer from a folder, which no registry knows
        links.append(Link("model version", found.model, "it is not registered here", "recorded"))
        links += _files(store, read_manifest(store.objects, found.bundle).files, found.bundle[:16])
    return _answer(f"prediction:{found.id}", links, found.score, again.score)


def _version(store: Store, version: ModelVersion) -> list[Link]:
    registry = RegistryService(store)
    links = [_what(store, version)]
    if version.bundle and version.format != "bundle":  # of a bundle, its record says what the files are
        links += _files(store, files_of_version(store.objects, version).files, version.bundle[:16])
    for approval in registry.approvals(version.ref):
        detail = f"{approval.actor} on {approval.given_at:%Y-%m-%d %H:%M:%S}" + (
            f": {approval.note}" if approval.note else ""
        )
        links.append(Link("approval", approval.report[:16], detail, _checked(store, approval.report)))
    pins = read_pins(store.objects, version.pins)
    try:
        links += _run(store, TrackService(store).run(version.run)) if version.run else []
    except NotFound:  # a client may name a run of another server
        links.append(Link("run", version.run, "it is not here", "recorded"))
    if pins.environment and not any(link.what == "environment" for link in links):
        links.append(_environment(store, pins.environment))
    return [*links, *_data(store, version.data), *_events(store, version.ref, ("model_version.created",))]


def _what(store: Store, version: ModelVersion) -> Link:
    """Return the link of a version itself: where it stands, and what its files are."""
    since = f"{version.stage} since {version.stage_at:%Y-%m-%d %H:%M:%S}"
    if not version.bundle:
        outside = f"{since}; its files rest outside: {version.location or version.source or 'nobody says where'}"
        return Link("model version", version.ref, outside, "recorded")
    if version.format == "bundle":
        agreement = RegistryService(store).read_bundle(version.bundle).agreement
        told = f"its two forms differ by at most {agreement.max_difference:.1g} on {agreement.rows} rows"
    else:
        told = f"{version.format}: {version.format_reason}"
    detail = f"{since}; bundle {version.bundle[:16]}, {told}"
    return Link("model version", version.ref, detail, _checked(store, version.bundle))


def _files(store: Store, files: Sequence[Entry], ref: str) -> list[Link]:
    """Return the link of files, each of which is read now; none where there are none."""
    if not files:
        return []
    for entry in files:
        _checked(store, entry.digest)
    named = ", ".join(entry.path for entry in files[:_NAMED]) + (" ..." if len(files) > _NAMED else "")
    size = sum(entry.size_bytes for entry in files)
    return [Link("files", ref, f"{len(files)} files, {size:,} bytes: {named}", "verified")]


def _run(store: Store, run: Run) -> list[Link]:
    """Return the links of a run, its code and its environment; what it has not is left out."""
    metrics = ", ".join(
        f"{name} {value:.3f}" for name, value in sorted(run.metrics.items()) if not name.startswith(_MACHINE)
    )
    cause = f", because of {run.cause}" if run.cause else ""
    links = [Link("run", run.ref, "; ".join(filter(None, [f"{run.status}{cause}", metrics])), "recorded", run.metrics)]
    if run.code:
        links.append(Link("code", run.code[:16], "the project's source files as they were", _checked(store, run.code)))
    if run.environment:
        links.append(_environment(store, run.environment))
    return links


def _environment(store: Store, digest: str) -> Link:
    return Link("environment", digest[:16], "interpreter, system and packages", _checked(store, digest))


def _data(store: Store, refs: Sequence[str]) -> list[Link]:
    """Return the links of data that something read; what is no dataset here is only said."""
    data, links = DataService(store), []
    for ref in refs:
        if not ref.startswith("data:"):
            links.append(Link("input", ref, "read by the run", "recorded"))
            continue
        try:
            dataset = data.version(ref)
        except NotFound:
            links.append(Link("data", ref, "it is not here", "recorded"))
            continue
        source = ", ".join(s.name for s in dataset.sources) or ", ".join(dataset.parents)
        condition = f" where {dataset.where}" if dataset.where else ""
        detail = f"{dataset.rows} rows from {source}{condition}; digest {dataset.digest[:16]}"
        links.append(Link("data", dataset.ref, detail, _checked(store, dataset.digest)))
    return links


def _events(store: Store, subject: str, kinds: tuple[str, ...]) -> list[Link]:
    return [
        Link("event", f"event:{event.index}", f"{event.kind} by {event.actor}", check_event(store, event))
        for event in store.ledger.events(subject=subject, kinds=kinds)
    ]


def _checked(store: Store, digest: str) -> Checked:
    if not digest:
        return "recorded"
    store.objects.get(digest)  # raises when the bytes have changed
    return "verified"

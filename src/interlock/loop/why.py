"""Why: from an answer back to the rows, code, environment and approvals behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.clock import from_micros
from interlock.core.errors import Invalid
from interlock.core.refs import Ref, parse
from interlock.data.service import DataService
from interlock.loop.checks import Checked, check_event, check_prediction
from interlock.monitor.replay import score_rows
from interlock.registry.service import ModelVersion, RegistryService
from interlock.track.service import TrackService

if TYPE_CHECKING:
    from interlock.store import Store
    from interlock.store.predictions import Prediction

_SAME: Final = 1e-9


class Link(msgspec.Struct, frozen=True):
    """One step of the way back.

    Attributes:
        what: its kind: prediction, replay, model version, approval, run, code, environment, data, event.
        ref: its reference or digest.
        detail: a sentence.
        checked: "verified": what is behind it was read now and is what was recorded: bytes have their digest, an event
            is under the ledger's root, a prediction is as its window's event holds it, a score is given again.
            "recorded": it is only said. "differs": it is not what was recorded.
    """

    what: str
    ref: str
    detail: str
    checked: Checked


class Answer(msgspec.Struct, frozen=True):
    """The way back from one thing to all that it rests on.

    Attributes:
        ok: whether nothing on the way differs from what was recorded.
        replayed: the score given again, where there is one.
    """

    ref: str
    ok: bool
    links: tuple[Link, ...]
    score: float | None = None
    replayed: float | None = None


def why(store: Store, text: str) -> Answer:
    """Return what a prediction or model version rests on.

    Raises:
        NotFound: there is no such thing.
        Corrupt: bytes it rests on have changed.
    """
    ref = parse(text)
    if ref.kind == "prediction":
        return _prediction(store, store.predictions.get(ref.name))
    if ref.kind == "model":
        version = RegistryService(store).version(text)
        return _answer(version.ref, _version(store, version))
    raise Invalid(
        f"{text!r} is neither a prediction nor a model version.",
        about="reference",
        hint="Write for example prediction:ID or model:employment@champion.",
    )


def _answer(ref: str, links: list[Link], score: float | None = None, replayed: float | None = None) -> Answer:
    return Answer(ref, all(link.checked != "differs" for link in links), tuple(links), score, replayed)


def _prediction(store: Store, found: Prediction) -> Answer:
    import polars as pl

    registry = RegistryService(store)
    replayed = float(score_rows(registry, found.bundle, pl.DataFrame([found.inputs]))[0])
    same = "the same" if replayed == found.score else f"off by {abs(replayed - found.score):.2g}"
    when, (checked, covered) = from_micros(found.occurred_at), check_prediction(store, found)
    links = [
        Link(
            "prediction",
            str(Ref("prediction", found.id)),
            f"score {found.score:.6f}, label {found.label}, subject {found.subject or '-'}, {when:%Y-%m-%d},"
            f" deployment:{found.deployment} revision {found.revision}, route {found.route};"
            f" {covered}",
            checked,
        ),
        Link(
            "replay",
            found.bundle[:16],
            f"scored again: {replayed:.6f}, {same}",
            "verified" if abs(replayed - found.score) <= _SAME else "differs",
        ),
    ]
    links += _version(store, registry.version(found.model))
    return _answer(f"prediction:{found.id}", links, found.score, replayed)


def _version(store: Store, version: ModelVersion) -> list[Link]:
    registry, track, data = RegistryService(store), TrackService(store), DataService(store)
    run = track.run(version.run)
    bundle = registry.read_bundle(version.bundle)
    agreement = bundle.agreement
    links = [
        Link(
            "model version",
            version.ref,
            f"{version.stage} since {version.stage_at:%Y-%m-%d %H:%M:%S}; bundle {version.bundle[:16]},"
            f" its two forms differ by at most {agreement.max_difference:.1g} on {agreement.rows} rows",
            _checked(store, version.bundle),
        )
    ]
    for approval in registry.approvals(version.ref):
        detail = f"{approval.actor} on {approval.given_at:%Y-%m-%d %H:%M:%S}" + (
            f": {approval.note}" if approval.note else ""
        )
        links.append(Link("approval", approval.report[:16], detail, _checked(store, approval.report)))
    metrics = ", ".join(f"{name} {value:.3f}" for name, value in sorted(run.metrics.items()))
    cause = f", because of {run.cause}" if run.cause else ""
    links.append(Link("run", run.ref, "; ".join(filter(None, [f"{run.status}{cause}", metrics])), "recorded"))
    links.append(Link("code", run.code[:16], "the project's source files as they were", _checked(store, run.code)))
    links.append(
        Link("environment", run.environment[:16], "interpreter, system and packages", _checked(store, run.environment))
    )
    for ref in version.data:
        dataset = data.version(ref)
        source = ", ".join(s.name for s in dataset.sources) or ", ".join(dataset.parents)
        condition = f" where {dataset.where}" if dataset.where else ""
        detail = f"{dataset.rows} rows from {source}{condition}; digest {dataset.digest[:16]}"
        links.append(Link("data", dataset.ref, detail, _checked(store, dataset.digest)))
    links.extend(
        Link("event", f"event:{event.index}", f"{event.kind} by {event.actor}", check_event(store, event))
        for event in store.ledger.events(subject=version.ref, kinds=("model_version.created",))
    )
    return links


def _checked(store: Store, digest: str) -> Checked:
    if not digest:
        return "recorded"
    store.objects.get(digest)  # raises when the bytes have changed
    return "verified"

"""An answer given again, by what gave it: the engine that a server takes, then each other form of the model."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, NamedTuple

from interlock.core.errors import Denied, Invalid, MissingExtra, NotFound, Unavailable
from interlock.serve.engines.booster import open_booster, try_apart
from interlock.serve.engines.onnx import OnnxRunner, answers_of, open_session
from interlock.serve.loading import agrees
from interlock.serve.model import LoadedModel
from interlock.serve.policy import Ruled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.core.bundles import Bundle
    from interlock.loop.checks import Checked
    from interlock.serve.engines.port import Runner
    from interlock.serve.model import Scores
    from interlock.store import Store
    from interlock.store.predictions import Prediction

_SAME: Final = 1e-9
_ROUNDED: Final = 1e-6  # in 32 bits a sum depends on how many rows were asked together
_FORMS: Final = ("serving", "booster")


class Replayed(NamedTuple):
    """What came of giving an answer again.

    Attributes:
        told: what the model said then, as a person reads it.
        detail: a sentence about the replay.
        checked: `verified`: it is the same. `recorded`: it was not replayed, or is the same but for rounding.
            `differs`: it is another.
        score: the score given again; None where there is none.
    """

    told: str
    detail: str
    checked: Checked
    score: float | None = None


def replay_answer(store: Store, found: Prediction) -> Replayed:
    """Return a logged answer given again by its model's files, be they a bundle or not.

    The engine that answered is not in the log, and a server may choose another one on another day; so the engine that
    a server takes here is asked first, then the model's other forms, until one gives the answer.

    Args:
        store: the workspace.
        found: the answer.

    Raises:
        Corrupt: the model's bytes have changed.

    Cost: loads the model, 1-50 ms a form.
    """
    told = f"score {found.score:.6f}, label {found.label}"
    try:
        model = LoadedModel.open(store.objects, found.bundle, code_models=_originals(store, found.deployment))
    except (Denied, Invalid, MissingExtra, NotFound, Unavailable) as error:
        return Replayed(told, f"not replayed: {error}", "recorded")
    try:
        told = _told(model.bundle, found)
        return _compared(model, found, told)
    except (MissingExtra, Unavailable) as error:
        return Replayed(told, f"not replayed: {error}", "recorded")
    except Invalid as error:
        return Replayed(told, f"the model refuses these inputs now: {error}", "differs")
    finally:
        model.close()


def _compared(model: LoadedModel, found: Prediction, told: str) -> Replayed:
    said = [(model.engine.name, _asked(model, found))]
    if _off(said[0][1], found) > _SAME:
        said += [(form.engine.name, _asked(form, found)) for form in _others(model)]
    engine, nearest = min(said, key=lambda one: _off(one[1], found))
    score, off = nearest.scores[0], _off(nearest, found)
    again = f"scored again by the engine {engine}: {score:.6f}"
    if nearest.codes[0] != found.label:
        chosen = f"label {nearest.codes[0]}, another than the {found.label} on record"
        return Replayed(told, f"{again}, {chosen}", "differs", score)
    if off <= _SAME:
        return Replayed(told, f"{again}, the same", "verified", score)
    if off <= _ROUNDED:
        return Replayed(told, f"{again}, off by {off:.2g}, which is rounding in 32 bits", "recorded", score)
    return Replayed(told, f"{again}, off by {off:.2g}", "differs", score)


def _asked(model: LoadedModel, found: Prediction) -> Scores:
    return model.run(model.prepare({name: [value] for name, value in found.inputs.items()}))


def _off(said: Scores, found: Prediction) -> float:
    """Return the difference from what is on record; of values over 1 as a share of it."""
    return abs(said.scores[0] - found.score) / max(1.0, abs(found.score))


def _others(model: LoadedModel) -> Iterator[LoadedModel]:
    """Yield the model by its other forms, as far as they agree with it and their libraries are here."""
    bundle, read = model.bundle, model.parts.read
    for role in _FORMS if read else ():
        if read is None or role not in bundle.files or (role == "booster" and not agrees(bundle, role)):
            continue
        with contextlib.suppress(MissingExtra):
            runner = _runner(bundle, role, read(role))
            if runner.name == model.engine.name:
                runner.close()
                continue
            yield LoadedModel(model.digest, model.parts._replace(engine=runner))


def _runner(bundle: Bundle, role: str, data: bytes) -> Runner:
    if role == "booster":
        try_apart(data)  # the file may come from anywhere
        return open_booster(data)
    session = open_session(data)
    return OnnxRunner(session, answers_of(session, bundle.task, len(bundle.classes)))


def _told(bundle: Bundle, found: Prediction) -> str:
    """Return an answer in words: a value, or a probability with its class."""
    if bundle.task == "regression":
        return f"value {found.score:.6g}"
    texts = any(isinstance(label, str) for label in bundle.classes)
    known = texts and 0 <= found.label < len(bundle.classes)
    return f"score {found.score:.6f}, label {bundle.classes[found.label] if known else found.label}"


def _originals(store: Store, deployment: str) -> bool:
    """Return whether the policy of a deployment lets originals answer; a server by itself is none."""
    ruled = Ruled(deployment, store.database, store.objects)
    try:
        return bool(ruled.spec(ruled.wanted()).serving.code_models)
    except NotFound:
        return False

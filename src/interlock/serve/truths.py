"""What a label's value says: 0 or 1, or one of the model's own two classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from interlock.serve.engine import deployment_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from interlock.core.bundles import Bundle
    from interlock.serve.engine import Engine

_TRUTHS: Final = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


class Reading(NamedTuple):
    """How the labels of a deployment are read.

    Attributes:
        own: truths by the texts of the model's own classes.
        plain: whether 0, 1, false and true are understood besides.
        wrong: what is said of any other value.
    """

    own: Mapping[str, int] = {}
    plain: bool = True
    wrong: str = "label is neither 0 nor 1"

    def truth(self, value: object) -> int:
        """Return the truth, 0 or 1, that a value says.

        Raises:
            ValueError: it says none; the message quotes no value.
        """
        text = _text(value)
        if (found := self.own.get(text, self.own.get(text.strip()))) is not None:
            return found
        if self.plain and (found := _TRUTHS.get(text.strip().lower())) is not None:
            return found
        raise ValueError(self.wrong)


DEFAULT: Final = Reading()


def readings(engines: Iterable[Engine]) -> dict[str, Reading]:
    """Return how the labels of each deployment are read; of one whose models have different classes, as 0 and 1.

    Args:
        engines: those of a server; one that has no model loaded reads 0 and 1.
    """
    bundles: dict[str, list[Bundle]] = {}
    for engine in engines:
        routes = engine.revision.routes if engine.revision is not None else ()
        bundles.setdefault(deployment_of(engine), []).extend(live.model.bundle for live in routes)
    return {name: _reading(found) for name, found in bundles.items()}


def _reading(bundles: list[Bundle]) -> Reading:
    if len({(bundle.task, bundle.classes) for bundle in bundles}) != 1:
        return DEFAULT
    bundle = bundles[0]
    if bundle.task == "regression":
        return Reading(plain=False, wrong="it is about a regression, whose truth is not taken yet")
    if len(bundle.classes) != 2:
        return Reading(plain=False, wrong="its model has more than two classes, whose truth is not taken yet")
    if bundle.classes == (0, 1):
        return DEFAULT
    own = {str(value): place for place, value in enumerate(bundle.classes)}
    own |= {f"{value}.0": place for place, value in enumerate(bundle.classes) if isinstance(value, int)}
    # Where classes are 1 and 2, a 1 is the first, and a 0 is nothing.
    texts = all(isinstance(value, str) for value in bundle.classes)
    plain = texts and all(_TRUTHS.get(text.strip().lower(), place) == place for text, place in own.items())
    first, second = bundle.classes
    also = ", or 0 and 1" if plain else ""
    return Reading(own, plain, f"label is none of the model's classes, {first!r} and {second!r}{also}")


def _text(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, str | int) else ""

"""How a label is read: of two classes 0, 1 or the model's own, of more one of them, of a regression a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from interlock.serve.engine import deployment_of
from interlock.store.label_truths import Classes, Truth, read_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from interlock.core.bundles import Bundle
    from interlock.serve.engine import Engine

_TRUTHS: Final = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


class Reading(NamedTuple):
    """How the labels of a deployment are read.

    Attributes:
        own: truths by the texts of the model's own classes, where these are two.
        plain: whether 0, 1, false and true are understood besides.
        wrong: what is said of any other value.
        other: what reads the truth of a model that has not two classes.
    """

    own: Mapping[str, int] = {}
    plain: bool = True
    wrong: str = "label is neither 0 nor 1"
    other: Callable[[object], Truth] | None = None

    def truth(self, value: object) -> Truth:
        """Return the truth that a value says.

        Raises:
            ValueError: it says none; the message quotes no value.
        """
        if self.other is not None:
            return self.other(value)
        text = _text(value)
        if (found := self.own.get(text, self.own.get(text.strip()))) is not None:
            return found
        if self.plain and (found := _TRUTHS.get(text.strip().lower())) is not None:
            return found
        raise ValueError(self.wrong)


DEFAULT: Final = Reading()


def readings(engines: Iterable[Engine], before: Mapping[str, Reading] | None = None) -> dict[str, Reading]:
    """Return how the labels of each deployment are read; of one whose models have different two classes, as 0 and 1.

    Args:
        engines: those of a server.
        before: what this gave before: one that has no model loaded now reads as it did then, or else 0 and 1.
    """
    known = before or {}
    bundles: dict[str, list[Bundle]] = {}
    for engine in engines:
        routes = engine.revision.routes if engine.revision is not None else ()
        bundles.setdefault(deployment_of(engine), []).extend(live.model.bundle for live in routes)
    return {name: _reading(found) if found else known.get(name, DEFAULT) for name, found in bundles.items()}


def _reading(bundles: list[Bundle]) -> Reading:
    tasks = {bundle.task for bundle in bundles}
    if len(tasks) > 1:  # a number would be a class, or a class a number
        return Reading(plain=False, wrong="its deployment has a regression beside classes")
    if tasks == {"regression"}:
        return Reading(other=read_number)
    if any(len(bundle.classes) != 2 for bundle in bundles):  # a challenger may know more classes than the champion
        return Reading(other=Classes(tuple(dict.fromkeys(label for one in bundles for label in one.classes))).read)
    return _of_two(bundles[0].classes) if len({bundle.classes for bundle in bundles}) == 1 else DEFAULT


def _of_two(classes: tuple[int | str, ...]) -> Reading:
    if classes == (0, 1):
        return DEFAULT
    own = {str(value): place for place, value in enumerate(classes)}
    own |= {f"{value}.0": place for place, value in enumerate(classes) if isinstance(value, int)}
    # Where classes are 1 and 2, a 1 is the first, and a 0 is nothing.
    texts = all(isinstance(value, str) for value in classes)
    plain = texts and all(_TRUTHS.get(text.strip().lower(), place) == place for text, place in own.items())
    first, second = classes
    also = ", or 0 and 1" if plain else ""
    return Reading(own, plain, f"label is none of the model's classes, {first!r} and {second!r}{also}")


def _text(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, str | int) else ""

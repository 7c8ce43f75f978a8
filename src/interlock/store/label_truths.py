"""What a truth is: of two classes 0 or 1, of more classes one of them, of a regression a number."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.core.ports import Row

Kind = Literal["", "number", "class"]
"""Of what kind a truth is, as the column `kind` has it; "" is two classes."""
KINDS: Final = {"": "two classes", "number": "a regression", "class": "more than two classes"}
_NO_LABEL: Final = -1
_SHOWN: Final = 8
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_LONGEST: Final = 400  # more digits than that say no number better


class Number(msgspec.Struct, frozen=True, gc=False):
    """The truth of a regression: a finite number."""

    number: float


class Class(msgspec.Struct, frozen=True, gc=False):
    """The truth of a model of more than two classes: one of them, as the model has it."""

    label: int | str


Truth = int | Number | Class


def truth_of(row: Row) -> Truth:
    """Return the truth that a row of the table holds."""
    kind = row["kind"]
    if kind == "number":
        return Number(float(row["number"]))
    return Class(msgspec.json.decode(row["class"], type=int | str)) if kind == "class" else int(row["label"])


def columns_of(truth: Truth) -> dict[str, Any]:
    """Return the columns of the table that hold a truth."""
    if isinstance(truth, Number):
        return {"kind": "number", "label": _NO_LABEL, "number": truth.number, "class": ""}
    if isinstance(truth, Class):
        return {"kind": "class", "label": _NO_LABEL, "number": None, "class": class_text(truth.label)}
    return {"kind": "", "label": truth, "number": None, "class": ""}


def class_text(label: int | str) -> str:
    """Return a class as the table holds it: JSON, in which 1 and "1" are two."""
    return msgspec.json.encode(label).decode()


def shown(truth: Truth) -> int | float | str:
    """Return a truth as people read it."""
    if isinstance(truth, Number):
        return truth.number
    return truth.label if isinstance(truth, Class) else truth


def read_number(value: object) -> Number:
    """Return the truth of a regression that a value says: a number, or the text of one.

    Raises:
        ValueError: it says no finite number; the message quotes no value.
    """
    if isinstance(value, str) and len(value) <= _LONGEST and _NUMBER.fullmatch(text := value.strip()):
        found = float(text)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            found = float(value)
        except OverflowError:
            found = math.inf
    else:
        raise ValueError("label is no number, and its model is a regression")
    if not math.isfinite(found):
        raise ValueError("label is no finite number, and its model is a regression")
    return Number(found + 0.0)  # 0 for -0, which is the same truth


class Classes:
    """Reads the truth of a model of more than two classes.

    Args:
        labels: the classes, as the model has them.
    """

    def __init__(self, labels: Sequence[int | str]) -> None:
        self._labels = tuple(labels)
        self._exact = set(labels)
        self._by_text: dict[str, int | str] = {str(label): label for label in labels}
        for label in labels:
            if isinstance(label, int):
                self._by_text.setdefault(f"{label}.0", label)

    def read(self, value: object) -> Class:
        """Return the truth that a value says: a class, or its text; a whole number also as 2.0.

        Raises:
            ValueError: it is none of the classes; the message names these, and quotes no value.
        """
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, str | int):
            if value in self._exact and not isinstance(value, bool):
                return Class(value)
            text = str(value)
            found = self._by_text.get(text, self._by_text.get(text.strip()))
            if found is not None:
                return Class(found)
        raise ValueError(f"label is none of the model's classes, {self.told}")

    @property
    def told(self) -> str:
        """The classes in words: `'a', 'b' and 'c'`; of many the first, of none that they are not known."""
        names = [repr(label) for label in self._labels]
        if len(names) > _SHOWN:
            return f"{', '.join(names[:_SHOWN])} and {len(names) - _SHOWN} more"
        return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:]))) or "which nobody knows"

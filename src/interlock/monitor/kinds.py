"""Which truths belong to a model: two classes, more classes or a number. Others are left out, and that is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from interlock.core.errors import Error, Invalid, NotFound
from interlock.store.label_truths import KINDS, Classes, Kind, Truth, read_number

if TYPE_CHECKING:
    import polars as pl

    from interlock.core.bundles import Bundle
    from interlock.core.ports import ObjectStore
    from interlock.registry.service import RegistryService

# The columns that labels give to predictions; no column of the prediction log or of a file is called so.
KIND: Final = "kind of truth?"
TWO: Final = "true of two?"
NUMBER: Final = "true number?"
CLASS: Final = "true class?"
COLUMNS: Final = (KIND, TWO, NUMBER, CLASS)
_TOLD: Final = {"": "of two classes", "number": "numbers", "class": "of more than two classes"}


TaskKind = Kind | Literal["unknown"]
_MOST_OPENED: Final = 256


class Task(msgspec.Struct, frozen=True):
    """What a model's truths are; `UNKNOWN` where nothing says it, and then no truth is one of that model.

    Attributes:
        kind: of which kind.
        classes: the classes, in the model's order; () where they are not known.
    """

    kind: TaskKind = ""
    classes: tuple[int | str, ...] = ()

    def __str__(self) -> str:
        if self.kind == "class" and self.classes:
            return f"a model of {len(self.classes)} class{'es' * (len(self.classes) > 1)}"
        return "a model that cannot be read here" if self.kind == "unknown" else KINDS[self.kind]

    def truth(self, value: object) -> Truth:
        """Return the truth that a value of a file says, of a model that has not two classes.

        Raises:
            ValueError: it says none; the message quotes no value.
        """
        return read_number(value) if self.kind == "number" else Classes(self.classes).read(value)

    def code(self, place: int) -> int:
        """Return how the prediction log has a class: a text by its place, a number as it is."""
        label = self.classes[place]
        return label if isinstance(label, int) and not self._texts else place

    @property
    def _texts(self) -> bool:
        return any(isinstance(label, str) for label in self.classes)


UNKNOWN: Final = Task("unknown")


def task_of(bundle: Bundle) -> Task:
    """Return what the truths of a bundle's model are."""
    if bundle.task == "regression":
        return Task("number")
    return Task("" if len(bundle.classes) == 2 else "class", bundle.classes)


def task_on_record(registry: RegistryService, bundle: str) -> Task | None:
    """Return what the truths of a bundle's model are, or None where it is no bundle."""
    try:
        return task_of(registry.read_bundle(bundle))
    except (Invalid, NotFound):
        return None


def known_task(registry: RegistryService, objects: ObjectStore, bundle: str) -> Task | None:
    """Return what the truths of a bundle's model are, or of one that came from elsewhere; None where nothing says it.

    Cost: once for each model that came from elsewhere it is loaded.
    """
    found = task_on_record(registry, bundle) or _opened.get(bundle)
    if found is None and (found := task_by_opening(objects, bundle)) is not None:
        if len(_opened) >= _MOST_OPENED:
            _opened.clear()
        _opened[bundle] = found
    return found


_opened: Final[dict[str, Task]] = {}  # by the digest of a folder, whose files are never others


def task_by_opening(objects: ObjectStore, folder: str) -> Task | None:
    """Return what the truths of a model are that came from elsewhere, or None where its files do not say.

    Cost: the model is loaded.
    """
    from interlock.serve.model import LoadedModel

    try:
        model = LoadedModel.open(objects, folder)
    except Error:  # nothing that answers without code, or no library for it here
        return None
    try:
        return task_of(model.bundle)
    finally:
        model.close()


def with_truth_of(rows: pl.DataFrame, kind: TaskKind) -> pl.DataFrame:
    """Return the labelled predictions whose truth is of a kind."""
    import polars as pl

    return rows.filter(pl.col(KIND) == kind)


def left_out(rows: pl.DataFrame, task: Task) -> str:
    """Return a sentence about truths that say nothing about a model, being of another kind; "" when there are none."""
    import polars as pl

    others = rows.filter(pl.col(KIND) != task.kind)[KIND]
    if others.is_empty():
        return ""
    told = " and ".join(_TOLD[kind] for kind in sorted(others.unique().to_list()))
    model = "has two classes" if not task.kind else f"is {task}"
    many = f"{len(others)} labels are" if len(others) > 1 else "1 label is"
    return f"{many} left out: what they say is {told}, and the model {model}."


def truths_as(rows: pl.DataFrame, kind: TaskKind) -> pl.Series:
    """Return the truths of one kind, by row: 0 and 1, numbers, or classes (as texts, where any class is one)."""
    import polars as pl

    if kind != "class":
        return rows[NUMBER if kind == "number" else TWO]
    found = [None if text is None else msgspec.json.decode(text) for text in rows[CLASS].to_list()]
    if any(isinstance(value, str) for value in found):
        return pl.Series([None if value is None else str(value) for value in found], dtype=pl.String)
    return pl.Series(found, dtype=pl.Int64)

"""Bundles and deployment specs: what the registry writes, a deployment names and the data plane loads.

A bundle is a folder (by its manifest's digest) that holds everything one model version needs to answer: no code runs
when it is loaded.

    bundle.json        this record
    model.onnx         what answers
    model.skops        the original, for people and re-training
    linear.json        coefficients, where the model is linear in its inputs
    golden.json        requests with the scores that training saw
    evaluation.parquet the held-out rows that gates judge it on
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

ColumnType = Literal["integer", "float", "string", "boolean"]
_Count = Annotated[int, msgspec.Meta(ge=1)]


class Column(msgspec.Struct, frozen=True, omit_defaults=True):
    """One input of a model.

    Attributes:
        name: the column.
        type: its logical type.
        nulls: whether rows that it was trained on had no value here; None where that was not recorded.
    """

    name: str
    type: ColumnType
    nulls: bool | None = None


class Agreement(msgspec.Struct, frozen=True):
    """How far the serving form of a model is from the original, on real rows.

    Attributes:
        rows: how many rows were compared.
        max_difference: the largest difference of a score, 0-1.
        tolerance: the largest difference that is accepted.
        label_flips: rows whose label differs although the scores agree.
    """

    rows: int
    max_difference: float
    tolerance: float
    label_flips: int


class Linear(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model that is linear in its inputs: an answer is the link of `coefficients @ row + intercept`.

    Attributes:
        columns: the inputs, in the order of the coefficients.
        coefficients: one list a sum; two classes have one sum.
        intercepts: what each sum begins with.
        link: what makes an answer of the sums; `shares` is a sigmoid of each, divided by their total.
        means: the mean of each column in training, or () when it was not recorded.
    """

    columns: tuple[str, ...]
    coefficients: tuple[tuple[float, ...], ...]
    intercepts: tuple[float, ...]
    link: Literal["identity", "sigmoid", "softmax", "shares", "exp"]
    means: tuple[float, ...] = ()


class Golden(msgspec.Struct, frozen=True):
    """A request with the answer that training saw: rows by column, and one score a row (see `Bundle.task`)."""

    rows: list[dict[str, Any]]
    scores: list[float]
    tolerance: float


class Range(msgspec.Struct, frozen=True, omit_defaults=True):
    """What training saw of a column.

    Attributes:
        lowest: the smallest number; None of a text.
        highest: the largest one.
        categories: the texts, where they were few and came again and again; else ().
    """

    lowest: float | None = None
    highest: float | None = None
    categories: tuple[str, ...] = ()


def training_rows(original: str) -> str:
    """Return the name in a run under which the rows are kept that its model with this digest was fitted on."""
    return f"training/{original[:16]}.parquet"


class Bundle(msgspec.Struct, frozen=True):
    """What a model is, for those who serve it.

    Attributes:
        flavor: the plug-in that wrote it, such as `sklearn`.
        task: what it does. The score of two classes is the probability of the last, of more classes that of the class
            which is chosen, of a regression the value.
        inputs: the columns it takes, in the model's order.
        target: the column it predicts.
        classes: the labels, in the order of the model; of two the last is the positive one. A regression has none.
        files: path of each part by its role (`serving`, `original`, `golden`, `evaluation`, `linear`, `booster`).
        agreement: serving form against original; of a regression differences are shares of the standard deviation.
        layout: `matrix` when the ONNX graph has one float input of all columns, `columns` when one a column.
        engines: agreement of the further forms that may answer, by their role in `files` (`linear`, `booster`).
        ranges: what training saw of the inputs, by column. Not a part of `Column`: two versions of a model take the
            same rows although they were trained on others.
        answers: of a regression, the targets and answers that were seen when it was made; None where that was not
            recorded.
    """

    flavor: str
    task: Literal["classification", "regression"]
    inputs: tuple[Column, ...]
    target: str
    classes: tuple[int | str, ...]
    files: dict[str, str]
    agreement: Agreement
    layout: Literal["matrix", "columns"] = "matrix"
    engines: dict[str, Agreement] = {}
    ranges: dict[str, Range] = {}
    answers: Range | None = None


class Route(msgspec.Struct, frozen=True):
    """One model version that answers, and the share (0-1) of the traffic that it gets."""

    model: str
    bundle: str
    weight: float
    role: Literal["champion", "challenger"] = "champion"

    def __str__(self) -> str:
        return f"{self.model} {self.weight:.0%}"


class Serving(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a deployment answers. What it does not say (None), the server's own options say.

    Attributes:
        durability: when an answer counts as recorded: on disk (`fsync`), or with the kernel, and on disk in a second.
        garbage: what becomes of a score that is no probability: no answer, or one with a warning. What is no number at
            all is never an answer.
        stale_after_s: the age of a version, in seconds, from which on answers say that it is old.
        out_of_range: what becomes of rows, and values of a regression, that are outside of what training saw: an answer
            with a warning, none, or an answer like any other.
        code_models: whether originals may answer, in a process of their own.
        batch_rows: how many rows of several requests go through a slow model at once, at most.
        concurrent: how many predictions may be under way.
    """

    durability: Literal["fsync", "1s"] | None = None
    garbage: Literal["block", "flag"] | None = None
    stale_after_s: _Count | None = None
    out_of_range: Literal["flag", "block", "ignore"] | None = None
    code_models: bool | None = None
    batch_rows: _Count | None = None
    concurrent: _Count | None = None

    def over(self, other: Serving) -> Serving:
        """Return what this says, and what another says where this says nothing."""
        return Serving(**{**_said(other), **_said(self)})

    def changes(self, before: Serving) -> str:
        """Return what is other than before, "" for nothing: `durability fsync -> 1s, concurrent 64 -> -`."""
        old, new = _told(before), _told(self)
        names = [name for name in Serving.__struct_fields__ if old.get(name) != new.get(name)]
        return ", ".join(f"{_label(name)} {old.get(name, '-')} -> {new.get(name, '-')}" for name in names)

    def __str__(self) -> str:
        return ", ".join(f"{_label(name)} {value}" for name, value in _told(self).items())


def _said(serving: Serving) -> dict[str, Any]:
    fields = {name: getattr(serving, name) for name in Serving.__struct_fields__}
    return {name: value for name, value in fields.items() if value is not None}


def _told(serving: Serving) -> dict[str, str]:
    found = {name: str(value).lower() for name, value in _said(serving).items()}
    if serving.stale_after_s is not None:
        days, rest = divmod(serving.stale_after_s, 86_400)
        found["stale_after_s"] = f"{serving.stale_after_s} s" if rest else f"{days} day{'s' if days != 1 else ''}"
    return found


def _label(name: str) -> str:
    return name.removesuffix("_s").replace("_", " ")


class DeploymentSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a deployment shall be: stored as an object, named by its digest in table `deployments`."""

    name: str
    revision: int
    routes: tuple[Route, ...]
    serving: Serving = Serving()

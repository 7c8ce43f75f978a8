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

from typing import Any, Literal

import msgspec

ColumnType = Literal["integer", "float", "string", "boolean"]


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


class Route(msgspec.Struct, frozen=True):
    """One model version that answers, and the share (0-1) of the traffic that it gets."""

    model: str
    bundle: str
    weight: float
    role: Literal["champion", "challenger"] = "champion"

    def __str__(self) -> str:
        return f"{self.model} {self.weight:.0%}"


class DeploymentSpec(msgspec.Struct, frozen=True):
    """What a deployment shall be: stored as an object, named by its digest in table `deployments`."""

    name: str
    revision: int
    routes: tuple[Route, ...]

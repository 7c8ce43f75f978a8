"""What fits a hint and what does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol, TypeVar

import numpy as np
import polars as pl
import pytest

from interlock.train.contracts import fits

T = TypeVar("T")


class Named(Protocol):
    name: str


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (1, int), (True, int), (1, float), (np.float64(1), float), (np.int32(1), int), (np.int32(1), float),
        (np.bool_(True), bool), (None, None), (None, int | None), ("a", int | str),
        ([1], list[int]), ([1], list), ([1], Sequence[int]), ((1, "a"), tuple[int, str]), ((1, 2, 3), tuple[int, ...]),
        ("a", Literal["a", "b"]), (1, Annotated[int, "x"]), (object(), Any), (object(), Named), (object(), T),
        (object(), "Unknown"), (pl.DataFrame(), pl.DataFrame), ({}, dict[str, int]),
    ],
)  # fmt: skip
def test_fits(value: Any, hint: Any) -> None:
    assert fits(value, hint)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("1", int), (1.0, int), (np.float64(1), int), (np.array([1]), int), (None, int), (1, None), (1, str | None),
        ({}, list[int]), ((1,), tuple[int, str]), ((1, 2), tuple[int, str]), ("c", Literal["a", "b"]),
        (pl.LazyFrame(), pl.DataFrame), ("a", Annotated[int, "x"]), ("ab", tuple[str, str]),
    ],
)  # fmt: skip
def test_does_not_fit(value: Any, hint: Any) -> None:
    assert not fits(value, hint)

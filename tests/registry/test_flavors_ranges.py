"""What training saw: recorded once, by column, and only what tells something."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from interlock.core.bundles import Column, Range
from interlock.registry.flavors.ranges import MOST_CATEGORIES, answers_of, ranges_of


def of(kind: str, values: list[object]) -> Range | None:
    return ranges_of([Column("c", kind)], pl.DataFrame({"c": values, "other": values}, strict=False)).get("c")


def test_numbers_have_their_ends_without_what_is_missing_or_no_number() -> None:
    assert of("integer", [3, -7, 12]) == Range(-7.0, 12.0)
    assert of("float", [1.5, None, math.nan, math.inf, -2.25]) == Range(-2.25, 1.5)
    assert of("boolean", [True, True]) == Range(1.0, 1.0)
    assert of("float", [None, math.nan]) is None


def test_texts_are_categories_where_they_are_few_and_come_again() -> None:
    assert of("string", ["b", "a", None, "b", "a"]) == Range(categories=("a", "b"))
    assert of("string", ["a", "b", "c"]) is None  # names
    many = [str(i) for i in range(MOST_CATEGORIES + 1)] * 3
    assert of("string", many) is None
    assert of("string", many[:MOST_CATEGORIES] * 3) == Range(categories=tuple(sorted(many[:MOST_CATEGORIES])))
    assert of("string", ["a" * 201] * 4) is None
    assert of("string", [None, None]) is None


def test_values_of_a_regression_have_their_ends() -> None:
    assert answers_of([np.array([[2.0], [np.nan]]), np.array([-1.0, 5.5])]) == Range(-1.0, 5.5)
    assert answers_of([np.array([np.inf])]) is None
    assert answers_of(()) is None

"""The same ids are held out whatever else changes."""

from __future__ import annotations

import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import holdout
from interlock.core.errors import Invalid, NotFound
from interlock.train.helpers import bucket, place_of

PEOPLE = pl.DataFrame({"person": [n // 2 for n in range(4000)], "x": range(4000)})


def test_places_are_fixed_for_ever() -> None:
    # Figures of SHA-256; if these change, people who were held out get into training.
    assert [place_of(value) >> 48 for value in (0, 1, "ann", -7)] == [56116, 8725, 23583, 60638]
    assert place_of(5) == place_of("5")
    assert place_of(1, "a") != place_of(1)
    assert place_of(3.0) == place_of(3) != place_of(3.5)


def test_people_stay_on_their_side() -> None:
    training, held = holdout(PEOPLE, by="person", share=0.25)
    assert training.height + held.height == 4000
    assert not set(training["person"]) & set(held["person"])
    assert 0.22 < held.height / 4000 < 0.28
    later = pl.concat([PEOPLE.filter(pl.col("person") % 3 > 0).reverse(), pl.DataFrame({"person": [9999], "x": [0]})])
    assert set(holdout(later, by="person", share=0.25)[1]["person"]) - {9999} <= set(held["person"])
    text = PEOPLE.with_columns(pl.col("person").cast(pl.String))
    assert holdout(text, by="person", share=0.25)[1]["x"].equals(held["x"])
    more = holdout(PEOPLE, by="person", share=0.5)[1]
    assert set(held["person"]) <= set(more["person"]), "a larger share holds out more, not others"
    assert set(holdout(PEOPLE, by="person", share=0.25, salt="b")[1]["person"]) != set(held["person"])


def test_rows_keep_their_order_and_frames_their_library() -> None:
    frame = pd.DataFrame({"person": ["a", "b", "c", "a"], "x": [1, 2, 3, 4]}, index=[10, 11, 12, 13])
    training, held = holdout(frame, by="person", share=0.5)
    assert isinstance(training, pd.DataFrame)
    assert sorted([*training.index, *held.index]) == [10, 11, 12, 13]
    assert list(training.index) == sorted(training.index)
    same = holdout(pl.DataFrame({"person": ["a", "b", "c", "a"], "x": [1, 2, 3, 4]}), by="person", share=0.5)
    assert [same[0]["x"].to_list(), same[1]["x"].to_list()] == [list(training["x"]), list(held["x"])]


def test_the_ends_of_the_range() -> None:
    assert holdout(PEOPLE, by="person", share=0)[1].is_empty()
    assert holdout(PEOPLE, by="person", share=1)[0].is_empty()


@given(st.integers(1, 40), st.text(max_size=3))
def test_buckets_are_even_and_fixed(n: int, salt: str) -> None:
    found = bucket(PEOPLE, by="person", n=n, salt=salt)
    assert found.name == "bucket"
    assert found.len() == PEOPLE.height
    assert found.min() >= 0
    assert found.max() < n
    assert found.gather_every(2).equals(found.gather_every(2, offset=1))
    assert found.n_unique() == n


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(NotFound, match="'person'"):
        holdout(PEOPLE, by="persn", share=0.5)
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(Invalid, match="between 0 and 1"):
            holdout(PEOPLE, by="person", share=share)
    with pytest.raises(Invalid, match="1 rows have no 'id'"):
        holdout(pl.DataFrame({"id": [1, None]}), by="id", share=0.5)
    with pytest.raises(Invalid, match="1 rows have no 'id'"):
        holdout(pd.DataFrame({"id": [1.0, None]}), by="id", share=0.5)
    with pytest.raises(Invalid, match="0 buckets"):
        bucket(PEOPLE, by="person", n=0)

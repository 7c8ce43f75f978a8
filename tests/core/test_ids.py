from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.ids import ALPHABET, encode, is_ulid, milliseconds, new_id


def test_ids_grow_and_never_repeat_over_threads() -> None:
    made: list[list[str]] = [[] for _ in range(4)]

    def make(mine: list[str]) -> None:
        mine.extend(new_id() for _ in range(2000))

    threads = [threading.Thread(target=make, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(mine == sorted(mine) for mine in made)
    assert len({ulid for mine in made for ulid in mine}) == 8000


def test_an_id_knows_when_it_was_made() -> None:
    before = time.time_ns() // 1_000_000
    assert before <= milliseconds(new_id()) <= time.time_ns() // 1_000_000 + 1


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**80 - 1))
def test_time_survives_the_text_and_orders_it(at: int, chance: int) -> None:
    ulid = encode(at, chance)
    assert is_ulid(ulid)
    assert milliseconds(ulid) == at
    if at:
        assert encode(at - 1, 2**80 - 1) < ulid


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**80 - 1))
def test_each_letter_is_five_bits(at: int, chance: int) -> None:
    bits = f"{(at << 80) | chance:0130b}"
    assert encode(at, chance) == "".join(ALPHABET[int(bits[place : place + 5], 2)] for place in range(0, 130, 5))


def test_the_specification_s_example() -> None:
    assert milliseconds("01ARZ3NDEKTSV4RRFFQ69G5FAV") == 1469922850259


@pytest.mark.parametrize(
    "text", ["", "01ARZ3NDEKTSV4RRFFQ69G5FA", "01ARZ3NDEKTSV4RRFFQ69G5FAI", "81ARZ3NDEKTSV4RRFFQ69G5FAV"]
)
def test_what_is_no_ulid(text: str) -> None:
    assert not is_ulid(text)
    with pytest.raises(ValueError, match="not a ULID"):
        milliseconds(text)

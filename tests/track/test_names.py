from __future__ import annotations

import re

from interlock.track.names import new_name


def test_names_are_two_words_and_a_number() -> None:
    names = {new_name() for _ in range(200)}
    assert all(re.fullmatch(r"[a-z]+-[a-z]+-\d{1,3}", name) for name in names)
    assert len(names) > 190

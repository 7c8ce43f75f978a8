from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.canonical import canonical, digest

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(PLAIN)
def test_equal_values_have_equal_bytes_whatever_their_order(value: object) -> None:
    again = json.loads(json.dumps(value))
    if isinstance(again, dict):
        again = dict(reversed(list(again.items())))
    assert canonical(again) == canonical(value)
    assert json.loads(canonical(value)) == value


def test_floats_are_refused_however_deep() -> None:
    with pytest.raises(TypeError):
        canonical({"a": [{"b": 1.5}]})


def test_digest_is_sha256() -> None:
    assert digest(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

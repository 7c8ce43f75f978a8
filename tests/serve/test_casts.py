from __future__ import annotations

import pytest

from interlock.core.bundles import Column
from interlock.core.errors import Invalid
from interlock.serve.casts import cast_text

TYPES = {"whole": "integer", "real": "float", "text": "string", "flag": "boolean"}
INPUTS = tuple(Column(name, kind) for name, kind in TYPES.items())


def test_text_is_read_as_the_columns_take_it():
    given = {"whole": ["21", "2.0"], "real": ["0.5", ""], "text": ["7", ""], "flag": ["true", "0"], "more": ["x", "y"]}
    assert cast_text(INPUTS, given) == {
        "whole": [21, 2],
        "real": [0.5, None],
        "text": ["7", None],
        "flag": [True, False],
        "more": ["x", "y"],
    }


@pytest.mark.parametrize(
    ("column", "text"),
    [("whole", "1.5"), ("whole", "1_0"), ("whole", "x"), ("real", "inf"), ("real", "1_0.5"), ("flag", "maybe")],
)
def test_text_that_spells_something_else_is_refused(column, text):
    with pytest.raises(Invalid, match=f"'{column}', row 1") as caught:
        cast_text(INPUTS, {column: ["1", text]})
    assert text not in str(caught.value)

from __future__ import annotations

import pytest

from interlock.core.mlmodel import mlmodel_inputs

TEXT = """flavors:
  xgboost:
    data: model.ubj
signature:
  inputs: '[{"type": "double", "name": "a", "required": true}, {"type": "string",
    "name": "the ''b''", "required": true}]'
  outputs: '[{"type": "long"}]'
  params: null
"""


def test_the_inputs_of_the_signature_are_read() -> None:
    assert mlmodel_inputs(TEXT.encode()) == [("a", "double"), ("the 'b'", "string")]


@pytest.mark.parametrize(
    "text",
    ["", "signature: null", TEXT.replace("  inputs:", "  intakes:"), TEXT.replace('"name": "a"', '"name": 3'), "\xff"],
)
def test_what_names_no_columns_names_none(text: str) -> None:
    assert mlmodel_inputs(text.encode("latin-1")) == []


def test_a_tensor_has_no_name() -> None:
    assert mlmodel_inputs(TEXT.replace('"name": "a", ', "").encode()) == [("the 'b'", "string")]

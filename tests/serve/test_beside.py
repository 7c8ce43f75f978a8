"""Records beside a model, of our client and of MLflow's."""

from __future__ import annotations

import json

import msgspec
import pytest

from interlock.core.bundles import Column
from interlock.serve.beside import golden_of, names_of, rows_of, texts_of

COLUMNS = (Column("a", "float"), Column("b", "integer"))
MLMODEL = b'signature:\n  inputs: \'[{"type": "double", "name": "b"}, {"type": "string", "name": "a"}]\'\n'


class Files(dict):
    """Files by path, as `Folder` gives them."""

    def record(self, path, kind):
        return msgspec.json.decode(self[path], type=kind) if path in self else None

    def plain(self, path):
        return self.get(path, b"")


def split(columns, *rows) -> Files:
    return Files({"input_example.json": json.dumps({"columns": columns, "data": rows}).encode()})


def test_our_records_count_before_mlflows() -> None:
    files = split(["x"], [1])
    files["MLmodel"] = MLMODEL
    assert names_of(files) == ["b", "a"]
    files["example.json"] = b'[{"c": 1}]'
    assert rows_of(files) == [{"c": 1}]
    files["signature.json"] = b'{"inputs": [{"name": "d"}]}'
    assert names_of(files) == ["d"]
    assert texts_of(files) == {"a"}
    assert names_of(split(["x", "y"], [1, 2])) == ["x", "y"]
    assert names_of(Files()) == []


def test_mlflows_example_is_asked_in_the_models_order_and_types() -> None:
    golden, source = golden_of(split(["b", "a"], [True, 0.5], [None, 2]), COLUMNS)
    assert (golden.rows, source) == ([{"a": 0.5, "b": 1}, {"a": 2, "b": None}], "example")
    assert golden_of(split(["a"], [1]), (Column("a", "boolean"),))[0].rows == [{"a": True}]


@pytest.mark.parametrize(
    "files",
    [
        Files(),
        split(["a"], [1]),  # not all of them
        split(["a", "b"], ["blue", 1]),  # a category as pandas writes it
        split(["a", "b"], [1]),
        split(["a", "a"], [1, 2]),
        Files({"input_example.json": b"[[1, 2]]"}),
        Files({"input_example.json": b'{"inputs": [1]}'}),
        Files({"input_example.json": b"\xff"}),
    ],
)
def test_without_an_example_that_fits_a_row_of_zeros_is_asked(files) -> None:
    golden, source = golden_of(files, COLUMNS)
    assert (golden.rows, source) == ([{"a": 0, "b": 0}], "zeros")
    assert golden_of(files, (Column("c", "string"),))[1] == ""

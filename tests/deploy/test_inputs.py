from __future__ import annotations

from typing import Any

import pytest

from interlock.core.bundles import Route
from interlock.core.errors import Corrupt
from interlock.deploy.inputs import column_changes, told_changes
from interlock.registry.records import Feature

OLD = Route("model:m@1", "b", 1.0)
NEW = Route("model:m@2", "c", 0.5, "challenger")


class Registry:
    """Says which columns versions take."""

    def __init__(self, **columns: dict[str, str]) -> None:
        self.columns = columns

    def features(self, version: str) -> list[Feature]:
        found = self.columns.get(version.replace("model:m@", "v"))
        if found is None:
            raise Corrupt("model.onnx has changed.", about="bundle")
        return [Feature(name, kind) for name, kind in found.items()]


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ({"a": "float"}, {"a": "float"}, []),
        ({"a": "float", "b": "integer"}, {"b": "Int64", "a": "double"}, []),  # the order is the model's own matter
        ({"a": "string"}, {"a": "String"}, []),
        ({"a": "string"}, {"a": "category"}, []),  # pandas' word
        ({"a": ""}, {"a": "integer"}, []),  # nobody says
        ({}, {"a": "integer"}, []),
        ({"a": "integer"}, {}, []),
        ({"a": "float"}, {"a": "integer", "b": ""}, ["b comes (any type)", "a is integer, was float"]),
        ({"a": "long", "b": "float"}, {"a": "int32"}, ["b goes"]),
        ({"a": "datetime"}, {"a": "str"}, ["a is string, was datetime"]),
    ],
)
def test_columns_come_go_and_change(old: dict[str, str], new: dict[str, str], changes: list[str]) -> None:
    assert column_changes(old, new) == changes


def test_new_routes_are_compared_with_the_champion() -> None:
    registry: Any = Registry(v1={"a": "float"}, v2={"a": "float", **{f"c{n}": "" for n in range(20)}})
    (told,) = told_changes(registry, [OLD], [OLD, NEW])
    assert told.rule == "columns"
    assert told.message.startswith("model:m@2 takes other columns than model:m@1: c0 comes (any type), ")
    assert told.message.endswith("c7 comes (any type) and 12 more.")
    assert told_changes(registry, [], [OLD]) == ()
    assert told_changes(registry, [OLD, NEW], [OLD]) == ()
    assert told_changes(registry, [OLD, NEW], [OLD, NEW]) == ()  # another way to answer, or another share
    assert told_changes(registry, [OLD, NEW], [Route("model:m@2", "c", 1.0)]) == (told,)


def test_columns_that_cannot_be_read_are_in_nobodys_way() -> None:
    registry: Any = Registry(v2={"a": "float"})
    (told,) = told_changes(registry, [OLD], [NEW])
    assert told.rule == "columns_unknown"
    assert told.message == "The columns of model:m@1 and model:m@2 cannot be compared: model.onnx has changed."

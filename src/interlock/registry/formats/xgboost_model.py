"""XGBoost's own files, JSON and UBJSON (xgboost.readthedocs.io, "Introduction to Model IO"), read whole."""

from __future__ import annotations

import re
from typing import Any, BinaryIO, Final

from interlock.registry.formats import ubjson
from interlock.registry.formats.verdict import Verdict, fail, json_of, read_all

_JSON: Final = re.compile(rb'\s*\{\s*"(learner|version)"\s*:')
_BINARY: Final = re.compile(rb"\{(L\x00{7}|[iU]|l\x00{3}|I\x00)[\x07](learner|version)")
_CHILDREN: Final = ("left_children", "right_children")
_NODE_LISTS: Final = ("left_children", "right_children", "split_indices", "split_conditions", "default_left", "parents")


def begins(head: bytes) -> bool:
    """Return whether a file begins like a model of XGBoost."""
    return bool(_JSON.match(head) or _BINARY.match(head))


def read(source: BinaryIO, size: int) -> Verdict:
    """Return the verdict on a file that begins like a model of XGBoost.

    Raises:
        Broken: it is not one as a whole.
    """
    data = read_all(source, size)
    model, told = _checked(data)
    how = "UBJSON" if _BINARY.match(data) else "JSON"
    objective = model["learner"]["objective"].get("name")
    names = model["learner"].get("feature_names")
    return Verdict(
        "xgboost",
        f"XGBoost {'.'.join(map(str, model['version']))} ({how}): {told}, objective {objective}",
        tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else (),
    )


def parse(data: bytes) -> dict[str, Any]:
    """Return a model as its file's nested tables, its trees walked.

    Raises:
        Broken: it is none.
    """
    return _checked(data)[0]


def _checked(data: bytes) -> tuple[dict[str, Any], str]:
    binary = _BINARY.match(data) is not None
    model = ubjson.decode(data) if binary else json_of(data, dict[str, Any], "it is no JSON")
    learner = _table(model, "learner")
    version = model.get("version")
    if not isinstance(version, list) or len(version) != 3 or not all(isinstance(part, int) for part in version):
        fail("it does not say which version wrote it")
    _table(learner, "objective")
    param = _table(learner, "learner_model_param")
    return model, _booster(_table(learner, "gradient_booster"), _count(param, "num_feature"))


def _booster(booster: dict[str, Any], features: int) -> str:
    name = booster.get("name")
    if name == "dart":
        inner = _table(booster, "gbtree")
        trees = _trees(_table(inner, "model"), features)
        if len(booster.get("weight_drop", ())) != trees:
            fail("it has another number of weights than trees")
        return f"{trees} trees of dart"
    if name == "gbtree":
        return f"{_trees(_table(booster, 'model'), features)} trees"
    if name == "gblinear":
        weights = _table(booster, "model").get("weights")
        if not isinstance(weights, list) or not all(isinstance(value, int | float) for value in weights):
            fail("its weights are no numbers")
        return f"a linear model of {len(weights)} weights"
    return fail(f"it has an unknown booster {name!r}")


def _trees(model: dict[str, Any], features: int) -> int:
    trees = model.get("trees")
    wanted = _count(_table(model, "gbtree_model_param"), "num_trees")
    if not isinstance(trees, list) or len(trees) != wanted:
        fail(f"it announces {wanted} trees and has another number")
    for place, tree in enumerate(trees):
        if not isinstance(tree, dict):
            fail(f"tree {place} is none")
        _tree(place, tree, features)
    return wanted


def _tree(place: int, tree: dict[str, Any], features: int) -> None:
    nodes = _count(_table(tree, "tree_param"), "num_nodes")
    lists = {name: tree.get(name) for name in _NODE_LISTS}
    for name, values in lists.items():
        if not isinstance(values, list) or len(values) != nodes:
            fail(f"tree {place} has {nodes} nodes, and not so many {name}")
        if not all(isinstance(value, int | float) for value in values):
            fail(f"{name} of tree {place} are no numbers")
    if not all(isinstance(node, int) for name in _CHILDREN for node in lists[name] or ()):
        fail(f"tree {place} has children that are no nodes")
    seen = [False] * nodes
    waiting = [0]
    while waiting:
        node = waiting.pop()
        if not 0 <= node < nodes or seen[node]:
            fail(f"tree {place} is no tree: its nodes lead to {node}")
        seen[node] = True
        left, right = lists["left_children"][node], lists["right_children"][node]  # type: ignore[index]
        if left == -1:
            continue
        feature = lists["split_indices"][node]  # type: ignore[index]
        if not isinstance(feature, int) or not 0 <= feature < features:
            fail(f"tree {place} asks for feature {feature} of {features}")
        waiting += [left, right]


def _table(value: Any, name: str) -> dict[str, Any]:
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, dict):
        fail(f"it has no {name!r}")
    return found


def _count(table: dict[str, Any], name: str) -> int:
    text = table.get(name)
    if not isinstance(text, str | int) or not str(text).isascii() or not str(text).isdigit():
        fail(f"{name} is {text!r}, no count")
    return int(text)

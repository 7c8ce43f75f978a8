"""LightGBM's text files (src/boosting/gbdt_model_text.cpp and src/io/tree.cpp of LightGBM write them): read whole."""

from __future__ import annotations

import re
from typing import BinaryIO, Final

from interlock.registry.formats.verdict import Verdict, fail, read_all

_HEADER: Final = ("version", "num_class", "num_tree_per_iteration", "max_feature_idx", "feature_names", "tree_sizes")
_UNNAMED: Final = re.compile(r"Column_\d+")  # what LightGBM calls columns that nobody named
_PER_SPLIT: Final = ("split_feature", "threshold", "decision_type", "left_child", "right_child")


def begins(head: bytes) -> bool:
    """Return whether a file begins like a model of LightGBM."""
    return head.startswith((b"tree\nversion=", b"tree\r\nversion="))


def read(source: BinaryIO, size: int) -> Verdict:
    """Return the verdict on a file that begins like a model of LightGBM.

    Raises:
        Broken: it is not one as a whole.
    """
    header, trees = parse(read_all(source, size))
    objective = header.get("objective", "custom").split(" ")[0]
    told = f"{len(trees)} trees, {_count(header['num_class'])} classes, objective {objective}"
    names = tuple(name for name in header["feature_names"].split(" ") if not _UNNAMED.fullmatch(name))
    return Verdict("lightgbm", f"LightGBM text {header['version']}: {told}", names)


def parse(data: bytes) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Return the header of a model and its trees, as texts by name; each tree was walked.

    Raises:
        Broken: it is no model of LightGBM.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        fail("it is no text")
    head, found, rest = text.replace("\r\n", "\n").partition("\n\nTree=0\n")
    if not found:
        fail("it has no first tree")
    header = _pairs(head.split("\n")[1:])
    missing = [name for name in _HEADER if name not in header]
    if missing:
        fail(f"its header lacks {', '.join(missing)}")
    body, found, _ = ("Tree=0\n" + rest).partition("\nend of trees\n")
    if not found:
        fail("its trees do not end")
    features = _count(header["max_feature_idx"]) + 1
    if len(header["feature_names"].split(" ")) != features:
        fail(f"it has {features} features and another number of names")
    sizes = [_count(size) for size in header["tree_sizes"].split()]
    return header, _trees(f"{body}\n".encode(), sizes, features)


def _trees(body: bytes, sizes: list[int], features: int) -> list[dict[str, str]]:
    place, trees = 0, []
    for number, size in enumerate(sizes):
        block = body[place : place + size].decode(errors="replace")
        place += size
        if not block.startswith(f"Tree={number}\n"):
            fail(f"tree {number} is not where it was announced")
        trees.append(_pairs(block.split("\n")))
        _tree(number, trees[-1], features)
    if body[place:].strip():
        fail("there are more trees than announced")
    return trees


def _tree(number: int, tree: dict[str, str], features: int) -> None:
    leaves = _count(tree.get("num_leaves", ""))
    splits = leaves - 1
    values = _numbers(tree, "leaf_value", number)
    if leaves < 1 or len(values) != leaves:
        fail(f"tree {number} has {leaves} leaves and {len(values)} values")
    if not splits:
        return
    found = {name: _numbers(tree, name, number) for name in _PER_SPLIT}
    for name, row in found.items():
        if len(row) != splits:
            fail(f"tree {number} has {splits} splits, and not so many of {name}")
    if not all(0 <= feature < features for feature in found["split_feature"]):
        fail(f"tree {number} asks for a feature that there is not")
    seen: set[int] = set()
    waiting = [0]
    while waiting:
        node = waiting.pop()
        if node in seen or not -leaves <= node < splits:
            fail(f"tree {number} is no tree: its splits lead to {node}")
        seen.add(node)
        if node >= 0:
            waiting += [int(found["left_child"][node]), int(found["right_child"][node])]
    if len(seen) != splits + leaves:
        fail(f"tree {number} has parts that nothing leads to")
    if _count(tree.get("num_cat", "0")):
        _categories(number, tree)


def _categories(number: int, tree: dict[str, str]) -> None:
    bounds = _numbers(tree, "cat_boundaries", number)
    words = _numbers(tree, "cat_threshold", number)
    if len(bounds) != _count(tree["num_cat"]) + 1 or bounds != sorted(bounds) or bounds[-1:] != [len(words)]:
        fail(f"the categories of tree {number} do not fit together")


def _numbers(tree: dict[str, str], name: str, number: int) -> list[float]:
    try:
        return [float(word) for word in tree.get(name, "").split(" ") if word]
    except ValueError:
        fail(f"{name} of tree {number} are no numbers")


def _pairs(lines: list[str]) -> dict[str, str]:
    found = {}
    for line in lines:
        name, equals, value = line.partition("=")
        if equals or name == "average_output":
            found[name] = value
    return found


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        fail(f"{text[:40]!r} is no count")
    return int(text)

"""The calls that tests/sdk/test_local_remote.py makes both ways: at least one for every operation of every service.

A case is an operation and its arguments, or a function that makes them from what happened before. Cases run in this
order, as one story: calls that write run on two workspaces that began alike, one in a folder, one behind a server; calls
that read run both ways on the same workspace. What is refused belongs here too. (Unknown, missing and mistyped
arguments need no cases: they are tried on every operation anyway.)

To add a service: one `Case("service.operation", {...})` for each operation, below.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Past:
    """What happened before on one side.

    Attributes:
        folder: a folder with files for operations that take some.
        results: the results so far of each operation, in order; errors are left out.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results: dict[str, list[Any]] = {}

    def last(self, operation: str) -> Any:
        """Return the newest result of an operation."""
        return self.results[operation][-1]


class Case(NamedTuple):
    """One call: `arguments` are given, or made from the past of its side."""

    operation: str
    arguments: dict[str, Any] | Callable[[Past], dict[str, Any]] = {}


CASES: list[Case] = [
    # notes: the example service of these tests
    Case("notes.add", lambda past: {"title": "first", "files": [past.folder / "people.csv"]}),
    Case("notes.add", lambda past: {"title": "first", "files": []}),
    Case("notes.add", lambda past: {"title": "missing", "files": [past.folder / "poeple.csv"]}),
    Case("notes.add", lambda past: {"title": "folder", "files": [str(past.folder)]}),
    Case(
        "notes.add",
        lambda past: {
            "title": "all \u00e4\u4e2d",
            "files": (str(past.folder / "people.csv"), past.folder / "empty.csv"),
            "stars": 5,
            "weight": 0.25,
            "done": True,
            "tags": ["a", "b"],
            "facts": {"deep": {"list": [1, 2.5, None, "x"]}},
            "mood": "bad",
            "place": {"city": "Bern", "floor": 2},
            "cover": past.folder / "empty.csv",
        },
    ),
    Case("notes.add", {"title": "many", "files": [], "stars": 9}),
    Case("notes.add", {"title": "mood", "files": [], "mood": "ugly"}),
    Case("notes.add", {"title": "lie", "files": [{"name": "x", "digest": "0" * 64, "size_bytes": 1}]}),
    Case("notes.add", {"title": "traversal", "files": [{"name": "../x", "digest": "../../x", "size_bytes": 1}]}),
    Case("notes.notes"),
    Case("notes.notes", {"limit": 1}),
    Case("notes.notes", {"limit": 10**17, "tag": "a"}),
    Case("notes.notes", {"limit": 10**25}),
    Case("notes.get", {"title": "first"}),
    Case("notes.get", {"title": "frist"}),
    Case("notes.get", lambda past: {"title": past.last("notes.add").title}),
    Case("notes.count"),
    Case("notes.nothing"),
    Case("notes.who"),
    Case("notes.echo"),
    Case("notes.echo", {"value": (1, (2, "x")), "numbers": [1, 2.5, float("nan")], "pairs": {"a": "b"}, "version": "v"}),
    Case("notes.echo", {"value": "a\x00b\x1b[31m"}),
    Case("notes.echo", {"value": "\ud800"}),
    Case("notes.echo", {"value": object()}),
    Case("notes.limits"),
    Case("notes.size", lambda past: {"file": past.folder / "people.csv"}),
    Case("notes.fail", {"how": "NotFound"}),
    Case("notes.fail", {"how": "Conflict"}),
    Case("notes.fail", {"how": "Invalid"}),
    Case("notes.fail", {"how": "Denied"}),
    Case("notes.fail", {"how": "GateClosed"}),
    Case("notes.fail", {"how": "MissingExtra"}),
    Case("notes.fail", {"how": "Corrupt"}),
    Case("notes.fail", {"how": "Error"}),
    Case("notes.break_off"),
    Case("notes.notes"),
]

"""What the protocol lets pass: names, lengths, counts. The limits are the incumbent's, which its clients know."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Final

from interlock.server.mlflow.wire import invalid, missing

METRICS: Final = 1000
PARAMS: Final = 100
TAGS: Final = 100
ENTITIES: Final = 1000
KEY: Final = 250
IDS: Final = 10_000
PARAM_VALUE: Final = 6000
TAG_VALUE: Final = 8000
EXPERIMENT_TAG_VALUE: Final = 20_000
_DIGITS: Final = 18  # of a number that a database holds
_KEY: Final = re.compile(r"[/\w.\- :]+\Z")


def required(**values: object) -> None:
    """Accept parameters that are given.

    Raises:
        Refused: one is not.
    """
    for name, value in values.items():
        if value in ("", None, []):
            raise missing(name)


def many(values: Sequence[str], name: str) -> None:
    """Accept a list that a query can hold.

    Raises:
        Refused: it is longer.
    """
    if len(values) > IDS:
        raise invalid(f"Parameter '{name}' has {len(values)} values; at most {IDS} can be asked for at once.")


def key(name: str, what: str) -> None:
    """Accept the name of a metric, param or tag.

    Raises:
        Refused: it has other characters than it may, is too long, or names another path than it spells.
    """
    if not name:
        raise missing("key")
    if len(name) > KEY:
        raise invalid(f"{what} name {name[:40]!r}... exceeds the maximum length of {KEY} characters.")
    if not _KEY.match(name):
        raise invalid(
            f"Invalid {what.lower()} name: {name!r}. Names may only contain alphanumerics, underscores (_), dashes (-),"
            " periods (.), spaces ( ), colons (:) and slashes (/)."
        )
    if posixpath.normpath(name) != name or name.startswith(("/", "..")) or name == ".":
        raise invalid(f"Invalid {what.lower()} name: {name!r} names another path than it spells.")


def cut(value: str, most: int) -> str:
    """Return a value as it is kept: the incumbent cuts long ones, and so its clients expect."""
    return value if len(value) <= most else value[:most]


def batch(metrics: Sequence[object], params: Sequence[object], tags: Sequence[object]) -> None:
    """Accept the counts of a batch.

    Raises:
        Refused: it has more than the protocol lets pass.
    """
    for what, found, most in (("metrics", metrics, METRICS), ("params", params, PARAMS), ("tags", tags, TAGS)):
        if len(found) > most:
            raise invalid(f"A batch logging request can contain at most {most} {what}. Got {len(found)} {what}.")
    total = len(metrics) + len(params) + len(tags)
    if total > ENTITIES:
        raise invalid(f"A batch logging request can contain at most {ENTITIES} metrics, params, and tags. Got {total}.")


def version_number(text: str) -> int:
    """Return a version's number.

    Raises:
        Refused: the text is none.
    """
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS:
        raise invalid(f"Model version must be an integer, got '{text[:40]}'.")
    return int(text)


def unique_params(pairs: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    """Return params by name.

    Raises:
        Refused: one comes twice.
    """
    found: dict[str, str] = {}
    for name, value in pairs:
        if found.setdefault(name, value) != value:
            raise invalid(
                f"Duplicate parameter keys have been submitted: {name!r} is both {found[name]!r} and {value!r}."
            )
    return found

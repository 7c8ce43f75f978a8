"""Names for runs whose makers gave none: two words and a number, easy to say and to find again."""

from __future__ import annotations

import secrets
from typing import Final

# fmt: off
_HOW: Final = (
    "amber", "brisk", "calm", "clever", "crisp", "curious", "daring", "eager", "early", "fair", "gentle",
    "glad", "golden", "grand", "happy", "honest", "humble", "keen", "kind", "light", "lively", "lucid", "lucky",
    "mellow", "merry", "modest", "noble", "patient", "plain", "polite", "proud", "quick", "quiet", "rapid",
    "rare", "ready", "robust", "serene", "sharp", "silent", "silver", "simple", "sincere", "sleek", "smart",
    "snug", "sober", "solid", "spry", "steady", "stout", "sturdy", "subtle", "sunny", "swift", "tidy",
    "tranquil", "trusty", "upbeat", "vivid", "warm", "wise", "witty", "zesty",
)
_WHAT: Final = (
    "alder", "anchor", "arch", "ash", "badger", "beacon", "bear", "beech", "birch", "bison", "brook", "canyon",
    "cedar", "cliff", "comet", "condor", "coral", "crane", "creek", "delta", "dove", "eagle", "elk", "elm",
    "falcon", "fern", "finch", "fjord", "fox", "glade", "grove", "harbor", "hare", "hawk", "heron", "ibis",
    "isle", "jay", "kestrel", "lake", "larch", "lark", "lynx", "maple", "marten", "meadow", "moss", "oak",
    "orca", "otter", "owl", "pebble", "pine", "plover", "quail", "raven", "reef", "ridge", "river", "robin",
    "rowan", "seal", "sparrow", "spruce", "stork", "swan", "thrush", "trout", "vale", "willow", "wren",
)
# fmt: on


def new_name() -> str:
    """Return a name such as `quiet-heron-417`, by chance."""
    return f"{secrets.choice(_HOW)}-{secrets.choice(_WHAT)}-{secrets.randbelow(1000)}"

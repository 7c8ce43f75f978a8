"""From which size on work is another kind of work: what is small, what is large, and what is done here and now.

Small requests are those that a server is for: a row or some. A large body takes the event loop a millisecond or more.
"""

from __future__ import annotations

from typing import Final

SMALL: Final = 4096
"""Bytes of a body: up to here, a request is answered before larger ones."""

LARGE: Final = 64 << 10
"""Bytes of a body: beyond, it is read and scored beside the event loop, and needs one of few places."""

MANY_VALUES: Final = 8192
"""Values (rows times columns): beyond, they are scored beside the event loop, however few bytes they were."""

MANY_RECORDED: Final = 2000
"""Values: beyond, they are recorded beside the event loop."""

QUIET_BYTES: Final = 1 << 20
QUIET_VALUES: Final = 50_000
QUIET_S: Final = 0.002
"""The same three while no small requests come: nobody waits for the loop then, and to hand work over costs as much as
a part of the work. Each is some two milliseconds."""

BATCHED_S: Final = 0.05
"""Rows that take a slow model longer than this go beside the line in which others wait to share a call."""

LONG_S: Final = 0.001
"""A call of a model that takes longer for one row is made beside the event loop, rows of several requests together."""

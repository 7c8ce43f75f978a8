"""Deployments as the deploy service tells them: what they are, what they were, what they may be."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import msgspec

from interlock.core.bundles import Route, Serving
from interlock.core.errors import Finding, Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

BACK: Final = "rolled back: "
TAKEN_BACK: Final = "taken back: "
State = Literal["serving", "stopped"]


class Deployment(msgspec.Struct, frozen=True):
    """What a deployment shall be, and whether it is.

    Attributes:
        routes: the versions that answer and their shares of the traffic.
        state: what is wanted: serving or stopped.
        live: whether its server answers now.
        url: where, when it is live.
        serving: how it answers, as far as somebody said so.
        reason: why it is so.
        warnings: what was found when these routes were made, and kept nobody from it: rule `columns`, which callers
            have to send otherwise than before; `columns_unknown`, where that cannot be compared; `golden_none` and
            `package`, what the trial could not prove.
    """

    TABLE: ClassVar = ("name", "revision", "routes", "serving", "state", "live", "url")

    name: str
    revision: int
    routes: tuple[Route, ...]
    state: State
    live: bool
    url: str
    pid: int
    changed_at: datetime
    serving: Serving = Serving()
    reason: str = ""
    warnings: tuple[Finding, ...] = ()


class Revision(msgspec.Struct, frozen=True):
    """One set of routes that a deployment had, why, how it answered, and what of that was other than before.

    Attributes:
        warnings: see `Deployment`.
    """

    revision: int
    routes: tuple[Route, ...]
    reason: str
    changed_at: datetime
    serving: Serving = Serving()
    changes: str = ""
    warnings: tuple[Finding, ...] = ()


Deployments = list[Deployment]
Revisions = list[Revision]


def champions(revisions: Revisions) -> list[Route]:
    """Return the champions that led to the present one, oldest first, without those that were rolled back from.

    Args:
        revisions: all that a deployment had, oldest first.
    """
    line: list[Route] = []
    for revision in revisions:
        champion = next(route for route in revision.routes if route.role == "champion")
        earlier = [number for number, route in enumerate(line) if route.model == champion.model]
        if earlier and revision.reason.startswith((BACK, TAKEN_BACK)):
            del line[earlier[-1] + 1 :]
        elif not line or line[-1].model != champion.model:
            line.append(champion)
    return line


def told(reason: str, warnings: Sequence[Finding]) -> str:
    """Return a reason with the sentences of what was found, for those who read one text."""
    more = " ".join(f"{found.message.rstrip('.')}." for found in warnings)
    return f"{reason.rstrip('.')}. {more}" if more else reason


def checked(serving: Serving) -> Serving:
    """Return how a deployment answers, looked at: a record that was made in Python may hold anything.

    Raises:
        Invalid: a value is not one of those that there are.
    """
    try:
        return msgspec.convert(msgspec.to_builtins(serving), Serving)
    except msgspec.ValidationError as error:
        raise Invalid(f"A deployment cannot answer so: {error}.", about="serving") from None

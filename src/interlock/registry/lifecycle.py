"""The life cycle of a model version: which stage may follow which.

    created -> registered -> environment prepared -> validated -> approved -> deployed -> retired

The environment may be prepared or not: validation follows either, and a preparation that fails moves nothing. A gate
that fails sends a version back to *development*, from any stage before it is deployed; it may be registered again when
the policy or the evidence has changed (mended code makes a new version). A deployed version that is replaced goes back
to *approved*, ready for a rollback.
"""

from __future__ import annotations

from typing import Final, Literal

from interlock.core.errors import Conflict

Stage = Literal[
    "created", "registered", "environment prepared", "validated", "approved", "deployed", "retired", "development"
]

NEXT: Final[dict[Stage, frozenset[Stage]]] = {
    "created": frozenset({"registered", "development", "retired"}),
    "registered": frozenset({"environment prepared", "validated", "development", "retired"}),
    "environment prepared": frozenset({"validated", "development", "retired"}),
    "validated": frozenset({"approved", "development", "retired"}),
    "approved": frozenset({"deployed", "development", "retired"}),
    "deployed": frozenset({"approved", "retired"}),
    "retired": frozenset(),
    "development": frozenset({"retired", "registered"}),
}


def check_move(origin: Stage, stage: Stage) -> None:
    """Accept a move that the life cycle knows.

    Raises:
        Conflict: it does not; the hint lists where this stage leads.
    """
    if stage not in NEXT[origin]:
        following = ", ".join(sorted(NEXT[origin])) or "nothing"
        raise Conflict(
            f"A version cannot go from {origin!r} to {stage!r}.",
            about="model_version",
            hint=f"From {origin!r} it can go to: {following}.",
        )

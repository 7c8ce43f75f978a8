"""Health, version, and what the server says of itself."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from interlock.server.mlflow.adapter import Adapter, Answer
from interlock.server.mlflow.routing import route

SPOKEN: Final = "3.17.2"  # the protocol's version: clients compare it with what they need
# Parts of the protocol that are there in the incumbent and not here: they answer 501 rather than 404.
_ELSEWHERE: Final = (
    "gateway",
    "scorers",
    "datasets",
    "issues",
    "label-schemas",
    "review-queues",
    "prompt-optimization",
    "jobs",
    "workspaces",
    "users",
    "roles",
    "unified-traces",
    "get-online-trace-details",
    "graphql",
    "demo",
    "assistant",
    "genai",
)


class Nothing(msgspec.Struct):
    """A request without parameters."""


@route("GET", "/health", None)
def health(adapter: Adapter, _: Nothing) -> Answer:
    """Answer OK if the database does."""
    adapter.database.one("SELECT 1")
    return Answer(b"OK", media_type="text/plain; charset=utf-8")


@route("GET", "/version", None)
def version(_: Adapter, __: Nothing) -> Answer:
    """Answer the version of the protocol."""
    return Answer(SPOKEN.encode(), media_type="text/plain; charset=utf-8")


@route("GET", "server-info", None, versions=("3.0",))
def server_info(_: Adapter, __: Nothing) -> dict[str, Any]:
    """Answer what clients ask about the server before they use it."""
    return {
        "store_type": "SqlStore",
        "workspaces_enabled": False,
        "trace_archival_enabled": False,
        "multipart_uploads_enabled": True,
        "multipart_downloads_enabled": False,
    }


def is_known_elsewhere(path: str) -> bool:
    """Return whether a path belongs to a part of the protocol that the incumbent has and we do not."""
    if path == "/graphql":
        return True
    parts = path.split("/")
    known = any(f"/{name}/" in f"{path}/" for name in _ELSEWHERE)
    return known and len(parts) > 2 and parts[1] in {"api", "ajax-api"}

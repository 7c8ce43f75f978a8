"""HTTP connections whose requests have an end, told of in the words of our API's errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.core.ids import new_id
from interlock.serve import connections
from interlock.server.problems import MEDIA_TYPE, Refusal, respond

if TYPE_CHECKING:
    from interlock.core.errors import Error


class BoundedProtocol(connections.BoundedProtocol):
    """The data plane's protocol, whose refusals are problem documents; bodies may come for hours."""

    def refusal(self, status: int, error: Error) -> tuple[bytes, bytes]:
        """Return the content type and the body of an answer that says so."""
        return MEDIA_TYPE.encode(), bytes(respond(Refusal(status, error), new_id()).body)

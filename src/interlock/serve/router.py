"""Which route answers: by weight, and the same subject always by the same one.

Weighted rendezvous hashing: each route draws a number for the subject, and the smallest `-ln(u) / weight` wins. So the
order of the routes does not matter, raising one weight moves subjects only to that route, and a new
challenger gets other subjects than the last one.

Source: Schindelhauer and Schomaker, Weighted distributed hash tables, SPAA 2005.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from typing import TYPE_CHECKING

from interlock.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.core.bundles import Route

_SPAN = 2.0**64


class Router:
    """Picks among routes; a pure function of the routes and the key.

    Args:
        routes: the routes; those of weight 0 get nothing.

    Raises:
        Invalid: a weight is no share, or none is above 0.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        if not all(math.isfinite(route.weight) and route.weight >= 0 for route in routes):
            raise Invalid("The weight of a route is no share.", about="deployment", hint="Weights are 0 or more.")
        names: Counter[str] = Counter()
        drawn = []
        for i, route in enumerate(routes):
            name = f"{route.model} {route.bundle}"
            names[name] += 1
            if route.weight > 0:
                salt = hashlib.blake2b(f"{name} {names[name]}".encode(), digest_size=16).digest()
                drawn.append((i, 1 / route.weight, salt))
        if not drawn:
            raise Invalid("No route has a weight above 0.", about="deployment", hint="Give one route the weight 1.")
        self._drawn = drawn
        self._only = drawn[0][0] if len(drawn) == 1 else None

    def pick(self, key: str) -> int:
        """Return the index of the route that answers a key.

        Args:
            key: the subject, or the request's id when there is none.

        Cost: 1 us a route; nothing when only one has a weight.
        """
        if self._only is not None:
            return self._only
        data = key.encode("utf-8", "surrogatepass")
        best, found = math.inf, self._drawn[0][0]
        for i, inverse, salt in self._drawn:
            drawn = int.from_bytes(hashlib.blake2b(data, digest_size=8, key=salt).digest(), "big")
            value = -math.log((drawn + 0.5) / _SPAN) * inverse
            if value < best:
                best, found = value, i
        return found

"""HTTP: operations as routes, objects, the description of both, and the guard in front of them."""

from __future__ import annotations

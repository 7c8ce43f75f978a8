"""Pages: HTML made on the server, complete without a script."""

from __future__ import annotations

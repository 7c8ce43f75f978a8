"""Makes the service of tests/sdk/notes_service.py importable by name, as the table of services wants it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "sdk"))

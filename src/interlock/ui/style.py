"""The page's one style sheet, and its digest for the content security policy."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from interlock.pictures import STYLE as PICTURE_STYLE
from interlock.pictures.styles import style_sheet

STYLE: Final = PICTURE_STYLE + style_sheet("interlock.ui", "page.css")
# As a source of `style-src`, with its quotes: 'sha256-...'.
STYLE_HASH: Final = f"'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"

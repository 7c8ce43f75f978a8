"""Style sheets of the package as one line of text."""

from __future__ import annotations

import re
from importlib import resources
from typing import Final


def style_sheet(package: str, name: str) -> str:
    """Return a style sheet of a package without comments and needless spaces.

    Args:
        package: where it lies, such as `interlock.pictures`.
        name: the file.
    """
    text = (resources.files(package) / name).read_text("utf-8")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"\s*([{};,])\s*", r"\1", text)
    return re.sub(r":\s+", ":", text).replace(";}", "}")


STYLE: Final = style_sheet("interlock.pictures", "picture.css")

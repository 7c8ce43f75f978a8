"""Style sheets of the package as one line of text.

`STYLE` is for pages: its colours are variables. `PLAIN` is for files, which programs other than browsers open: there a
colour that is a variable is black. It says each colour itself, and those of the dark theme once more.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import Final

_SERIES: Final = re.compile(r"\.il-s(\d)\{--il-s:var\(--il-(\w+)\);?\}")
_COLOURS: Final = re.compile(r"--il-([\w-]+):(#[0-9a-f]{6})")
_MEDIA: Final = re.compile(r"@media[^{]*\{(?:[^{}]*\{[^{}]*\})*\}")
_VARIABLE: Final = re.compile(r"var\(--il-([\w-]+)\)")


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


def _plain(colours: dict[str, str], *, every: bool) -> str:
    """Return the rules without variables, in colours by their names; every one, or those that say a colour."""
    found = []
    for selector, body in re.findall(r"([^{}]+)\{([^{}]*)\}", _MEDIA.sub("", STYLE)):
        if "--il-" not in body.replace("var(--il-", "") and "var(--il-s)" not in body:
            if every or "var(" in body:
                found.append(f"{selector}{{{body}}}")
        elif "var(--il-s)" in body:
            for number, colour in _SERIES.findall(STYLE):
                within, itself = f".il-s{number} ", f".il-s{number}"
                parts = [part.strip().removeprefix("svg.il ") for part in selector.split(",")]
                own = ",".join(f"{within}{part},{part}{itself}" for part in parts)
                found.append(f"{own}{{{body.replace('var(--il-s)', colours[colour])}}}")
    return _VARIABLE.sub(lambda match: colours[match[1]], "".join(found))


_LIGHT_COLOURS: Final = dict(_COLOURS.findall(STYLE.partition("@media")[0]))
_DARK_COLOURS: Final = dict(_COLOURS.findall(STYLE.partition("@media")[2]))
LIGHT: Final = _plain(_LIGHT_COLOURS, every=True)
PLAIN: Final = f"{LIGHT}@media (prefers-color-scheme:dark){{{_plain(_LIGHT_COLOURS | _DARK_COLOURS, every=False)}}}"

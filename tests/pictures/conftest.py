"""A picture taken apart: its SVG as a tree, which only well-formed XML becomes."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest

from interlock.pictures import Picture

NAMESPACE = "{http://www.w3.org/2000/svg}"


class Drawn:
    """The shapes of a picture, by class."""

    def __init__(self, picture: Picture) -> None:
        self.root = ET.fromstring(picture.standalone())
        self.size = tuple(float(part) for part in self.root.attrib["viewBox"].split())
        self._parents = {child: parent for parent in self.root.iter() for child in parent}

    def all(self, tag: str, look: str = "", within: str = "") -> list[ET.Element]:
        """Return elements of a tag, with a class, inside a group of a class."""
        found = [e for e in self.root.iter(NAMESPACE + tag) if not look or look in e.attrib.get("class", "").split()]
        return [e for e in found if not within or self._is_within(e, within)]

    def texts(self, look: str = "") -> list[str]:
        """Return what is written in the picture."""
        return ["".join(e.itertext()) for e in self.all("text", look)]

    def _is_within(self, element: ET.Element, look: str) -> bool:
        held = self._parents.get(element)
        while held is not None:
            if look in held.attrib.get("class", "").split():
                return True
            held = self._parents.get(held)
        return False


@pytest.fixture
def drawn() -> Callable[[Picture], Drawn]:
    return Drawn

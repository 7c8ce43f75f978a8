"""What every picture is: an SVG and the table behind it."""

from __future__ import annotations

import msgspec

from interlock.pictures.markup import Attributes, Markup, element, fragment
from interlock.pictures.styles import PLAIN


class Table(msgspec.Struct, frozen=True):
    """The numbers behind a picture, as texts; the first column names the row."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def html(self) -> Markup:
        """Return it as an HTML table with caption and scopes."""
        head = element("tr", {}, *(element("th", {"scope": "col"}, name) for name in self.header))
        body = [
            element("tr", {}, element("th", {"scope": "row"}, row[0]), *(element("td", {}, cell) for cell in row[1:]))
            for row in self.rows
        ]
        parts = (element("caption", {}, self.caption), element("thead", {}, head), element("tbody", {}, *body))
        return element("table", {}, *parts)


class Picture(msgspec.Struct, frozen=True):
    """A picture, which is the same bytes whenever the numbers are.

    Attributes:
        title: what it shows.
        text: what can be read from it, in words.
        width, height: its natural size in CSS pixels.
        body: its shapes.
        table: the numbers behind it.
    """

    title: str
    text: str
    width: int
    height: int
    body: Markup
    table: Table

    @property
    def svg(self) -> Markup:
        """The element for a page that has `STYLE`."""
        return self._svg({})

    def standalone(self) -> str:
        """Return the SVG as a file of its own: with its style, on a ground, for both themes; also without a browser."""
        ground: Attributes = {"class": "il-paper", "width": self.width, "height": self.height, "rx": 8}
        parts = (element("style", {}, Markup(PLAIN)), element("rect", ground))
        return str(self._svg({"xmlns": "http://www.w3.org/2000/svg"}, *parts)) + "\n"

    def _repr_svg_(self) -> str:
        """Return what notebooks show."""
        return self.standalone()

    def _svg(self, more: dict[str, str], *before: Markup) -> Markup:
        size: Attributes = {"width": self.width, "height": self.height}
        return element(
            "svg",
            {**more, "class": "il", "role": "img", "viewBox": f"0 0 {self.width} {self.height}", **size},
            element("title", {}, self.title),
            element("desc", {}, self.text),
            fragment(before),
            self.body,
        )

"""A page as a tree that tests can ask: made from what a browser's tokenizer would hear."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "hr", "img"}


class Node:
    """An element: tag, attributes, children, and the text within."""

    def __init__(self, tag: str, attrs: dict[str, str | None], parent: Node | None) -> None:
        self.tag = tag
        self.attrs = attrs
        self.parent = parent
        self.children: list[Node | str] = []

    @property
    def classes(self) -> list[str]:
        return (self.attrs.get("class") or "").split()

    @property
    def text(self) -> str:
        """All text within, spaces folded."""
        return " ".join("".join(self._texts()).split())

    def all(self, tag: str = "", look: str = "") -> list[Node]:
        """Return elements within, of a tag and a class."""
        found = (n for n in self._walk() if not tag or n.tag == tag)
        return [n for n in found if not look or look in n.classes]

    def one(self, tag: str, look: str = "") -> Node:
        found = self.all(tag, look)
        assert len(found) == 1, f"{len(found)} of {tag}.{look}"
        return found[0]

    def rows(self) -> list[list[str]]:
        """Return the cells of a table's body as texts."""
        return [[cell.text for cell in row.children if isinstance(cell, Node)] for row in self.one("tbody").all("tr")]

    def _walk(self) -> Iterator[Node]:
        for child in self.children:
            if isinstance(child, Node):
                yield child
                yield from child._walk()

    def _texts(self) -> Iterator[str]:
        for child in self.children:
            if isinstance(child, str):
                yield child
            else:
                yield " "
                yield from child._texts()
                yield " "


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.at = self.root = Node("", {}, None)

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice in {tag}"
        node = Node(tag, dict(attrs), self.at)
        self.at.children.append(node)
        if tag not in VOID:
            self.at = node

    def handle_startendtag(self, tag, attrs):
        self.at.children.append(Node(tag, dict(attrs), self.at))

    def handle_endtag(self, tag):
        assert tag == self.at.tag, f"</{tag}> closes <{self.at.tag}>"
        assert self.at.parent
        self.at = self.at.parent

    def handle_data(self, data):
        self.at.children.append(data)

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")


def parse(page: str) -> Node:
    """Return the root of a page; a page whose tags do not match fails."""
    builder = _Builder()
    builder.feed(page)
    builder.close()
    assert builder.at is builder.root, f"<{builder.at.tag}> is never closed"
    return builder.root


def table(page: Node, caption: str) -> Node:
    """Return the table of a caption."""
    found = [t for t in page.all("table") if t.one("caption").text == caption]
    assert len(found) == 1, [t.one("caption").text for t in page.all("table")]
    return found[0]

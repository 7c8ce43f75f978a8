"""HTML and SVG from Python: every text is escaped, and only `Markup` is not.

    element("td", {"class": "num"}, "a < b")      ->  <td class="num">a &lt; b</td>

What is written this way is both HTML and well-formed XML, apart from HTML's void elements. No script, no handler and no
inline style can be written: the page needs none, and its content security policy allows none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

from interlock.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_VOID: Final = frozenset({"br", "hr", "img", "link", "meta"})
_HTML: Final = frozenset(
    {
        *("a", "abbr", "article", "aside", "b", "bdi", "body", "caption", "code", "col", "colgroup", "dd", "details"),
        *("div", "dl", "dt", "em", "figcaption", "figure", "footer", "h1", "h2", "h3", "h4", "head", "header", "html"),
        *("i", "kbd", "li", "main", "nav", "ol", "p", "pre", "section", "small", "span", "strong", "style", "sub"),
        *("summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "time", "title", "tr", "ul"),
    }
)
_SVG: Final = frozenset(
    {"circle", "desc", "ellipse", "g", "line", "path", "polygon", "polyline", "rect", "svg", "text", "tspan"}
)
_TAGS: Final = _HTML | _SVG | _VOID
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9:-]*\Z")
_FORBIDDEN: Final = re.compile(r"(?:on.*|style|srcdoc|xmlns:.*)\Z", re.IGNORECASE)
_ADDRESSES: Final = frozenset({"href", "src"})
_SAFE_ADDRESS: Final = re.compile(r"(?:https?://|#|/(?![/\\]))[^\s\\\x00-\x1f]*\Z", re.IGNORECASE)
_ICON: Final = "data:image/svg+xml,"  # only for <link>: as the target of <a> it could hold a script
# What neither HTML nor XML can carry, and what makes a text lie about its order.
_UNFIT: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]")
_MARKS: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "\n"})


class Markup:
    """Text that is HTML or SVG already, and goes into a document as it is.

    It is no `str`, so that joining it to a text by accident is a type error, not a hole.

    Args:
        text: the markup; whoever calls this vouches for it.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Markup({self._text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Markup) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)


Child: TypeAlias = Markup | str | int | None
Attribute: TypeAlias = str | int | bool | None
Attributes: TypeAlias = dict[str, Attribute]


def element(tag: str, attributes: Mapping[str, Attribute] | None = None, *children: Child) -> Markup:
    """Return one element.

    Args:
        tag: its name; HTML without script and forms, and the shapes of SVG.
        attributes: by name; True writes the bare name, False and None write nothing.
        children: texts, which are escaped, numbers, and markup; None is left out.

    Raises:
        Invalid: the tag or an attribute is not allowed here, or an address has a scheme that could run code.
    """
    if tag not in _TAGS:
        raise Invalid(f"<{tag}> is no element that is written here.", about="markup")
    opened = tag + "".join(_attribute(tag, name, value) for name, value in (attributes or {}).items())
    if tag in _VOID:
        if children:
            raise Invalid(f"<{tag}> holds nothing.", about="markup")
        return Markup(f"<{opened}>")
    inner = _style(children) if tag == "style" else str(fragment(children))
    return Markup(f"<{opened}/>" if tag in _SVG and not inner else f"<{opened}>{inner}</{tag}>")


def fragment(children: Iterable[Child]) -> Markup:
    """Return children one after the other, texts escaped."""
    return Markup("".join(str(c) if isinstance(c, Markup) else escape(str(c)) for c in children if c is not None))


def escape(text: str) -> str:
    """Return a text as it stands between tags or in a quoted attribute; what no document can carry becomes U+FFFD."""
    return _UNFIT.sub("\ufffd", text.replace("\r\n", "\n")).translate(_MARKS)


def is_safe_address(text: str) -> bool:
    """Return whether an address may stand in a link: http, https, a place on this server or on this page."""
    return _SAFE_ADDRESS.match(text) is not None


def _attribute(tag: str, name: str, value: Attribute) -> str:
    if not _NAME.match(name) or _FORBIDDEN.match(name):
        raise Invalid(f"{name!r} is no attribute that is written here.", about="markup")
    if value is None or value is False:
        return ""
    text = "" if value is True else str(value)
    is_icon = tag == "link" and text.startswith(_ICON)
    if name in _ADDRESSES and not is_icon and not is_safe_address(text):
        raise Invalid(f"{text!r} may not be linked to.", about="markup", hint="Link to http, https, '/...' or '#...'.")
    return f' {name}="{escape(text)}"'


def _style(children: tuple[Child, ...]) -> str:
    """Return what a style element holds: HTML does not decode entities there, so no text can be made safe."""
    text = "".join(str(child) for child in children if isinstance(child, Markup))
    if not all(isinstance(child, Markup) for child in children) or "<" in text:
        raise Invalid("A style element holds style sheets as Markup, without '<'.", about="markup")
    return text

"""The element builder: what goes in as a text comes out as that text, and nothing else does."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from interlock.core.errors import Invalid
from interlock.pictures import Markup, element, fragment
from interlock.pictures.markup import escape, is_safe_address

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</td></table></svg></style></title><b>",
    "&lt;b&gt; &amp;quot; &#60;",
    "<!-- --> <![CDATA[ ]]> <?php ?>",
    "' onmouseover='x",
    "\x00\x0b\x7f\x85\ud800\ufffe",
    "invoice\u202egpj.exe \u2066x",
    "a\r\nb\rc\td",
)
TEXTS = st.one_of(st.sampled_from(HOSTILE), st.text(), st.text("<>&\"'/!-=ab \n\x00\u202e"))


class Heard(HTMLParser):
    """What a browser's tokenizer makes of a document."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.events: list[tuple] = []

    def handle_starttag(self, tag, attrs):
        self.events.append(("start", tag, attrs))

    def handle_endtag(self, tag):
        self.events.append(("end", tag))

    def handle_data(self, data):
        if self.events and self.events[-1][0] == "text":
            data = self.events.pop()[1] + data
        self.events.append(("text", data))

    def handle_comment(self, data):
        self.events.append(("comment", data))

    def handle_decl(self, decl):
        self.events.append(("declaration", decl))

    def handle_pi(self, data):
        self.events.append(("instruction", data))


def heard(markup: Markup) -> list[tuple]:
    parser = Heard()
    parser.feed(str(markup))
    parser.close()
    return parser.events


def shown(text: str) -> str:
    """Return a text as a document can carry it."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return re.sub(
        "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]", "\ufffd", text
    )


@given(TEXTS, TEXTS, TEXTS)
def test_no_text_breaks_out(first: str, second: str, third: str) -> None:
    made = element("td", {"class": first, "title": second}, element("b", {}, third), first)
    inner = [("text", shown(third))] if third else []
    after = [("text", shown(first))] if first else []
    assert heard(made) == [
        ("start", "td", [("class", shown(first)), ("title", shown(second))]),
        ("start", "b", []),
        *inner,
        ("end", "b"),
        *after,
        ("end", "td"),
    ]


@given(TEXTS, TEXTS)
@example("\ud800", "\ufffe")
def test_svg_is_well_formed_and_can_be_sent(attribute: str, text: str) -> None:
    made = element("g", {"class": attribute}, element("title", {}, text), element("path", {"d": attribute}))
    tree = ET.fromstring(str(made).encode("utf-8"))
    assert tree.findtext("title") == shown(text)
    assert tree.attrib["class"].split() == shown(attribute).split()
    assert [child.tag for child in tree] == ["title", "path"]


def test_what_is_written() -> None:
    assert str(element("td", {"class": "num"}, "a < b", 7, None)) == '<td class="num">a &lt; b7</td>'
    assert str(element("br")) == "<br>"
    assert str(element("path", {"d": "M0 0"})) == '<path d="M0 0"/>'
    assert str(element("td")) == "<td></td>"
    assert str(element("details", {"open": True, "hidden": False, "id": None, "tabindex": 0})) == (
        '<details open="" tabindex="0"></details>'
    )
    assert str(fragment(["<", element("b", {}, "x"), 1])) == "&lt;<b>x</b>1"


def test_markup_goes_in_as_it_is_and_a_string_of_it_does_not() -> None:
    bold = element("b", {}, "x")
    assert str(element("p", {}, bold)) == "<p><b>x</b></p>"
    assert str(element("p", {}, str(bold))) == "<p>&lt;b&gt;x&lt;/b&gt;</p>"
    assert not isinstance(bold, str)
    with pytest.raises(TypeError):
        "text" + bold  # type: ignore[operator]
    assert bold == Markup("<b>x</b>")
    assert len({bold, Markup("<b>x</b>")}) == 1
    assert not Markup("")


@pytest.mark.parametrize(
    "tag", ["script", "iframe", "form", "object", "foreignObject", "td onload=x", "P", "", "textarea"]
)
def test_elements_that_could_do_something_are_refused(tag: str) -> None:
    with pytest.raises(Invalid):
        element(tag)


@pytest.mark.parametrize("name", ["onclick", "ONLOAD", "style", "srcdoc", "a b", "x=y", "x>", "", 'a"', "xmlns:xlink"])
def test_attributes_that_could_do_something_are_refused(name: str) -> None:
    with pytest.raises(Invalid):
        element("p", {name: "x"})


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        " javascript:alert(1)",
        "JAVASCRIPT:x",
        "java\nscript:x",
        "data:text/html,<script>",
        "data:image/svg+xml,<svg/>",
        "vbscript:x",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "http://a b",
        "file:///etc/passwd",
        "",
        "x.html",
    ],
)
def test_addresses_that_could_run_code_are_refused(address: str) -> None:
    assert not is_safe_address(address)
    with pytest.raises(Invalid):
        element("a", {"href": address}, "x")


@pytest.mark.parametrize("address", ["#a", "/", "/api/v1", "http://127.0.0.1:8230/x?y=1", "https://example.org"])
def test_plain_addresses_are_linked(address: str) -> None:
    assert heard(element("a", {"href": address}, "x"))[0] == ("start", "a", [("href", address)])


def test_an_icon_may_be_inline_and_a_link_may_not() -> None:
    icon = "data:image/svg+xml,%3Csvg/%3E"
    assert icon in str(element("link", {"rel": "icon", "href": icon}))
    with pytest.raises(Invalid):
        element("img", {"src": icon})


def test_a_style_element_holds_no_text() -> None:
    assert str(element("style", {}, Markup("a>b{c:d}"))) == "<style>a>b{c:d}</style>"
    for inner in ("a{}", Markup("</style><script>")):
        with pytest.raises(Invalid):
            element("style", {}, inner)


def test_void_elements_hold_nothing() -> None:
    with pytest.raises(Invalid):
        element("br", {}, "x")


def test_escape_keeps_what_needs_no_escaping() -> None:
    assert escape("Zoë's 10 % \u2265 5\n\ttab") == "Zoë's 10 % \u2265 5\n\ttab"

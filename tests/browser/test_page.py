"""The page in a real Chromium, under the strictest policy: styled, readable, reachable, in both themes and widths."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import msgspec
import pytest
from images import Image
from loops import closed, empty
from pagetree import Node, parse

from interlock.ui.page import STYLE_HASH, document

POLICY = f"default-src 'none'; style-src {STYLE_HASH}; img-src data:; base-uri 'none'; form-action 'none'"
DARK = "--blink-settings=preferredColorScheme=0"
PAPER = {"light": (255, 255, 255), "dark": (0x14, 0x17, 0x1C)}
RED = {"light": (0xCF, 0x3F, 0x17), "dark": (0xF4, 0x69, 0x4A)}
HOSTILE = (
    '</style></title></svg></table><script>document.title="owned"</script><img src=x onerror="document.title=1">"\''
)

MEASURE = (Path(__file__).parent / "measure.html").read_text("utf-8")


@pytest.fixture(scope="module")
def page() -> str:
    return document(closed(), "employment")


def shape(node: Node) -> list:
    """Return the tags of a tree, each with those within."""
    return [(c.tag, shape(c)) for c in node.children if isinstance(c, Node)]


def words(node: Node) -> list[str]:
    return [
        (c if isinstance(c, str) else "").strip()
        for n in node.all()
        for c in n.children
        if isinstance(c, str) and c.strip()
    ]


def complaints(log: str) -> list[str]:
    return [line for line in log.splitlines() if "CONSOLE" in line or "Content Security Policy" in line]


@pytest.mark.slow
@pytest.mark.parametrize("status", [closed(), empty()], ids=["closed", "empty"])
def test_the_browser_sees_the_document_that_was_written(browser, site, status) -> None:
    text = document(status, "employment")
    url = site.put("/", text, Content_Security_Policy=POLICY)
    seen, log = browser.dom(url)
    assert shape(parse(seen)) == shape(parse(text))
    assert words(parse(seen).one("body")) == words(parse(text).one("body"))
    assert complaints(log) == []
    assert site.asked == ["/"], "the page fetches nothing"


@pytest.mark.slow
def test_hostile_names_stay_text_in_a_browser_that_runs_scripts(browser, site) -> None:
    whole = closed(6)
    reports = tuple(
        msgspec.structs.replace(
            w,
            window=f"{w.window}{HOSTILE}",
            drifts=tuple(msgspec.structs.replace(d, column=f"{d.column}{HOSTILE}", reason=HOSTILE) for d in w.drifts),
        )
        for w in whole.windows
    )
    events = tuple(
        msgspec.structs.replace(e, actor=HOSTILE, subject=HOSTILE, data={"reason": HOSTILE}) for e in whole.events
    )
    versions = tuple(msgspec.structs.replace(v, stage_reason=HOSTILE, run=HOSTILE) for v in whole.versions)
    text = document(msgspec.structs.replace(whole, windows=reports, events=events, versions=versions), HOSTILE)
    seen, _ = browser.dom(site.put("/", text))
    tree = parse(seen)
    assert tree.all("script") == []
    assert tree.all("img") == []
    assert tree.one("head").one("title").text == f"{HOSTILE} - Interlock"
    assert tree.one("h1").text == HOSTILE
    assert shape(tree) == shape(parse(text))
    assert site.asked == ["/"]


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_readable_and_reachable(browser, site, page, theme: str, width: int) -> None:
    site.put("/", page, Content_Security_Policy=POLICY)
    url = site.put("/measure", MEASURE.replace("WIDTH", str(width)))
    seen, _ = browser.dom(url, "--window-size=1400,1000", *([DARK] if theme == "dark" else []))
    found = json.loads(html.unescape(re.search(r'<pre id="out">(.*?)</pre>', seen, re.DOTALL).group(1)))
    assert tuple(found["paper"]) == PAPER[theme], "the policy let the style in, and the theme is followed"
    assert found["font"] == "14px"
    assert found["texts"] > 800
    assert found["faint"] == []
    assert found["scroll"] <= width, "nothing makes the page scroll sideways"
    assert found["beyond"] == 0, "nothing is cut off"
    assert found["lost"] == []
    assert found["first"] == "#main"
    assert found["stops"] >= 15
    assert found["ring"][0] >= 0
    assert found["ring"][1] <= width
    assert found["nodes"] < 2_500
    assert len(found["newest"]) == 2
    for scrolls, beyond in found["newest"]:
        assert scrolls == (width == 390)
        assert beyond <= 1, "the newest windows are seen first"


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_looks_as_meant(browser, tmp_path, page, theme: str) -> None:
    path = tmp_path / "page.html"
    path.write_text(page, "utf-8")
    options = ["--window-size=1280,1500", *([DARK] if theme == "dark" else [])]
    image = Image(browser.screenshot(path.as_uri(), *options))
    assert (image.width, image.height) == (1280, 1500)
    colours = image.colours()
    assert colours.most_common(1)[0][0] == PAPER[theme]
    assert colours[RED[theme]] > 500, "the windows that drifted are red"
    assert image.at(5, 5) == PAPER[theme]
    assert len(colours) > 50, "letters and lines are drawn"

"""Every relative link in every Markdown file leads to a file, and every anchor to a heading."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1`*\s*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
LINK = re.compile(r"\]\(\s*<?([^)<>\s]*)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?(\S+?)>?(?:\s|$)", re.MULTILINE)
HTML = re.compile(r"\b(?:src|href)\s*=\s*[\"']([^\"']*)[\"']")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def pages() -> list[Path]:
    """Return the Markdown files that git does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def prose(text: str) -> str:
    """Return a page without its code, in which brackets mean something else."""
    return CODE.sub("", FENCE.sub("", text))


def links(text: str) -> list[str]:
    """Return where the links and pictures of a page lead, as far as that is inside the repository."""
    plain = prose(text)
    found = [*LINK.findall(plain), *REFERENCE.findall(plain), *HTML.findall(plain)]
    return [unquote(target) for target in found if not ELSEWHERE.match(target)]


def anchors(path: Path) -> set[str]:
    """Return the anchors that hosting sites make of a page's headings."""
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(r"^#{1,6}\s+(.+?)\s*#*$", FENCE.sub("", path.read_text("utf-8")), re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        count = found[slug] = found.get(slug, -1) + 1
        names.add(f"{slug}-{count}" if count else slug)
    return names


def broken(page: Path, root: Path = ROOT) -> list[str]:
    """Return the links of a page that lead nowhere."""
    found = []
    for link in links(page.read_text("utf-8")):
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        if target.startswith("/") or not path.is_relative_to(root) or not path.exists():
            found.append(f"{link}: there is no such file")
        elif anchor and path.suffix == ".md" and anchor not in anchors(path):
            found.append(f"{link}: there is no such heading")
    return found


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    text = """[a](b.md) `[c](d.md)` ![e](f%20g.svg "x") <a href="h"> [m](https://n)
[i]: j.md
```
[k](l.md)
```
"""
    assert links(text) == ["b.md", "f g.svg", "j.md", "h"]
    page = tmp_path / "page.md"
    page.write_text("# A heading: `x.y(z)`\n# Two\n# Two\n[a](#a-heading-xyz) [b](page.md#two-1)\n")
    assert broken(page, tmp_path) == []
    page.write_text("# Two\n[b](#three) [c](gone.md) [d](/etc) [e](..)\n")
    assert [line.partition(":")[0] for line in broken(page, tmp_path)] == ["#three", "gone.md", "/etc", ".."]

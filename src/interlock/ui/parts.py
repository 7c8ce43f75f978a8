"""What pages are put together from: tables, pills, figures, commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from interlock.pictures import Markup, Picture, element, fragment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from interlock.pictures.markup import Child

Tone = Literal["quiet", "ok", "warn", "alarm"]


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[Child]]) -> Markup:
    """Return a table that scrolls sideways where it has no room; the first cell of a row names it.

    Args:
        caption: what it holds; read out, and its name for the keyboard.
        header: column names; one that begins with `#` has numbers.
        rows: their cells.
    """
    numeric = [name.startswith("#") for name in header]
    looks = ["n" if found else None for found in numeric]
    head = [
        element("th", {"scope": "col", "class": look}, name.lstrip("#"))
        for look, name in zip(looks, header, strict=True)
    ]
    body = [
        element(
            "tr",
            {},
            element("th", {"scope": "row"}, row[0]),
            *(element("td", {"class": look}, cell) for look, cell in zip(looks[1:], row[1:], strict=True)),
        )
        for row in rows
    ]
    parts = (
        element("caption", {}, caption),
        element("thead", {}, element("tr", {}, *head)),
        element("tbody", {}, *body),
    )
    return scrolling(caption, element("table", {}, *parts))


def scrolling(name: str, content: Markup, look: str = "wide") -> Markup:
    """Return content that scrolls sideways by pointer and by keyboard."""
    return element("div", {"class": look, "tabindex": 0, "role": "region", "aria-label": name}, content)


def figure(picture: Picture, *notes: Child) -> Markup:
    """Return a picture with its title and notes; where it has no room, its newest end is seen first."""
    caption = element("figcaption", {}, element("strong", {}, picture.title), " ", *notes)
    return element("figure", {}, caption, scrolling(picture.title, picture.svg, "wide newest"))


def pill(text: str, tone: Tone = "quiet") -> Markup:
    """Return a state as a word in a frame."""
    return element("span", {"class": f"pill {tone}"}, text)


def command(text: str) -> Markup:
    """Return a command to type."""
    return element("code", {"class": "cmd"}, text)


def listed(items: Iterable[tuple[Child, Sequence[Child]]], look: str = "figures") -> Markup:
    """Return names with what they are, as a description list."""
    return element(
        "dl",
        {"class": look},
        *(element("div", {}, element("dt", {}, name), element("dd", {}, *parts)) for name, parts in items),
    )


def folded(summary: str, content: Markup) -> Markup:
    """Return content that is shown when it is asked for."""
    return element("details", {}, element("summary", {}, summary), content)


def small(text: Child) -> Markup:
    """Return a quieter line below something."""
    return element("small", {}, text)


def section(ident: str, title: str, *content: Child, aside: Child = None) -> Markup:
    """Return a part of the page with its heading.

    Args:
        ident: its place on the page.
        title: the heading.
        content: what follows.
        aside: what stands beside the heading, such as a pill.
    """
    heading = element("h2", {"id": ident}, title)
    top = element("div", {"class": "top"}, heading, aside) if aside is not None else heading
    return element("section", {"aria-labelledby": ident}, top, fragment(content))

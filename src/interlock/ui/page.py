"""The page: the loop as it stands, on one sheet of HTML that needs no script."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from interlock import __version__
from interlock.pictures import Markup, element, fragment
from interlock.ui.activity import events_section, jobs_section, ledger_section
from interlock.ui.attention import Need, needs
from interlock.ui.models import model_section
from interlock.ui.parts import command, pill, scrolling, section
from interlock.ui.stations import loop_ring
from interlock.ui.style import STYLE, STYLE_HASH
from interlock.ui.views import model_views
from interlock.ui.words import moment, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.loop.status import Status
    from interlock.sdk.workspace import Workspace
    from interlock.ui.views import ModelView

_LINKS: Final = 8
_ICON: Final = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='6'"
    " fill='none' stroke='%230b5fa8' stroke-width='3' stroke-dasharray='29 9'/%3E%3C/svg%3E"
)
_FIRST_STEPS: Final = (
    ("interlock init --example employment", "Copy a complete project on real data; without --example, an empty one."),
    ("interlock apply", "Make the workspace what interlock.toml says, and read the data in."),
    ("interlock loop candidate train", "Train, register and let the gates judge the first version."),
    ("interlock audit approve model:employment@1 --note WHY", "Sign for it, if you agree with its gates."),
    ("interlock up", "Serve it, watch it, and keep the loop turning."),
)


def render(workspace: Workspace) -> str:
    """Return the page of a workspace as it stands.

    Args:
        workspace: where to look; only its operation `loop.status` is called.
    """
    status = workspace.loop.status()
    return document(status, status.project or _name(workspace.location))


def document(status: Status, name: str) -> str:
    """Return the page of a loop.

    Args:
        status: the loop.
        name: what the project is called.
    """
    views = model_views(status)
    is_new = not (status.datasets or views or status.jobs)
    main = [_start(), _ring(status)] if is_new else [_ring(status), _models(views), jobs_section(status)]
    main = [_top(name, [] if is_new else needs(status), is_new=is_new), *main]
    links = (
        [] if is_new else [(f"model-{n}", view.name) for n, view in enumerate(views[:_LINKS], 1)] + [("jobs", "Jobs")]
    )
    body = (
        element("a", {"class": "skip", "href": "#main"}, "Skip to the loop"),
        _header([("loop", "Loop"), *links, ("events", "Events"), ("ledger", "Ledger")]),
        element("main", {"id": "main"}, *main, events_section(status), ledger_section(status)),
        _footer(status),
    )
    head = (
        element("meta", {"charset": "utf-8"}),
        element("title", {}, f"{name} - Interlock"),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "color-scheme", "content": "light dark"}),
        element("link", {"rel": "icon", "href": _ICON}),
        element("style", {}, Markup(STYLE)),
    )
    html = element("html", {"lang": "en", "class": "il"}, element("head", {}, *head), element("body", {}, *body))
    return f"<!DOCTYPE html>\n{html}\n"


def _name(location: str) -> str:
    """Return the last part of a folder or an address, which is what people call the project."""
    parts = [part for part in re.split(r"[/\\]+", location) if part not in {"", ".", ".interlock"}]
    return parts[-1] if parts else "workspace"


def _header(links: Sequence[tuple[str, str]]) -> Markup:
    items = [element("li", {}, element("a", {"href": f"#{ident}"}, text)) for ident, text in links]
    return element(
        "header",
        {},
        element("p", {"class": "brand"}, "Interlock"),
        element("nav", {"aria-label": "On this page"}, element("ul", {}, *items)),
    )


def _top(name: str, found: Sequence[Need], *, is_new: bool) -> Markup:
    lead = "This workspace is empty." if is_new else _headline(found)
    listed = element("ul", {"class": "needs"}, *(_need(need) for need in found)) if found else None
    return fragment((element("h1", {}, name), element("p", {"class": "lead"}, lead), listed))


def _ring(status: Status) -> Markup:
    picture = loop_ring(status)
    drawn = element("div", {"class": "ring"}, picture.svg)
    stations = scrolling(picture.title, picture.table.html())
    return section("loop", "The loop", element("div", {"class": "loop"}, drawn, stations))


def _headline(found: Sequence[Need]) -> str:
    wrong = sum(need.level == "alarm" for need in found)
    waits = sum(need.level == "warn" for need in found)
    if wrong:
        return f"{plural(wrong, 'thing is', 'things are')} wrong" + (f", and {waits} waiting." if waits else ".")
    if waits:
        return f"{plural(waits, 'thing waits', 'things wait')} for somebody."
    return "Here is the next step." if found else "Nothing needs you: the loop goes on by itself."


def _need(need: Need) -> Markup:
    words = {"alarm": "wrong", "warn": "waits", "next": "next"}
    typed = command(need.command) if need.command else None
    sign = pill(words[need.level], "quiet" if need.level == "next" else need.level)
    return element("li", {}, sign, element("span", {}, need.text, " ", typed))


def _models(views: Sequence[ModelView]) -> Markup:
    return fragment(model_section(view, f"model-{number}") for number, view in enumerate(views, 1))


def _start() -> Markup:
    steps = [element("li", {}, command(text), element("span", {}, why)) for text, why in _FIRST_STEPS]
    intro = element("p", {}, "Five commands close the loop on the example project:")
    return section("start", "Start here", intro, element("ol", {"class": "steps"}, *steps))


def _footer(status: Status) -> Markup:
    newest = status.events[0].at if status.events else None
    when = (
        fragment(("The newest event is of ", moment(newest), " UTC. Reload to see what came since."))
        if newest
        else None
    )
    return element("footer", {}, element("p", {}, f"Interlock {__version__}. ", when))


__all__ = ["STYLE_HASH", "document", "render"]

"""The page: whole, valid, small, accessible; it shows what the records say, and nothing that they smuggle in."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import timedelta
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loops import closed, empty, event, version
from pagetree import parse, table

from interlock.audit.evaluation import Evaluation, Metric
from interlock.core.bundles import Route
from interlock.ui.page import document, render
from interlock.ui.style import STYLE, STYLE_HASH

HOSTILE = (
    "</style></title></table><script>alert(1)</script><img src=x onerror=alert(1)>\"' &amp; \x00\u202e{0.__class__}"
)


@pytest.fixture(scope="module")
def status():
    return closed()


@pytest.fixture(scope="module")
def text(status):
    return document(status, "employment")


@pytest.fixture(scope="module")
def page(text):
    return parse(text)


class Stand:
    """What `render` asks of a workspace."""

    def __init__(self, status, location: str) -> None:
        self.loop = self
        self.location = location
        self._status = status

    def status(self):
        return self._status


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("/srv/projects/employment", "employment"),
        ("/srv/employment/.interlock", "employment"),
        ("http://127.0.0.1:8230/", "127.0.0.1:8230"),
        ("C:\\work\\credit", "credit"),
        ("/", "workspace"),
    ],
)
def test_a_page_is_named_after_its_project_and_tells_no_folders(status, location: str, name: str) -> None:
    made = render(Stand(status, location))
    assert parse(made).one("h1").text == name
    assert "/srv" not in made


def test_a_page_is_one_whole_document(text, page) -> None:
    assert text.startswith("<!DOCTYPE html>\n<html lang=")
    assert page.one("html").attrs["lang"] == "en"
    assert [child.tag for child in page.one("html").children] == ["head", "body"]
    assert page.one("head").one("title").text == "employment - Interlock"
    viewport = [m for m in page.all("meta") if m.attrs.get("name") == "viewport"]
    assert viewport[0].attrs["content"] == "width=device-width, initial-scale=1"


def test_a_page_runs_nothing_and_fetches_nothing(text, page) -> None:
    assert page.all("script") == []
    assert not [n for n in page.all() for name in n.attrs if name.startswith("on") or name == "style"]
    addresses = [v for n in page.all() for name, v in n.attrs.items() if name in {"href", "src"}]
    assert {a for a in addresses if not a.startswith("#")} == {
        "http://127.0.0.1:40123",
        page.one("link").attrs["href"],
    }
    assert page.one("link").attrs["href"].startswith("data:image/svg+xml,")
    assert "@import" not in text
    assert "url(" not in text


def test_its_one_style_has_the_digest_that_the_policy_names(text, page) -> None:
    styles = page.all("style")
    assert len(styles) == 1
    raw = re.search("<style>(.*?)</style>", text, re.DOTALL).group(1)
    assert raw == STYLE
    assert f"'sha256-{base64.b64encode(hashlib.sha256(raw.encode()).digest()).decode()}'" == STYLE_HASH


def test_every_class_of_the_page_has_a_rule(page) -> None:
    used = {name for node in page.all() for name in node.classes}
    plain = {"quiet", "events", "needs"}  # containers and the look that everything starts from
    assert {name for name in used - plain if not re.search(rf"\.{name}\b", STYLE)} == set()


def test_a_page_is_small(text) -> None:
    assert len(text.encode()) < 100_000
    assert len(STYLE.encode()) < 9_000


def test_a_page_stays_bounded_however_long_a_project_lives(status) -> None:
    windows = [
        msgspec.structs.replace(
            w, window=f"{w.window}-{n:02d}", starts_at=w.starts_at + timedelta(hours=n), drifts=w.drifts
        )
        for w in status.windows
        for n in range(20)
    ]
    versions = [version(n, "retired", "replaced") for n in range(1, 200)]
    many = document(msgspec.structs.replace(status, windows=tuple(windows), versions=tuple(versions)), "x")
    assert len(many.encode()) < 150_000
    page = parse(many)
    assert "The newest 60 of 720 windows." in page.one("body").text
    assert "Windows of employment; the newest 60 of 720" in [c.text for c in page.all("caption")]
    assert "Versions of employment; the newest 20 of 199" in [c.text for c in page.all("caption")]


def test_wide_data_shows_the_columns_that_drifted_most(status) -> None:
    calm = status.windows[0].drifts[4]
    extra = tuple(msgspec.structs.replace(calm, column=f"c{n:03d}", severity="none") for n in range(300))
    windows = tuple(msgspec.structs.replace(w, drifts=w.drifts + extra) for w in status.windows)
    page = parse(document(msgspec.structs.replace(status, windows=windows), "x"))
    assert "The 24 of 312 columns that drifted most." in page.one("body").text
    header = [th.text for th in table(page, "Drift of each column by window").one("thead").all("th")]
    assert header[:5] == ["Window", "model score", "AGEP", "ESP", "RELP"]
    assert len(header) == 25


def test_headings_go_down_without_a_gap(page) -> None:
    levels = [int(n.tag[1]) for n in page.all() if re.fullmatch("h[1-6]", n.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))


def test_landmarks_are_there_and_named(page) -> None:
    body = page.one("body")
    assert [c.tag for c in body.children] == ["a", "header", "main", "footer"]
    assert page.one("nav").attrs["aria-label"]
    ids = [n.attrs["id"] for n in page.all() if "id" in n.attrs]
    assert len(ids) == len(set(ids))
    for section in page.all("section"):
        assert section.attrs["aria-labelledby"] in ids
    for link in page.all("a"):
        href = link.attrs["href"]
        assert not href.startswith("#") or href[1:] in ids, href


def test_the_first_stop_of_the_keyboard_skips_to_the_loop(page) -> None:
    first = next(n for n in page.all() if n.tag in {"a", "summary"} or "tabindex" in n.attrs)
    assert first.attrs == {"class": "skip", "href": "#main"}


def test_tables_have_captions_and_scopes(page) -> None:
    tables = page.all("table")
    assert len(tables) == 7
    for found in tables:
        assert found.one("caption").text
        columns = [th for th in found.one("thead").all("th") if th.attrs.get("scope") == "col"]
        for row in found.one("tbody").all("tr"):
            cells = [c for c in row.children if c.tag in {"th", "td"}]
            assert len(cells) == len(columns)
            assert cells[0].attrs.get("scope") == "row"


def test_what_scrolls_is_reached_by_keyboard_and_named(page) -> None:
    regions = page.all("div", "wide")
    assert regions
    for region in regions:
        assert region.attrs["tabindex"] == "0"
        assert region.attrs["role"] == "region"
        assert region.attrs["aria-label"]


def test_pictures_have_names_and_words(page) -> None:
    pictures = page.all("svg")
    assert len(pictures) == 7
    for picture in pictures:
        assert picture.attrs["role"] == "img"
        assert picture.children[0].tag == "title"
        assert picture.children[0].text
        assert picture.children[1].tag == "desc"


def test_windows_are_shown_as_they_are_recorded(page, status) -> None:
    shown = table(page, "Windows of employment").rows() + table(page, "Earlier windows of employment").rows()
    assert len(shown) == 36
    for row, report in zip(shown, reversed(status.windows), strict=True):
        window, model, predictions, labels, estimated, realised, brier, worst, verdict = row
        assert window == report.window
        assert f"model:employment{model}" == report.model
        assert int(predictions.replace(",", "")) == report.predictions
        assert int(labels.replace(",", "")) == report.labels
        for shown_interval, found in ((estimated, report.estimated), (realised, report.realised)):
            numbers = [float(n) for n in re.findall(r"\d\.\d+", shown_interval)]
            expected = [found.value, found.low, found.high] if found else []
            assert numbers == pytest.approx(expected, abs=0.0006)
        assert ("not to be trusted" in estimated) == bool(report.distrust)
        assert brier == (f"{report.brier.value:.3f}" if report.brier else "")
        bad = [d for d in report.drifts if d.severity != "none"]
        assert worst.startswith(f"{report.severity}: " if bad else "")
        assert bool(worst) == bool(bad)
        assert verdict.startswith(report.verdict.action)


def test_a_verdict_gives_its_reason_when_it_is_new(page) -> None:
    shown = table(page, "Earlier windows of employment").rows()
    told = {row[0]: row[-1] for row in shown}
    assert told["2017-02"] == "keep"
    assert told["2017-03"].startswith("wait for labels Drift since 2017-03")
    assert told["2017-04"] == "wait for labels"
    assert "it does harm" in told["2017-11"]
    assert told["2017-12"].startswith("keep No drift beyond chance")


def test_drift_is_shown_as_numbers_too(page, status) -> None:
    found = table(page, "Drift of each column by window")
    columns = [th.text for th in found.one("thead").all("th")][1:]
    assert sorted(columns) == sorted({d.column for w in status.windows for d in w.drifts})
    for row, report in zip(found.rows(), status.windows, strict=True):
        by_name = {d.column: d for d in report.drifts}
        for name, cell in zip(columns, row[1:], strict=True):
            effect, _, severity = cell.partition(" ")
            assert float(effect) == pytest.approx(by_name[name].effect, abs=0.0051)
            assert (severity or "none") == by_name[name].severity


def test_versions_are_shown_newest_first(page, status) -> None:
    rows = table(page, "Versions of employment").rows()
    assert [row[0] for row in rows] == ["model:employment@3", "model:employment@2", "model:employment@1"]
    for row, found in zip(rows, reversed(status.versions), strict=True):
        assert row[1:3] == [found.stage, found.stage_reason]
        assert row[3] == found.stage_at.strftime("%Y-%m-%d %H:%M")
        assert row[4] == ", ".join(found.aliases)
        assert row[5] == f"{found.data[0]} {found.run}"


def test_routes_are_shown_with_their_shares(page) -> None:
    row = table(page, "Deployments of employment").rows()[0]
    assert row[:3] == ["employment", "live", "model:employment@1 champion 90% model:employment@2 challenger 10%"]
    assert row[4:6] == ["http://127.0.0.1:40123", "2"]


@pytest.mark.parametrize(("state", "live", "word"), [("serving", False, "down"), ("stopped", False, "stopped")])
def test_a_deployment_that_does_not_answer_says_so(status, state: str, live: bool, word: str) -> None:
    found = msgspec.structs.replace(status.deployments[0], state=state, live=live, url="")
    page = parse(document(msgspec.structs.replace(status, deployments=(found,)), "x"))
    assert table(page, "Deployments of employment").rows()[0][1] == word


def test_jobs_and_events_are_shown_as_they_are_recorded(page, status) -> None:
    rows = table(page, "The newest jobs").rows()
    assert [row[0] for row in rows] == [f"{job.kind} {job.target}" for job in status.jobs]
    assert [row[1] for row in rows] == [job.status for job in status.jobs]
    assert [row[2] for row in rows] == [job.reason for job in status.jobs]
    assert [row[3] for row in rows] == [job.cause for job in status.jobs]
    items = page.one("ol", "events").all("li")
    assert len(items) == len(status.events)
    for item, happened in zip(items, status.events, strict=True):
        assert happened.kind.replace(".", " ").replace("_", " ") in item.text
        assert happened.subject in item.text
        assert f"by {happened.actor}" in item.text
        assert f"#{happened.index}" in item.text
        assert item.one("time").attrs["datetime"] == happened.at.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert "The ledger holds 71 events." in page.one("body").text


def test_the_verdict_stands_beside_the_model(page, status) -> None:
    section = next(s for s in page.all("section") if s.attrs["aria-labelledby"] == "model-1")
    assert section.one("div", "top").text == "Model employment keep"
    assert status.monitors[0].reason in section.text


def test_figures_are_of_the_newest_window_that_has_them(page) -> None:
    shown = page.one("dl", "figures").text
    assert "Champion model:employment@1" in shown
    assert "0.835" in shown
    assert "[0.823, 0.847] in 2018-10" in shown
    assert "0 labels, in 2018-12" in shown


def test_an_empty_workspace_says_what_to_type(page) -> None:
    text = document(empty(), "credit")
    page = parse(text)
    commands = [c.text for c in page.one("ol", "steps").all("code")]
    assert commands[0] == "interlock init --example employment"
    assert commands[-1] == "interlock up"
    assert len(commands) == 5
    assert page.all("dl") == []
    assert "This workspace is empty." in page.one("main").text
    assert [h.text for h in page.all("h2")] == ["Start here", "The loop", "Events", "Ledger"]


def test_the_commands_of_an_empty_workspace_exist() -> None:
    click = pytest.importorskip("click")
    from interlock.cli.main import Root
    from interlock.sdk.services import SERVICES

    commands = [c.text for c in parse(document(empty(), "x")).one("ol", "steps").all("code")]
    root = Root(SERVICES)
    for command in commands:
        group = root
        for word in command.split()[1:]:
            if not isinstance(group, click.Group):
                break
            found = group.get_command(click.Context(group), word)
            assert found is not None, command
            group = found


def smuggle(value, what: str):
    """Return a record with every text in it replaced, other than closed lists of words."""
    closed_words = {"stage", "status", "severity", "kind", "action", "state", "role"}
    if isinstance(value, str):
        return what
    if isinstance(value, tuple | list):
        return type(value)(smuggle(item, what) for item in value)
    if isinstance(value, dict):
        return {key: smuggle(item, what) for key, item in value.items()}
    if isinstance(value, msgspec.Struct):
        changes = {
            f: smuggle(getattr(value, f), what) for f in value.__struct_fields__ if f not in closed_words or f == "kind"
        }
        if "kind" in changes:
            changes["kind"] = value.kind
        return msgspec.structs.replace(value, **changes)
    return value


@pytest.mark.parametrize("what", [HOSTILE, "model:" + HOSTILE + "@3", "", "\ud800", "x" * 3000])
def test_hostile_words_stay_words(what: str, status) -> None:
    text = document(smuggle(closed(12), what), what)
    page = parse(text.encode("utf-8").decode())
    assert page.all("script") == []
    assert page.all("img") == []
    assert len(page.all("style")) == 1
    assert not [n for n in page.all() for name in n.attrs if name.startswith("on")]
    plain = parse(document(closed(12), "employment"))
    assert {n.tag for n in page.all()} <= {n.tag for n in plain.all()}
    assert "__class__" not in text or "{0.__class__}" in text


def test_a_dangerous_address_is_text_and_no_link(status) -> None:
    found = msgspec.structs.replace(status.deployments[0], url="javascript:alert(1)")
    page = parse(document(msgspec.structs.replace(status, deployments=(found,)), "x"))
    assert table(page, "Deployments of employment").rows()[0][4] == "javascript:alert(1)"
    assert not [a for a in page.all("a") if "javascript" in a.attrs["href"]]


@settings(max_examples=25)
@given(st.data())
def test_any_part_of_a_loop_is_a_page(data) -> None:
    """Whatever is there already and whatever is missing, the page stands."""
    whole = closed(data.draw(st.integers(0, 4)) or 1)
    parts = {}
    for field in whole.__struct_fields__:
        value = getattr(whole, field)
        if isinstance(value, tuple):
            parts[field] = tuple(item for item in value if data.draw(st.booleans()))
    page = parse(document(msgspec.structs.replace(whole, **parts), "x"))
    assert page.one("h1").text == "x"
    assert len(page.one("div", "ring").all("circle", "il-node")) == 8


def test_an_unknown_kind_of_event_and_an_erased_one_are_shown(status) -> None:
    events = (event(5, "robot.waved", "robot:1", {"hand": "left", "times": 3}), event(4, "run.logged", "run:1", None))
    page = parse(document(msgspec.structs.replace(status, events=events), "x"))
    items = [li.text for li in page.one("ol", "events").all("li")]
    assert "robot waved robot:1 hand left, times 3" in items[0]
    assert "its data were erased" in items[1]


def test_two_models_have_a_section_each(status) -> None:
    other = msgspec.structs.replace(version(1, "approved", "ready"), ref="model:credit@1", model="credit")
    route = Route("model:third@1", "", 1.0)
    deployment = msgspec.structs.replace(status.deployments[0], name="third", routes=(route,))
    found = msgspec.structs.replace(
        status, versions=(*status.versions, other), deployments=(*status.deployments, deployment)
    )
    page = parse(document(found, "x"))
    assert [h.text for h in page.all("h2")][1:4] == ["Model credit", "Model employment", "Model third"]
    assert [a.text for a in page.one("nav").all("a")][:4] == ["Loop", "credit", "employment", "third"]


def test_the_same_records_are_the_same_bytes(status, text) -> None:
    assert document(closed(), "employment") == text


def test_an_evaluation_is_shown_as_a_matrix_and_its_metrics(status) -> None:
    found = Evaluation(
        "model:employment@1",
        "two classes",
        1000,
        0.9,
        status.versions[0].created_at,
        (Metric("roc_auc", 0.81234, 0.79, 0.83, "DeLong", ">= 0.75"), Metric("f1", None)),
        classes=(0, 1),
        confusion=((700, 51), (99, 150)),
    )
    page = document(msgspec.structs.replace(status, evaluations=(found,)), "employment")
    assert "Confusion matrix of model:employment@1, 1,000 held-out rows" in page
    assert ">700<" in page
    assert "roc_auc 0.812 [0.790, 0.830]." in page
    assert "<td>&gt;= 0.75</td>" in page
    assert "0.79 to 0.83" in page
    values = msgspec.structs.replace(found, kind="values", classes=(), confusion=())
    plain = document(msgspec.structs.replace(status, evaluations=(values,)), "employment")
    assert "Confusion matrix" not in plain
    assert "Metrics of model:employment@1" in plain

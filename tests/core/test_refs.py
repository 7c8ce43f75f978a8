from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.errors import Invalid
from interlock.core.refs import KINDS, PATHED, VERSIONED, Ref, is_name, is_safe_path, parse

NAMES = st.text(min_size=1, max_size=30).filter(is_name)
PATHS = st.text(min_size=1, max_size=30).filter(is_safe_path)
ALIASES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,20}", fullmatch=True)


@st.composite
def refs(draw: st.DrawFn) -> Ref:
    kind = draw(st.sampled_from(sorted(KINDS)))
    version, alias, path = None, "", ""
    if kind in VERSIONED:
        version = draw(st.none() | st.integers(1, 10**9))
        alias = "" if version else draw(st.just("") | ALIASES)
    if kind in PATHED:
        path = draw(st.just("") | PATHS)
    return Ref(kind, draw(NAMES), version, alias, path)


@given(refs())
def test_every_reference_survives_its_text(ref: Ref) -> None:
    assert parse(str(ref)) == ref


@given(st.text(max_size=60))
def test_any_text_is_a_reference_or_invalid(text: str) -> None:
    try:
        found = parse(text)
    except Invalid as error:
        assert error.code == "reference.invalid"
        assert error.hint
    else:
        assert parse(str(found)) == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data:people@3", Ref("data", "people", 3)),
        ("data:people@latest", Ref("data", "people", alias="latest")),
        ("model:credit@champion", Ref("model", "credit", alias="champion")),
        ("run:01JD/plots/roc.svg", Ref("run", "01JD", path="plots/roc.svg")),
        ("event:1234", Ref("event", "1234")),
        ("models:/credit/7", Ref("model", "credit", 7)),
        ("models:/credit@champion", Ref("model", "credit", alias="champion")),
        ("models:/credit/latest", Ref("model", "credit", alias="latest")),
        ("runs:/abc/model/weights", Ref("run", "abc", path="model/weights")),
        ("model:my model@2", Ref("model", "my model", 2)),
    ],
)
def test_known_spellings(text: str, expected: Ref) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "people",
        "data:",
        "data:a@",
        "data:a@0",
        "data:a@-1",
        "data:a@1.5",
        "run:x@2",
        "run:x/../y",
        "run:x//y",
        "run:x/",
        "deployment:a/b",
        "table:x",
        "models:/",
        "runs:/a/../b",
        "s3:/x",
        "data: people",
        "data:a b ",
        "data:a\nb",
    ],
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(Invalid):
        parse(text)


def test_a_wanted_kind_may_be_left_out_but_not_contradicted() -> None:
    assert parse("people@2", "data") == Ref("data", "people", 2)
    with pytest.raises(Invalid, match="a data is wanted"):
        parse("model:people@2", "data")

from __future__ import annotations

import pytest

from interlock.server.mlflow import checks
from interlock.server.mlflow.wire import Refused


@pytest.mark.parametrize("name", ["a", "a/b", "a.b-c_d e:f", "\u00e9\u4e2d", "x" * 250, "a..", "0"])
def test_names_that_may_be(name: str) -> None:
    checks.key(name, "Metric")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 251,
        "a\n",
        "a\x00",
        "a/../b",
        "..",
        ".",
        "..a",
        "a//b",
        "a/",
        "/a",
        "./a",
        "a%",
        "a\\b",
        "a,b",
        "\u2028",
    ],
)
def test_names_that_may_not_be(name: str) -> None:
    with pytest.raises(Refused):
        checks.key(name, "Metric")


def test_counts_of_a_batch() -> None:
    checks.batch([0] * 1000, [], [])
    checks.batch([0] * 800, [0] * 100, [0] * 100)
    for counts in ((1001, 0, 0), (0, 101, 0), (0, 0, 101), (801, 100, 100)):
        with pytest.raises(Refused, match="A batch logging request can contain at most"):
            checks.batch(*([0] * count for count in counts))


def test_params_come_once_or_alike() -> None:
    assert checks.unique_params([("a", "1"), ("b", "2"), ("a", "1")]) == {"a": "1", "b": "2"}
    with pytest.raises(Refused, match="Duplicate parameter keys"):
        checks.unique_params([("a", "1"), ("a", "2")])


def test_what_counts_as_given() -> None:
    checks.required(zero=0, number=0.0, no=False, text="x")
    for nothing in ("", None, []):
        with pytest.raises(Refused, match="'name'"):
            checks.required(name=nothing)


@pytest.mark.parametrize("text", ["", "-1", "1.0", " 1", "\u00b2", "\u0661", "1" * 19, "1" * 5000, "latest", "1_0"])
def test_numbers_of_versions(text: str) -> None:
    assert checks.version_number("007") == 7
    with pytest.raises(Refused, match="must be an integer"):
        checks.version_number(text)


def test_long_values_are_cut() -> None:
    assert (checks.cut("abc", 3), checks.cut("abcd", 3)) == ("abc", "abc")

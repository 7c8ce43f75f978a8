from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.errors import Invalid
from interlock.data.condition import condition

FRAME = pl.DataFrame({"age": [18, 30, None], "code": ["a", "it's", "b"], "home town": [1.5, 2.0, 3.0]})


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("age > 20", [1]),
        ("age BETWEEN 18 AND 54 AND code IN ('a', 'b')", [0]),
        ("age IS NULL OR (code = 'it''s')", [1, 2]),
        ('"home town" * 2 >= 4.0 and not (age = 18)', [1]),
        ("code LIKE 'i%'", [1]),
        ("abs(age - 30) < 1e0", [1]),
        ("case when age > 20 then true else false end", [1]),
        ("code = 'select (x) from read_csv()' OR age <> 30", [0]),
    ],
)
def test_a_condition_picks_rows(text: str, rows: list[int]) -> None:
    assert FRAME.with_row_index().filter(condition(text))["index"].to_list() == rows


@pytest.mark.parametrize(
    "text",
    [
        "age IN (SELECT age FROM read_csv('{path}'))",
        "age IN (SELECT * FROM '{path}')",
        "EXISTS (SELECT 1)",
        "age IN (TABLE x)",
        "age IN (VALUES (1))",
        "read_csv('{path}')",
        "\"read_csv\"('{path}') = 1",
        "x.read_csv('{path}') = 1",
        "lpad('x', 99999999999) = 'x'",
        "sum(age) > 2",
        "count(*) > 1",
        "first_value(age) OVER (ORDER BY age) = 1",
        "age > 1; DROP TABLE x",
        "age > 1 -- rest",
        "age > 1 /* rest */",
        "E'\\' OR 1 IN (SELECT 1) OR ' = 'x'",
        "$$x$$ = 'x'",
        "`age` = 1",
        "age IN (\u017felect age FROM read_csv('{path}'))",
        "age IN read_csv /**/ ('{path}')",
        "age[0] = 1",
        "age > 'open",
        "age > 1\0",
    ],
)
def test_a_condition_reaches_nothing_beyond_the_row(text: str, tmp_path: Path) -> None:
    path = tmp_path / "secret.csv"
    path.write_text("age\n30\n")
    with pytest.raises(Invalid, match="is no condition on a row"):
        condition(text.replace("{path}", str(path)))


@given(st.lists(st.sampled_from([*"()',\"=<>-*/.; \\$[]", "age", "1", "in", "select", "from", "read_csv", "E"])))
def test_any_text_is_a_condition_or_refused(words: list[str]) -> None:
    try:
        FRAME.filter(condition(" ".join(words)))
        FRAME.filter(condition("".join(words)))
    except (Invalid, pl.exceptions.PolarsError):
        pass

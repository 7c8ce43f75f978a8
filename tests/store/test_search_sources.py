"""How rooms tell where fields rest: rows that belong together, defaults, numbers beside texts, several values a key."""

from __future__ import annotations

import apsw
import pytest

from interlock.core.errors import Invalid
from interlock.store.search import (
    EVERYTHING,
    LOGGED_MODELS,
    MODEL_VERSIONS,
    POSTGRES,
    REGISTERED_MODELS,
    TRACES,
    Column,
    Comparison,
    Field,
    OrderTerm,
    Pairs,
    Rows,
    Search,
    Target,
    Within,
    compile_filter,
    complete_order,
    order_term,
    parse_filter,
    parse_order,
    plan_page,
    read_page,
)
from interlock.store.search.patterns import regexp

TABLES = """
CREATE TABLE traces (id TEXT PRIMARY KEY, at BIGINT NOT NULL, name TEXT);
CREATE TABLE spans (trace TEXT, id TEXT, name TEXT NOT NULL, type TEXT NOT NULL, content TEXT NOT NULL);
CREATE TABLE span_attributes (trace TEXT NOT NULL, span TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL);
CREATE TABLE assessments (trace TEXT, kind TEXT, name TEXT, value TEXT, number DOUBLE PRECISION, valid BIGINT);
CREATE TABLE trace_prompts (trace TEXT NOT NULL, prompt TEXT NOT NULL);
CREATE TABLE versions (model TEXT NOT NULL, version BIGINT NOT NULL, changed_at BIGINT NOT NULL, run TEXT NOT NULL);
CREATE TABLE version_tags (model TEXT NOT NULL, version BIGINT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL);
CREATE INDEX version_tags_value ON version_tags (key, value);
CREATE TABLE logged (id TEXT PRIMARY KEY, created_at BIGINT NOT NULL);
CREATE TABLE logged_metrics (model TEXT, key TEXT, at BIGINT NOT NULL, value DOUBLE PRECISION, data TEXT NOT NULL);
"""

SPANS = Rows(
    table="spans",
    owner={"trace": "traces.id"},
    columns={
        "name": Column("spans.name"),
        "type": Column("spans.type"),
        "content": Column("spans.content"),
        "text": Column("spans.content"),
    },
    together=True,
)


def assessed(kind: str) -> Pairs:
    """Return where assessments of a kind rest."""
    return Pairs(
        table="assessments",
        owner={"trace": "traces.id"},
        key="name",
        value="value",
        numeric="number",
        where=f"assessments.valid = 1 AND assessments.kind = :{kind}",
        values={kind: kind},
    )


TRACE_SOURCES = {
    "attribute": {
        "request_id": Column("traces.id"),
        "timestamp_ms": Column("traces.at", number=True),
        "name": Column("traces.name", nullable=True),
        "text": SPANS,
        "prompt": Rows(
            table="trace_prompts",
            owner={"trace": "traces.id"},
            columns={"prompt": Column("trace_prompts.prompt")},
        ),
    },
    "span": SPANS,
    "span_attribute": Within(
        SPANS,
        Pairs(table="span_attributes", owner={"trace": "spans.trace", "span": "spans.id"}, key="key", value="value"),
    ),
    "feedback": assessed("feedback"),
    "expectation": assessed("expectation"),
}


class Reader:
    """A reader over an SQLite database in memory."""

    def __init__(self) -> None:
        self.raw = apsw.Connection(":memory:")
        self.raw.create_scalar_function("regexp", regexp, 2, deterministic=True)
        self.raw.execute(TABLES)

    def all(self, sql, values=None) -> list[dict]:
        cursor = self.raw.execute(sql, values or {})
        return [dict(zip([name for name, _ in cursor.getdescription()], row, strict=True)) for row in cursor]

    def one(self, sql, values=None) -> dict | None:
        return next(iter(self.all(sql, values)), None)

    def add(self, table, *rows) -> None:
        for row in rows:
            self.raw.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)

    def traces(self, text) -> list[str]:
        """Return the traces that a filter matches, oldest first."""
        node = parse_filter(text, TRACES)
        order = complete_order(parse_order(["timestamp"], TRACES), TRACES)
        target = Target(table="traces", identity=("id",))
        search = Search(filter=node, order=order, target=target, sources=TRACE_SOURCES)
        return [row["id"] for row in read_page(self, plan_page(search, 10)).rows]


@pytest.fixture
def reader() -> Reader:
    found = Reader()
    found.add("traces", ("t1", 1, "chat"), ("t2", 2, "Chat 2"), ("t3", 3, None))
    found.add("spans", ("t1", "s1", "ask", "LLM", '{"q": "why"}'), ("t1", "s2", "find", "TOOL", "x"))
    found.add("spans", ("t2", "s1", "ask", "TOOL", "y"), ("t2", "s2", "find", "LLM", "y"))
    found.add("span_attributes", ("t1", "s1", "model", "big"), ("t2", "s1", "model", "big"), ("t2", "s2", "name", "n"))
    found.add("assessments", ("t1", "feedback", "q", "0.9", 0.9, 1), ("t2", "feedback", "q", "yes", None, 1))
    found.add("assessments", ("t3", "feedback", "q", "0.9", 0.9, 0), ("t3", "expectation", "q", "no", None, 1))
    found.add("trace_prompts", ("t1", "p/1"), ("t1", "p/2"))
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("span.name = 'ask'", ["t1", "t2"]),
        ("span.name = 'ask' AND span.type = 'LLM'", ["t1"]),  # one span must be both
        ("span.name = 'ask' AND (span.type = 'LLM')", ["t1"]),
        ("NOT (span.name = 'ask' AND span.type = 'LLM')", ["t2", "t3"]),
        ("span.name = 'ask' AND NOT span.type = 'LLM'", []),  # NOT looks at all spans
        ("span.type = 'LLM' AND span.attributes.model = 'big'", ["t1"]),
        ("span.attributes.model = 'big' AND name ILIKE 'chat%'", ["t1", "t2"]),
        ("span.attributes.name = 'n'", ["t2"]),
        ("text LIKE '%why%' AND span.name = 'ask'", ["t1"]),
        ("text LIKE '%why%' AND span.name = 'find'", []),
        ("span.type NOT IN ('LLM')", ["t1", "t2"]),
        ("prompt = 'p/2'", ["t1"]),
        ("NOT prompt = 'p/2'", ["t2", "t3"]),
        ("name RLIKE '^[Cc]hat$'", ["t1"]),
        ("name RLIKE '(?i)^chat'", ["t1", "t2"]),
        ("name != 'chat'", ["t2"]),
        ("NOT name = 'chat'", ["t2", "t3"]),
        ("feedback.q > 0.5", ["t1"]),
        ("feedback.q = 0.9", ["t1"]),
        ("feedback.q = '0.9'", ["t1"]),
        ("feedback.q = 'yes' OR expectation.q = 'no'", ["t2", "t3"]),
        ("feedback.q IS NULL", ["t3"]),
        ("timestamp > 1 AND timestamp <= 2.5", ["t2"]),
    ],
)
def test_traces(reader, text, expected) -> None:
    assert reader.traces(text) == expected


@pytest.mark.parametrize("family", ["metadata", "issue", "attribute"])
def test_what_rests_nowhere_is_refused(family) -> None:
    key = "status" if family == "attribute" else "id"
    with pytest.raises(Invalid, match="cannot be searched here"):
        compile_filter(Comparison(Field(family, key), "=", "x"), TRACE_SOURCES)


def test_what_has_many_values_is_nothing_to_order_by() -> None:
    target = Target(table="traces", identity=("id",))
    order = (OrderTerm(Field("attribute", "prompt")),)
    with pytest.raises(Invalid, match="many values"):
        plan_page(Search(filter=EVERYTHING, order=order, target=target, sources=TRACE_SOURCES), 5)


IS_PROMPT = "tags.`mlflow.prompt.is_prompt`"
VERSION_SOURCES = {
    "attribute": {
        "name": Column("versions.model"),
        "version_number": Column("versions.version", number=True),
        "run_id": Column("versions.run", indexed=True),
        "last_updated_timestamp": Column("versions.changed_at", number=True, scale=1000),
    },
    "tag": Pairs(
        table="version_tags",
        owner={"model": "versions.model", "version": "versions.version"},
        key="key",
        value="value",
        indexed=True,
        defaults={"mlflow.prompt.is_prompt": "false"},
    ),
}


@pytest.mark.parametrize(
    ("text", "order", "expected"),
    [
        ("", [], ["a 2", "a 1", "b 1"]),
        (f"{IS_PROMPT} = 'true'", [], ["b 1"]),
        (f"{IS_PROMPT} != 'true'", [], ["a 2", "a 1"]),  # what is no prompt need not say so
        (f"{IS_PROMPT} = 'false'", [], ["a 2", "a 1"]),
        (f"{IS_PROMPT} IS NULL", [], ["a 2", "a 1"]),
        ("tags.x = '1'", [], ["a 1"]),
        ("tags.x IS NOT NULL AND version_number > 0", ["tags.x"], None),
        ("version_number = '1' AND name IN ('a', 'c')", [], ["a 1"]),
        ("run_id = 'r1'", [], ["a 2", "b 1"]),
        ("name LIKE '_'", ["name DESC", "version_number"], ["b 1", "a 1", "a 2"]),
    ],
)
def test_model_versions_have_two_columns_for_a_name(reader, text, order, expected) -> None:
    reader.add("versions", ("a", 1, 5_000, "r2"), ("a", 2, 9_000, "r1"), ("b", 1, 4_000, "r1"))
    reader.add("version_tags", ("b", 1, "mlflow.prompt.is_prompt", "true"), ("a", 1, "x", "1"), ("a", 2, "x", "2"))
    if expected is None:
        with pytest.raises(Invalid):
            parse_order(order, MODEL_VERSIONS)
        return
    search = Search(
        filter=parse_filter(text, MODEL_VERSIONS),
        order=complete_order(parse_order(order, MODEL_VERSIONS), MODEL_VERSIONS),
        target=Target(table="versions", identity=("model", "version")),
        sources=VERSION_SOURCES,
    )
    rows, token = [], ""
    while page := read_page(reader, plan_page(search, 1, token)):
        rows += [f"{row['model']} {row['version']}" for row in page.rows]
        token = page.next_token
        if not token:
            break
    assert rows == expected


def logged_sources(data: str = "") -> dict:
    """Return where logged models rest; their metrics only of some data, if that is given."""
    metrics = Pairs(
        table="logged_metrics",
        owner={"model": "logged.id"},
        key="key",
        value="value",
        number=True,
        newest="logged_metrics.at DESC",
        where="logged_metrics.data = :data" if data else "",
        values={"data": data} if data else {},
    )
    columns = {"model_id": Column("logged.id"), "creation_timestamp": Column("logged.created_at", number=True)}
    return {"attribute": columns, "metric": metrics}


def test_logged_models_have_metrics_of_several_data(reader) -> None:
    reader.add("logged", ("m1", 1), ("m2", 2), ("m3", 3))
    reader.add("logged_metrics", ("m1", "acc", 1, 0.9, "train"), ("m1", "acc", 2, 0.5, "test"))
    reader.add("logged_metrics", ("m2", "acc", 1, 0.7, "train"), ("m2", "acc", 2, None, "test"))

    def found(text, name="metrics.acc", data="", **how) -> list[str]:
        search = Search(
            filter=parse_filter(text, LOGGED_MODELS),
            order=complete_order([order_term(name, LOGGED_MODELS, **how)], LOGGED_MODELS),
            target=Target(table="logged", identity=("id",)),
            sources=logged_sources(data),
        )
        rows, token = [], ""
        while True:
            page = read_page(reader, plan_page(search, 1, token))
            rows += [row["id"] for row in page.rows]
            token = page.next_token
            if not token:
                return rows

    assert found("") == ["m1", "m2", "m3"]  # the newest: 0.5, NaN, none
    assert found("", data="train") == ["m2", "m1", "m3"]
    assert found("", data="train", descending=True) == ["m1", "m2", "m3"]
    assert found("metrics.acc > 0.6") == ["m1", "m2"]
    assert found("metrics.acc > 0.6", data="test") == []
    assert found("metrics.acc != 0.5", data="test") == ["m2"]
    assert found("", name="creation_time") == ["m1", "m2", "m3"]


def test_text_of_digits_can_be_ordered_as_numbers(reader) -> None:
    reader.add("versions", ("9", 1, 0, ""), ("10", 1, 0, ""), ("x", 1, 0, ""))
    number = Column("CAST(versions.model AS INTEGER)", number=True)
    sources = {"attribute": {"name": Column("versions.model", order=number)}}
    order = complete_order([], REGISTERED_MODELS)
    target = Target(table="versions", identity=("model",))
    search = Search(filter=parse_filter("name != 'x'", REGISTERED_MODELS), order=order, target=target, sources=sources)
    assert [row["model"] for row in read_page(reader, plan_page(search, 9)).rows] == ["9", "10"]


def test_postgresql_is_told_in_its_own_words() -> None:
    sources = {"tag": Pairs(table="trace_tags", owner={"trace": "traces.id"}, key="key", value="value")}
    sql = compile_filter(parse_filter("tags.a LIKE '%' AND tags.b RLIKE 'x'", TRACES), sources, POSTGRES, prefix="q")
    assert "LIKE :q1 ESCAPE ''" in sql.text
    assert "~ :q3" in sql.text
    assert sql.values == {"q0": "a", "q1": "%", "q2": "b", "q3": "x"}

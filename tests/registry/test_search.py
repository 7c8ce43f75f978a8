"""Models and versions found by what they are, rest on and take."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw
import msgspec
import pytest
from msgspec.structs import replace

from interlock.core.clock import to_micros
from interlock.core.errors import Corrupt, Invalid, NotFound, StorageFull
from interlock.registry import facts, finding
from interlock.registry.facts import complete
from interlock.registry.finding import Wanted, page_of_models, page_of_versions
from interlock.registry.records import Feature
from interlock.store.manifests import read_manifest
from interlock.store.search import plan as planning
from interlock.store.search import reading
from interlock.track.records import Start
from interlock.track.service import TrackService

Known = Callable[..., Any]


@pytest.fixture
def known(store, make, manifest) -> Known:
    """Make a version whose run had params and metrics, and which takes some columns of some data."""
    track = TrackService(store)

    def version(model: str, params=None, metrics=None, features=(), data=(), **texts: Any) -> Any:
        run = track.start(Start("e", params={name: str(value) for name, value in (params or {}).items()}))
        if metrics:
            track.log_metrics(run.id, metrics)
        signature = {"inputs": [{"name": name, "type": "float"} for name in features], "outputs": [], "rows": 1}
        files = manifest(signature__json=msgspec.json.encode(signature), weights=f"{model} {run.id}".encode())
        return make(model, bundle=files, run=run.id, data=data, **texts)

    return version


def found(registry, filter="", **more: Any) -> list[str]:
    return [version.ref.removeprefix("model:") for version in registry.find(filter, **more).versions]


def models(registry, filter="", **more: Any) -> list[str]:
    return [model.name for model in registry.find_models(filter, **more).models]


def test_versions_are_found_by_what_is_known_of_them(registry, make, manifest) -> None:
    make("credit", description="Pays 100% back", owner="user:ann", tags={"team": "risk"})
    make("credit", bundle=manifest(a=b"a"), run="R1")
    make("churn", owner="user:bob")
    registry.alias("churn", "best", 1)
    assert found(registry) == ["churn@1", "credit@2", "credit@1"]
    assert found(registry, "description ILIKE 'PAYS%'") == ["credit@1"]
    assert found(registry, "description LIKE '%100%% back'") == ["credit@1"]
    assert found(registry, "name LIKE '%hur%'") == ["churn@1"]
    assert found(registry, "name = 'credit' AND owner = 'user:ann'") == ["credit@1"]
    assert found(registry, "format = 'opaque' AND stage = 'registered'") == ["credit@2"]
    assert found(registry, "run_id = 'R1'") == ["credit@2"]
    assert found(registry, "tags.team = 'risk'") == ["credit@1"]
    assert found(registry, "tags.team IS NULL AND NOT version > 1") == ["churn@1"]
    assert found(registry, "alias = 'best'") == ["churn@1"]
    assert found(registry, "source_path LIKE 's3:%' AND status = 'READY'", order_by=["name"]) == [
        "churn@1",
        "credit@2",
        "credit@1",
    ]
    registry.archive("credit@2")
    assert found(registry, archived=True) == ["credit@2"]
    assert found(registry, limit=1) == ["churn@1"]


def test_versions_are_found_by_params_metrics_data_and_features(registry, known) -> None:
    known("m", {"depth": 3}, {"auc": 0.81}, ("AGEP", "SEX"), ("data:people@1",))
    known("m", {"depth": 4}, {"auc": 0.9}, ("AGEP",), ("data:people@2", "data:more@1"))
    known("n", {"depth": 3, "kind": "tree"}, {"auc": math.nan, "loss": math.inf}, ("agep", "WAGP"), ("s3://x",))
    known("n")
    assert found(registry, "metrics.auc > 0.8 AND params.depth = 3 AND feature = 'AGEP'") == ["m@1"]
    assert found(registry, "metrics.auc > 0.8", order_by=["metrics.auc DESC"]) == ["m@2", "m@1"]
    assert found(registry, order_by=["metrics.auc"]) == ["m@1", "m@2", "n@1", "n@2"]  # NaN, then none, come last
    assert found(registry, "metrics.auc != 0.9") == ["n@1", "m@1"]
    assert found(registry, "metrics.loss > 1e300") == ["n@1"]
    assert found(registry, "params.kind LIKE 'tr%' OR params.depth >= 4") == ["n@1", "m@2"]
    assert found(registry, "params.kind IS NULL") == ["n@2", "m@2", "m@1"]
    assert found(registry, "feature = 'AGEP'") == ["m@2", "m@1"]
    assert found(registry, "feature ILIKE 'agep'") == ["n@1", "m@2", "m@1"]
    assert found(registry, "feature IN ('SEX', 'WAGP')") == ["n@1", "m@1"]
    assert found(registry, "feature = 'AGEP' AND feature = 'SEX'") == ["m@1"]
    assert found(registry, "NOT feature = 'AGEP'") == ["n@2", "n@1"]
    assert found(registry, "datasets.name = 'people'") == ["m@2", "m@1"]
    assert found(registry, "datasets.name = 'people' AND datasets.version = 1") == ["m@1"]  # of one dataset
    assert found(registry, "datasets.name = 's3://x'") == ["n@1"]


def test_models_are_found_by_what_one_of_their_versions_has(registry, known) -> None:
    known("m", {"depth": 3}, {"auc": 0.7}, ("AGEP",), ("data:people@1", "data:more@2"))
    known("m", {"depth": 9}, {"auc": 0.9}, ("SEX",), tags={"x": "y"})
    known("n", {"depth": 3}, {"auc": 0.85}, ("AGEP", "SEX"))
    registry.tag("model:n", {"team": "risk"})
    registry.alias("m", "best", 2)
    assert models(registry) == ["m", "n"]
    assert models(registry, "metrics.auc > 0.8 AND params.depth = 3") == ["n"]
    assert models(registry, "metrics.auc > 0.8 AND (params.depth = 3 OR name = 'm')") == ["m", "n"]
    assert models(registry, "feature = 'AGEP'", order_by=["name DESC"]) == ["n", "m"]
    assert models(registry, "feature = 'AGEP' AND feature = 'SEX'") == ["n"]
    assert models(registry, "NOT feature = 'SEX'") == []
    assert models(registry, "stage = 'registered' AND tags.team = 'risk'") == ["n"]
    assert models(registry, "alias = 'best' AND params.depth = 9") == ["m"]
    assert models(registry, "alias = 'best' AND params.depth = 3") == []
    assert models(registry, "datasets.name = 'people' AND datasets.version = 2") == []
    assert models(registry, "datasets.name = 'more' AND datasets.version = 2 AND feature = 'AGEP'") == ["m"]
    registry.archive("m@2", "old")
    assert models(registry, "params.depth = 9") == []
    registry.archive("model:m")
    assert models(registry, "params.depth = 3") == ["n"]
    assert models(registry, "params.depth = 9", archived=True) == ["m"]


def test_models_and_versions_are_found_by_dates(store, registry, make) -> None:
    for number in range(3):
        make("m")
        at = to_micros(datetime(2026, 1, number + 1, 12, tzinfo=UTC))
        values = {"at": at, "version": number + 1}
        store.database.write(
            lambda tx, values=values: tx.run(
                "UPDATE model_versions SET created_at = :at WHERE version = :version", values
            )
        )
    store.database.write(lambda tx: tx.run("UPDATE models SET created_at = :at", values))
    assert found(registry, "created > '2026-01-02'") == ["m@3", "m@2"]
    assert found(registry, "created > '2026-01-02T12:00:00Z'") == ["m@3"]
    assert found(registry, "created >= '2026-01-02T13:00:00+01:00' AND created < '2026-01-03'") == ["m@2"]
    assert found(registry, "creation_timestamp <= 1767268800000") == ["m@1"]
    assert models(registry, "created > '2026-01-03' AND updated > '2026-01-03'") == ["m"]
    assert models(registry, "created > '2027-01-01'") == []


def test_pages_follow_one_another_whatever_the_order(registry, known) -> None:
    chance = random.Random(5)
    for number in range(23):
        metrics = {"auc": chance.choice([0.5, 0.6, math.nan])} if number % 5 else {}
        known(f"m{number % 3}", {"depth": number % 4}, metrics, ("a", "b") if number % 2 else ("b",))
    for order in (["metrics.auc DESC"], ["params.depth", "created DESC"], ["version", "name DESC"], []):
        for text in ("", "feature = 'a'", "metrics.auc > 0.1 OR feature = 'b'"):
            whole, token, pages = found(registry, text, order_by=order), "", []
            while True:
                page = registry.find(text, order_by=order, limit=4, page_token=token)
                pages += [version.ref.removeprefix("model:") for version in page.versions]
                if not (token := page.next_page_token):
                    break
            assert pages == whole
            assert len(set(pages)) == len(pages)


def test_random_filters_match_what_a_look_at_each_version_matches(registry, known) -> None:
    """Comparisons joined at random, against the same said in Python."""
    chance, facts = random.Random(11), {}
    for _ in range(25):
        params = {name: chance.randrange(3) for name in ("p", "q") if chance.random() < 0.7}
        metrics = {"x": float(chance.randrange(3))} if chance.random() < 0.7 else {}
        features = tuple(name for name in "abc" if chance.random() < 0.5)
        ref = known(f"m{chance.randrange(4)}", params, metrics, features).ref.removeprefix("model:")
        facts[ref] = (params, metrics, set(features))

    def condition(depth: int) -> tuple[str, Callable[[Any], bool]]:
        kind = chance.choice(["p", "q", "x", "f"] + ["and", "or", "not"] * (depth < 3))
        number, word = chance.randrange(3), chance.choice("abc")
        if kind in {"p", "q"}:
            return f"params.{kind} = {number}", lambda fact: fact[0].get(kind) == number
        if kind == "x":
            return f"metrics.x > {number}", lambda fact: fact[1].get("x", -1.0) > number
        if kind == "f":
            return f"feature = '{word}'", lambda fact: word in fact[2]
        if kind == "not":
            text, holds = condition(depth + 1)
            return f"NOT ({text})", lambda fact: not holds(fact)
        (one, first), (other, second) = condition(depth + 1), condition(depth + 1)
        both = kind == "and"
        return (
            f"({one} {kind.upper()} {other})",
            lambda fact: first(fact) and second(fact) if both else first(fact) or second(fact),
        )

    for _ in range(120):
        text, holds = condition(0)
        assert set(found(registry, text)) == {ref for ref, fact in facts.items() if holds(fact)}, text
        if " OR " not in text and "NOT" not in text:
            assert set(models(registry, text)) == {ref.split("@")[0] for ref, fact in facts.items() if holds(fact)}, (
                text
            )


def test_what_was_registered_before_is_found_too(store, registry, known) -> None:
    """Versions from before the tables for searches: what is known of them is copied at the first search."""
    known("m", {"depth": 3}, {"auc": 0.9}, ("AGEP",), ("data:people@1",))
    lost = known("m", {"depth": 4}, {}, ("SEX",))

    def before(tx: Any) -> None:
        for table in ("params", "metrics", "features", "data"):
            tx.run(f"DELETE FROM model_version_{table}")
        tx.run("UPDATE model_versions SET facts = 0")
        tx.run("UPDATE model_versions SET pins = :none WHERE version = 2", {"none": "0" * 64})

    store.database.write(before)
    wanted = "params.depth = 3 AND metrics.auc > 0.8 AND feature = 'AGEP' AND datasets.name = 'people'"
    assert found(registry, wanted) == ["m@1"]
    assert found(registry, "params.depth = 4") == []  # its record is gone
    assert registry.features("m@1") == [Feature("AGEP", "float")]
    assert lost.ref == "model:m@2"
    complete(store)


def forget(store) -> None:
    """Make all versions such as were registered before there were tables for searches."""

    def before(tx: Any) -> None:
        for table in ("params", "metrics", "features", "data"):
            tx.run(f"DELETE FROM model_version_{table}")
        tx.run("UPDATE model_versions SET facts = 0")

    store.database.write(before)


def signature_of(store, version) -> Path:
    entries = read_manifest(store.objects, version.bundle).files
    digest = next(entry.digest for entry in entries if entry.path == "signature.json")
    return store.root / "objects" / digest[:2] / digest[2:]


@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_what_is_damaged_is_told_and_found_once_it_is_restored(
    store, registry, known, monkeypatch, caplog, harm: str
) -> None:
    version = known("m", {"depth": 3}, {"auc": 0.9}, ("AGEP",), ("data:people@1",))
    forget(store)
    path = signature_of(store, version)
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(b"{}") if harm == "changed" else path.unlink()
    monkeypatch.setattr(facts, "_PAUSE_S", 0.0)
    rest = "params.depth = 3 AND metrics.auc > 0.8 AND datasets.name = 'people'"
    for _ in range(3):
        assert found(registry, "feature = 'AGEP'") == []
        assert found(registry, rest) == ["m@1"], "the parts that can be read are found"
    with pytest.raises(Corrupt if harm == "changed" else NotFound):
        registry.features("m@1")
    told = [record.message for record in caplog.records if "model:m@1" in record.message]
    assert len(told) == 1
    assert path.parent.name + path.name in told[0]
    path.write_bytes(whole)
    assert found(registry, f"feature = 'AGEP' AND {rest}") == ["m@1"]
    assert registry.features("m@1") == [Feature("AGEP", "float")]
    assert store.database.all("SELECT 1 FROM model_versions WHERE facts = 0") == []


def test_features_are_found_although_the_pins_are_damaged(store, registry, known, monkeypatch, caplog) -> None:
    version = known("m", {"depth": 3}, {"auc": 0.9}, ("AGEP",), ("data:people@1",))
    known("n", {"depth": 3}, {}, ("AGEP",))
    forget(store)
    path = store.root / "objects" / version.pins[:2] / version.pins[2:]
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(b"{}")
    assert found(registry, "feature = 'AGEP' AND datasets.name = 'people'") == ["m@1"]
    assert found(registry, "params.depth = 3") == ["n@1"], "a damaged one stops no other"
    assert registry.features("m@1") == [Feature("AGEP", "float")]
    assert "params and metrics" in caplog.text
    path.write_bytes(whole)
    assert found(registry, "params.depth = 3") == ["n@1"], "it is not looked at by each search"
    monkeypatch.setattr(facts, "_PAUSE_S", 0.0)
    assert set(found(registry, "params.depth = 3 AND feature = 'AGEP'")) == {"m@1", "n@1"}


def test_searches_go_on_where_the_disk_is_full(store, registry, known, monkeypatch) -> None:
    known("m", {"depth": 3}, {"auc": 0.9}, ("AGEP",), ("data:people@1",))
    forget(store)

    def full(_: Any) -> None:
        raise StorageFull("no room")

    with monkeypatch.context() as patched:
        patched.setattr(store.database, "write", full)
        assert found(registry) == ["m@1"]
        assert models(registry) == ["m"]
        assert registry.features("m@1") == [Feature("AGEP", "float")]
        assert found(registry, "params.depth = 3") == []
    assert found(registry, "params.depth = 3") == ["m@1"]


@pytest.mark.parametrize(
    ("order", "cheap"),
    [
        (("metrics.auc DESC",), True),
        (("metrics.auc",), True),
        (("name",), True),
        (("name DESC",), True),
        (("created",), True),
        (("updated",), True),
        ((), True),
        (("created DESC",), True),
        (("updated DESC",), True),
        (("version_number",), True),
        (("version_number DESC",), True),
        (("name", "version_number DESC"), True),
        (("params.depth",), False),
    ],
)
def test_the_guide_tells_which_orders_look_at_each_version(store, registry, known, order, cheap: bool) -> None:
    """docs/reference/search.md: an order is cheap where no list of all is sorted."""
    known("m", {"depth": 1}, {"auc": 0.9})
    plans: list[str] = []
    ask = store.database.all

    def noted(sql: str, values: Any = None) -> Any:
        if ":rows" in sql:
            plans.append("; ".join(str(row["detail"]) for row in ask(f"EXPLAIN QUERY PLAN {sql}", values)))
        return ask(sql, values)

    store.database.all = noted
    for limit in (10, 100, 1000):
        page_of_versions(store, Wanted("", order, limit))
        assert ("TEMP B-TREE FOR ORDER BY" not in plans[0]) is cheap, plans[0]  # FOR LAST TERM sorts equals only
        plans.clear()


class Counting:
    """Reads a workspace's database and counts the work: what SQLite's machine does, in tens of its steps."""

    def __init__(self, store) -> None:
        self.raw = apsw.Connection(str(store.root / "interlock.db"))
        self.raw.set_progress_handler(self.tick, 10)
        self.work = 0
        self.plans: list[str] = []

    def tick(self) -> bool:
        self.work += 1
        return False

    def all(self, sql: str, values: Any = None) -> list[dict[str, Any]]:
        if not sql.startswith("EXPLAIN") and ":rows" in sql:
            self.plans += [str(row["detail"]) for row in self.all(f"EXPLAIN QUERY PLAN {sql}", values)]
        cursor = self.raw.execute(sql, values or {})
        return [dict(zip([name for name, _ in cursor.getdescription()], row, strict=True)) for row in cursor]

    def one(self, sql: str, values: Any = None) -> dict[str, Any] | None:
        return next(iter(self.all(sql, values)), None)


def copies(store, table: str, changes: dict[str, str], many: int) -> None:
    """Write copies of a table's only row; `changes` are columns as expressions over the copy's number n."""
    columns = [row["name"] for row in store.database.all(f"PRAGMA table_info({table})")]
    values = ", ".join(changes.get(column, column) for column in columns)
    store.database.write(
        lambda tx: tx.run(
            f"WITH RECURSIVE many (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < {many})"
            f" INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table}, many"
        )
    )


def work_of_pages(store, wanted: Wanted, of: Any) -> tuple[list[int], list[tuple[Any, ...]], list[str]]:
    """Return the work of each page of a search, all that the pages gave, and the plans of their statements."""
    reader, work, rows, token = Counting(store), [], [], ""
    while True:
        before = reader.work
        page = of(SimpleNamespace(database=reader), replace(wanted, page_token=token))
        work.append(reader.work - before)
        rows += [tuple(row.values()) for row in page.rows]
        if not (token := page.next_token):
            reader.raw.close()
            return work, rows, reader.plans


ORDERS = {
    "": lambda model, version, at: (-at, model, -version),
    "updated DESC": lambda model, version, at: (-at, model, -version),
    "updated": lambda model, version, at: (at, model, -version),
    "created DESC": lambda model, version, at: (-at, model, -version),
    "created": lambda model, version, at: (at, model, -version),
    "version_number": lambda model, version, at: (version, model),
    "version_number DESC": lambda model, version, at: (-version, model),
    "name": lambda model, version, at: (model, -version),
    "name DESC": lambda model, version, at: ([-ord(letter) for letter in model], -version),
}


@pytest.mark.parametrize("shape", ["one model", "many models", "one instant", "most put away"])
@pytest.mark.parametrize("order", ORDERS)
def test_the_last_page_of_versions_costs_what_the_first_does(store, registry, known, monkeypatch, order, shape) -> None:
    """Whatever is equal: the model, the number or the instant; and what was put away is not walked over."""
    monkeypatch.setattr(finding, "complete", lambda _: None)
    known("m0000", {"depth": 1}, {"auc": 0.9})
    store.database.write(lambda tx: tx.run("UPDATE model_versions SET created_at = 0, updated_at = 0"))
    many = 2400
    at = "0" if shape == "one instant" else f"n * 7 % {many}"
    split = 1 if shape == "one model" else many
    changes = {
        "model": f"printf('m%04d', n % {split})",
        "version": f"2 + n / {split}",
        "created_at": at,
        "updated_at": at,
        "archived_at": "CASE WHEN n % 6 THEN 1 END" if shape == "most put away" else "NULL",
    }
    copies(store, "model_versions", changes, many)
    held = store.database.all("SELECT model, version, created_at FROM model_versions WHERE archived_at IS NULL")
    want = sorted((tuple(row.values()) for row in held), key=lambda row: ORDERS[order](*row))
    work, rows, plans = work_of_pages(store, Wanted("", (order,) if order else (), 20), page_of_versions)
    assert rows == [row[:2] for row in want]
    assert max(work[1:-1]) <= 1.5 * min(work[1:-1]) + 20, work
    assert max(work) < 300, work  # a look at each version takes ten times as much
    assert not [plan for plan in plans if "FOR ORDER BY" in plan]


@pytest.mark.parametrize("order", ["", "created DESC", "version_number DESC", "name"])
def test_pages_of_one_large_model_are_sought_in_its_index(store, registry, known, monkeypatch, order: str) -> None:
    """`name = 'x'` is what clients ask; beside others that are as large."""
    monkeypatch.setattr(finding, "complete", lambda _: None)
    for module in (planning, reading):
        monkeypatch.setattr(module, "FEW", 50)  # so that a few versions are many
    known("m0", {"depth": 1})
    changes = {"model": "'m' || (n % 4)", "version": "2 + n / 4", "created_at": "n", "updated_at": "n"}
    copies(store, "model_versions", changes, 2400)
    work, rows, plans = work_of_pages(store, Wanted("name = 'm2'", (order,) if order else (), 20), page_of_versions)
    assert len(set(rows)) == len(rows) == 600
    assert {model for model, _ in rows} == {"m2"}
    assert max(work) < 300, work
    assert not [plan for plan in plans if "TEMP B-TREE" in plan]


@pytest.mark.parametrize("order", ["", "name DESC", "created", "created DESC", "updated", "updated DESC"])
def test_the_last_page_of_models_costs_what_the_first_does(store, registry, make, monkeypatch, order: str) -> None:
    monkeypatch.setattr(finding, "complete", lambda _: None)
    make("m")
    instants = {"created_at": "n / 300", "updated_at": "n / 300"}
    copies(store, "models", {"name": "printf('m%04d', n)", "archived_at": "NULL", **instants}, 2400)
    work, rows, plans = work_of_pages(store, Wanted("", (order,) if order else (), 20), page_of_models)
    assert len(set(rows)) == len(rows) == 2401
    assert max(work) < 300, work
    assert not [plan for plan in plans if "FOR ORDER BY" in plan]


def test_facts_follow_a_model_to_its_new_name(registry, known) -> None:
    known("m", {"depth": 3}, {"auc": 0.9}, ("AGEP",), ("data:people@1",))
    registry.rename("m", "better")
    wanted = "params.depth = 3 AND metrics.auc > 0.8 AND feature = 'AGEP' AND datasets.name = 'people'"
    assert found(registry, wanted) == ["better@1"]
    assert models(registry, wanted) == ["better"]


def test_texts_of_callers_are_never_sql(registry, known) -> None:
    odd = "a' OR 1=1 --"
    known("m", {odd: odd}, {}, (odd,))
    known("n", {"x": "y"}, {}, ("z",))
    quoted = odd.replace("'", "''")
    assert found(registry, f"feature = '{quoted}'") == ["m@1"]
    assert found(registry, f"params.`{odd}` = '{quoted}'") == ["m@1"]
    assert found(registry, f"stage = '{quoted}'") == []
    with pytest.raises(Invalid):
        found(registry, f"feature = '{odd}'")


def test_a_walk_by_a_metric_goes_through_its_index(store, registry, known) -> None:
    """The best versions are read off the index, and no list of all is sorted."""
    known("m", {}, {"auc": 0.9})
    plans: list[str] = []
    ask = store.database.all

    def noted(sql: str, values: Any = None) -> Any:
        if "ORDER BY" in sql and "model_version_metrics" in sql:
            plans.append("; ".join(str(row["detail"]) for row in ask(f"EXPLAIN QUERY PLAN {sql}", values)))
        return ask(sql, values)

    store.database.all = noted
    page_of_versions(store, Wanted("metrics.auc > 0.1", ("metrics.auc DESC",), 10))
    assert plans
    assert "USING INDEX model_version_metrics_value (key=? AND value" in plans[0] or "USING COVERING INDEX" in plans[0]
    assert "SCAN" not in plans[0]


@pytest.mark.parametrize("limit", [0, -1, 10_001])
def test_lists_are_bounded(registry, limit: int) -> None:
    for find in (registry.find, registry.find_models):
        with pytest.raises(Invalid):
            find(limit=limit)

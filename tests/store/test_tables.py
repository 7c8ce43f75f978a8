from __future__ import annotations

import pytest

from interlock.store.migrations import Migration, migrations
from interlock.store.tables import TABLES, columns, undeclared


def test_every_column_of_text_and_bytes_says_whether_it_names_objects() -> None:
    """Red when a migration adds one: say in store/tables.py what it holds, or what it names is garbage."""
    assert undeclared(migrations()) == []


@pytest.mark.parametrize(
    ("sql", "missed"),
    [
        ("ALTER TABLE runs ADD COLUMN picture TEXT NOT NULL DEFAULT '';", ["runs.picture"]),
        ("ALTER TABLE runs RENAME COLUMN log TO printed;", ["runs.log", "runs.printed"]),
        ("ALTER TABLE waivers DROP COLUMN reason;", ["waivers.reason"]),
        ("ALTER TABLE waivers ADD COLUMN size_bytes BIGINT;", []),
        ("CREATE TABLE pictures (\n    id TEXT PRIMARY KEY,\n    digest TEXT NOT NULL,\n    size_bytes BIGINT\n);",
         ["pictures.digest", "pictures.id"]),
        ("CREATE TABLE odd (\n    a BYTEA,\n    b BIGINT,\n    PRIMARY KEY (b, a)\n);", ["odd.a"]),
        ("DROP TABLE webhook_outbox;", ["webhook_outbox.name"]),
        ("CREATE INDEX waivers_gate ON waivers (gate);", []),
    ],
)  # fmt: skip
def test_a_column_that_nobody_declared_is_missed(sql: str, missed: list[str]) -> None:
    assert undeclared([*migrations(), Migration(9999, "later", sql)]) == missed


@pytest.mark.parametrize("sql", ["ALTER TABLE runs SET SCHEMA x;", "CREATE TABLE a (b JSONB);"])
def test_what_cannot_be_read_is_no_column_without_a_name(sql: str) -> None:
    with pytest.raises(ValueError, match="what "):
        columns([Migration(1, "odd", sql)])


def test_columns_are_those_that_the_database_has(store) -> None:
    found = columns(migrations())
    for name, table in TABLES.items():
        held = store.database.all(f"SELECT name, type, pk FROM pragma_table_info('{name}')")
        assert {row["name"] for row in held if row["type"] in {"TEXT", "BYTEA"}} == found[name]
        assert [row["name"] for row in sorted(held, key=lambda row: row["pk"]) if row["pk"]] == list(table.key)

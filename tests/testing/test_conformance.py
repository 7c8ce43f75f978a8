"""The suites accept our own blocks, come in through the public door, and refuse broken ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest

from interlock.core.plugins import load
from interlock.store.objects import FolderObjects
from interlock.store.sqlite import SqliteDatabase
from interlock.testing import check_data_format, check_database, check_object_store, check_removable


def test_the_folder_keeps_the_promises_of_an_object_store(tmp_path: Path) -> None:
    check_object_store(FolderObjects(tmp_path / "plain"))
    check_removable(FolderObjects(tmp_path / "collected"))


def test_sqlite_keeps_the_promises_of_a_database(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "w.db")
    check_database(database)
    database.close()


@pytest.mark.parametrize(("name", "method"), [("parquet", "write_parquet"), ("csv", "write_csv")])
def test_our_formats_keep_theirs(name: str, method: str) -> None:
    check_data_format(load("interlock.data_format", name)(), lambda frame, path: getattr(frame, method)(path))


def test_a_store_that_forgets_a_byte_is_refused(tmp_path: Path) -> None:
    class Forgetful(FolderObjects):
        def get(self, digest: str) -> bytes:
            return super().get(digest)[:-1]

    with pytest.raises(AssertionError, match="get returns the bytes"):
        check_object_store(Forgetful(tmp_path))


def test_a_database_that_keeps_failed_changes_is_refused(tmp_path: Path) -> None:
    class Careless(SqliteDatabase):
        def write(self, change: Any) -> Any:
            kept: list[BaseException] = []

            def careless(tx: Any) -> Any:
                try:
                    return change(tx)
                except BaseException as error:  # noqa: BLE001 - that is what is wrong with it
                    kept.append(error)
                    return None

            result = super().write(careless)
            if kept:
                raise kept[0]
            return result

    database = Careless(tmp_path / "w.db")
    with pytest.raises((AssertionError, apsw.Error)):
        check_database(database)
    database.close()

"""Models as functions of DuckDB."""

from __future__ import annotations

import duckdb
import polars as pl
import pytest

from interlock.core.errors import Conflict, Invalid
from interlock.sdk.duckdb import register as register_function
from interlock.sdk.workspace import Workspace
from interlock.serve.model import LoadedModel


@pytest.fixture
def workspace(store, register):
    register()
    return Workspace.over(store)


@pytest.fixture
def connection(people):
    with duckdb.connect() as made:
        made.register("people_arrow", people.to_arrow())
        made.execute("CREATE TABLE people AS SELECT * FROM people_arrow")
        yield made


def test_a_function_gives_the_endpoints_numbers(workspace, connection, people):
    assert register_function(connection, "model:happy", workspace=workspace) == "model:happy@1"
    model = LoadedModel.load(workspace.store.objects, workspace.registry.version("model:happy@1").bundle)
    wanted = model.run(model.prepare(people.to_dict(as_series=False)))
    for call in ("happy({income: income, age: age})", "happy(age, income)", "happy(people)"):
        rows = connection.sql(f"SELECT {call}, happy_label(age, income) FROM people ORDER BY person").fetchall()
        assert [row[0] for row in rows] == wanted.scores, call
        assert [row[1] for row in rows] == wanted.labels


def test_rows_that_the_model_refuses_fail_or_have_no_answer(workspace, connection):
    register_function(connection, "model:happy", "strict", workspace=workspace)
    register_function(connection, "model:happy", "mild", bad_rows="null", workspace=workspace)
    ages = "(VALUES (30, 20.0), (NULL, 20.0)) AS t(age, income)"
    with pytest.raises(duckdb.Error, match="Column 'age', row 1: the value is missing"):
        connection.sql(f"SELECT strict(age, income) FROM {ages}").fetchall()
    found = [row[0] for row in connection.sql(f"SELECT mild(age, income) FROM {ages}").fetchall()]
    assert isinstance(found[0], float)
    assert found[1] is None


def test_wrong_columns_and_types_are_the_binders_errors(workspace, connection):
    register_function(connection, "model:happy", workspace=workspace)
    with pytest.raises(duckdb.BinderException, match="income"):
        connection.sql("SELECT happy({age: age}) FROM people")
    with pytest.raises(duckdb.Error):
        connection.sql("SELECT happy(DATE '2020-01-01', 1.0)").fetchall()


def test_names_are_checked(workspace, connection):
    with pytest.raises(Invalid, match="cannot be the name"):
        register_function(connection, "model:happy", "x; DROP TABLE people", workspace=workspace)
    register_function(connection, "model:happy", workspace=workspace)
    with pytest.raises(Conflict):
        register_function(connection, "model:happy", workspace=workspace)
    assert isinstance(connection.sql("SELECT count(*) FROM people").pl(), pl.DataFrame)


def test_a_version_without_a_record_gives_its_servers_numbers(store, keep, connection, people):
    from sklearn.tree import DecisionTreeRegressor

    rows = people.select("age", "income").cast(pl.Float32)
    version = keep(DecisionTreeRegressor(max_depth=4).fit(rows, rows["income"]), example=rows.head(4), training=rows)
    register_function(connection, "model:kept", workspace=Workspace.over(store))
    model = LoadedModel.open(store.objects, version.bundle)
    wanted = model.run(model.prepare(people.select("age", "income").to_dict(as_series=False)))
    found = connection.sql("SELECT kept(age, income) FROM people ORDER BY person").fetchall()
    assert [row[0] for row in found] == wanted.scores

"""Models in SQL: a DuckDB function that answers with the numbers of the model's endpoint.

    interlock.duckdb.register(connection, "model:credit@champion", name="credit")
    connection.sql("SELECT credit({age: age, income: salary}), credit(age, income) FROM people")

It runs in this process, with the model's files from the workspace.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, Final, Literal

from interlock.core.errors import Conflict, Invalid
from interlock.sdk.scoring import open_model

if TYPE_CHECKING:
    import os

    import polars as pl

    from interlock.sdk.workspace import Workspace

_TYPES: Final = {"integer": "BIGINT", "float": "DOUBLE", "string": "VARCHAR", "boolean": "BOOLEAN"}
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}\Z")


def register(
    connection: Any,
    model: str,
    name: str = "",
    *,
    bad_rows: Literal["fail", "null"] = "fail",
    workspace: Workspace | str | os.PathLike[str] | None = None,
) -> str:
    """Return the version that answers now in the functions NAME and NAME_label of a connection.

    Both take one struct (a table's name is one, too), whose fields are found by name, or one argument a column of the
    model, in the model's order. NAME gives the probability of the positive class, of a regression the value; NAME_label
    the class.

    Args:
        connection: an open DuckDB connection.
        model: model:NAME@3, model:NAME@champion, or model:NAME for the newest; looked up now, once.
        name: of the function; by default the model's.
        bad_rows: what becomes of rows that the model refuses: the query fails, or they have no answer.
        workspace: an open workspace, a folder or address; None looks as `Workspace.open` does.

    Raises:
        NotFound: there is no such workspace or version.
        Invalid: that is no name of a function, or nothing that may become of rows.
        Conflict: the connection has a function of that name.
        MissingExtra: pyarrow is not installed, which carries values between DuckDB and Python.
    """
    import pyarrow as pa  # type: ignore[import-untyped] # noqa: F401 - DuckDB needs it

    if bad_rows not in {"fail", "null"}:
        raise Invalid(f"There is no {bad_rows!r} here.", about="table", hint="Say fail or null.")
    opened = open_model(model, workspace)
    table, bundle = opened.table, opened.table.model.bundle
    called = name or opened.ref.partition(":")[2].partition("@")[0]
    _check(called)

    def answer(columns: tuple[Any, ...], *, label: bool) -> Any:
        frame = _frame(table.names, columns)
        found = table.score(frame) if bad_rows == "fail" else table.score_sound(frame)
        return _arrow(bundle.classes if label else (), found)

    types = [_TYPES[column.type] for column in table.inputs]
    _create(connection, called, table.names, types, "DOUBLE", lambda *columns: answer(columns, label=False))
    if bundle.classes:
        kind = "BIGINT" if all(isinstance(label, int) for label in bundle.classes) else "VARCHAR"
        labels = f"{called}_label"
        _create(connection, labels, table.names, types, kind, lambda *columns: answer(columns, label=True))
    return opened.ref


def _check(called: str) -> None:
    if not _NAME.match(called):
        raise Invalid(
            f"{called!r} cannot be the name of a function.",
            about="function",
            hint="Give it one of letters, digits and underscores with `name`.",
        )


def _create(connection: Any, name: str, columns: list[str], types: list[str], returns: str, function: Any) -> None:
    """Make a function, and before it a macro of its name that takes a struct or single columns."""
    import duckdb

    inner = f"__interlock_{name}"
    arguments = ", ".join(f"c{number}" for number in range(len(columns)))
    fields = ", ".join(f"r.{_quoted(column)}" for column in columns)
    by_row, by_column = f"(r) AS {inner}({fields})", f"({arguments}) AS {inner}({arguments})"
    both = by_row if len(columns) == 1 else f"{by_row}, {by_column}"
    taken = [inspect.Parameter(f"c{n}", inspect.Parameter.POSITIONAL_ONLY) for n in range(len(columns))]
    function.__signature__ = inspect.Signature(taken)  # DuckDB counts a function's parameters by it
    try:
        connection.create_function(inner, function, types, returns, type="arrow", null_handling="special")
        connection.execute(f"CREATE TEMP MACRO {name}{both}")
    except duckdb.Error as error:
        if "exist" not in str(error) and "already" not in str(error):
            raise
        raise Conflict(
            f"The connection has a function {name!r}.", about="function", hint="Give another one with `name`."
        ) from None


def _frame(names: list[str], columns: tuple[Any, ...]) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame([pl.Series(name, pl.from_arrow(column)) for name, column in zip(names, columns, strict=True)])


def _arrow(classes: tuple[Any, ...], found: Any) -> Any:
    import polars as pl

    made = pl.Series(classes, strict=False).gather(pl.Series(found.picked)) if classes else pl.Series(found.scores)
    if found.bad is not None:
        made = made.set(pl.Series(found.bad), None)
    return made.to_arrow(compat_level=pl.CompatLevel.oldest())


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

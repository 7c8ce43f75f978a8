"""Validation: a table against a contract, every fault with its column and rows."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from interlock.core.errors import Finding, Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from interlock.data.contract import ColumnRule, Contract
    from interlock.data.records import Declaration

_SHOWN = 10


def validate(frame: pl.DataFrame, contract: Contract) -> list[Finding]:
    """Return what is wrong with a table; nothing when it fulfils the contract.

    Cost: one pass a column; only the first ten rows of each fault are listed, all are counted.
    """
    findings = _names(frame, contract)
    for rule in contract.columns:
        if rule.name in frame.columns:
            findings += _column(frame[rule.name], rule)
    return findings


def check_roles(name: str, declaration: Declaration, columns: Sequence[str]) -> None:
    """Accept a declaration whose roles name columns that are there.

    Args:
        name: the dataset.
        declaration: what its owner says of it.
        columns: the columns that it has.

    Raises:
        Invalid: a role names none of them; `findings` has each, with the nearest columns.
    """
    roles = [("id", declaration.id), ("time", declaration.time), ("target", declaration.target)]
    roles += [("sensitive", column) for column in declaration.sensitive]
    findings = []
    for role, column in roles:
        if column and column not in columns:
            near = difflib.get_close_matches(column, columns, n=3, cutoff=0.5) or list(columns[:_SHOWN])
            known = " or ".join(map(repr, near))
            message = f"{role} names column {column!r}, which is not there; did you mean {known}?"
            findings.append(Finding("unknown_column", message, column))
    if findings:
        named = ", ".join(repr(finding.column) for finding in findings)
        raise Invalid(
            f"The roles of dataset {name!r} name columns that it does not have: {named}; nothing was stored.",
            about="dataset",
            hint=f"Mend id, time, target or sensitive under [data.{name}] in interlock.toml.",
            findings=findings,
            dataset=name,
        )


def conform(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Return the table with columns of the contract's types where their values allow it.

    Text that is no number stays text, so that `validate` can name its rows.
    """
    import polars as pl

    wanted = {"integer": pl.Int64, "float": pl.Float64, "category": pl.String, "text": pl.String}
    columns = []
    for name in frame.columns:
        column, rule = frame[name], contract.rule(name)
        target = wanted.get(rule.kind) if rule else None
        if target is not None and column.dtype == pl.String and target != pl.String:
            cast = column.cast(target, strict=False)
            column = cast if cast.null_count() == column.null_count() else column
        elif target == pl.String and column.dtype.is_integer():
            column = column.cast(pl.String)
        columns.append(column)
    return pl.DataFrame(columns)


def _names(frame: pl.DataFrame, contract: Contract) -> list[Finding]:
    known = [rule.name for rule in contract.columns]
    strange = [name for name in frame.columns if name not in known]
    missing = [name for name in known if name not in frame.columns and name not in contract.optional]
    findings = []
    for name in missing:
        near = difflib.get_close_matches(name, strange, n=1, cutoff=0.5) or strange[:1] * (len(missing) == 1)
        hint = f"; the file has {near[0]!r}, which the contract does not know" if near else ""
        findings.append(Finding("missing_column", f"column {name!r} is missing{hint}", name, count=frame.height))
    findings.extend(
        Finding("unknown_column", f"column {name!r} is not in the contract", name, count=frame.height)
        for name in strange
    )
    return findings


def _column(column: pl.Series, rule: ColumnRule) -> list[Finding]:
    import polars as pl

    name = rule.name
    if not _fits(column.dtype, rule.kind):
        faulty = column.is_not_null()
        if rule.kind in {"integer", "float"} and column.dtype == pl.String:
            faulty &= column.cast(pl.Float64, strict=False).is_null()
        return [_finding("type", f"{name} holds {column.dtype} where {rule.kind} is wanted", name, faulty)]
    findings = []
    nulls, share = column.is_null(), column.null_count() / max(len(column), 1)
    if share > rule.null_share:
        text = f"{name} has no value in {share:.1%} of the rows; at most {rule.null_share:.1%} may lack one"
        findings.append(_finding("nulls", text, name, nulls))
    if rule.minimum is not None and rule.maximum is not None and column.dtype.is_numeric():
        outside = ((column < rule.minimum) | (column > rule.maximum)).fill_null(value=False)
        if outside.any():
            worst = column.filter(outside)
            text = f"{name} is {_span(worst)} where {rule.minimum:g}..{rule.maximum:g} is allowed"
            findings.append(_finding("range", text, name, outside))
    if rule.categories:
        values = column.cast(pl.String)
        unknown = (~values.is_in(list(rule.categories)) & values.is_not_null()).fill_null(value=False)
        if unknown.any():
            seen = ", ".join(repr(v) for v in values.filter(unknown).unique().sort().head(3).to_list())
            text = f"{name} holds the unknown code {seen}; {len(rule.categories)} codes are known"
            findings.append(_finding("category", text, name, unknown))
    if rule.unique and column.is_duplicated().any():
        findings.append(_finding("unique", f"{name} names several rows alike", name, column.is_duplicated()))
    return findings


def _fits(dtype: pl.DataType, kind: str) -> bool:
    import polars as pl

    text = dtype in {pl.String, pl.Categorical} or isinstance(dtype, pl.Enum)
    return {
        "integer": dtype.is_integer(),
        "float": dtype.is_numeric(),
        "boolean": dtype == pl.Boolean,
        "category": text,
        "text": text,
        "instant": dtype.is_temporal(),
    }[kind]


def _span(values: pl.Series) -> str:
    low, high = str(values.min()), str(values.max())
    return low if low == high else f"{low}..{high}"


def _finding(rule: str, message: str, column: str, faulty: pl.Series) -> Finding:
    rows = faulty.arg_true()
    return Finding(rule, message, column, tuple(rows.head(_SHOWN).to_list()), len(rows))

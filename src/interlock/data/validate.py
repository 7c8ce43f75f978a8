"""Validation: a table against a contract, every fault with its column and rows."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from interlock.core.errors import Finding, Invalid
from interlock.data.contract import edited, infer, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from interlock.data.contract import ColumnRule, Contract
    from interlock.data.profile import Profile
    from interlock.data.records import Declaration

_SHOWN = 10
_VALUE_SHOWN = 40
_LABELS = frozenset({0, 1})


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
            message = f"{role} names column {column!r}, which is not there; did you mean {nearest(column, columns)}?"
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


def check_target(name: str, declaration: Declaration, described: Profile) -> None:
    """Accept rows whose target is what models learn here: 0 and 1, or true and false; empty where it is not known yet.

    Args:
        name: the dataset.
        declaration: what its owner says of it.
        described: the profile of its rows.

    Raises:
        Invalid: the target holds something else.
    """
    column = next((column for column in described.columns if column.name == declaration.target), None)
    if column is None or column.kind == "boolean":
        return
    ends = {column.minimum, column.maximum}
    if column.kind in {"integer", "float"} and column.distinct <= len(_LABELS) and ends <= _LABELS:
        return
    seen = ", ".join(repr(value) for value, _ in column.top[:3]) or f"{column.minimum:g} to {column.maximum:g}"
    message = f"target {column.name!r} holds {seen}, where 0 and 1 are wanted"
    raise Invalid(
        f"The target of dataset {name!r} is neither 0 nor 1: {column.name!r} holds {seen}; nothing was stored.",
        about="dataset",
        hint=f"Write 1 in {column.name!r} for what models shall find, and 0 for the rest; labels come so too.",
        findings=[Finding("target", message, column.name)],
        dataset=name,
    )


def derived(name: str, declaration: Declaration, described: Profile) -> Contract:
    """Return the contract of a dataset: what its first version shows, and over that what its owner says now.

    Args:
        name: the dataset.
        declaration: what its owner says.
        described: the profile of its first version.

    Raises:
        Invalid: the declaration does not fit the columns.
    """
    check_roles(name, declaration, [column.name for column in described.columns])
    check_target(name, declaration, described)
    free = tuple(filter(None, (declaration.id, declaration.time)))
    return edited(infer(described, free=free, unique=declaration.id), declaration.columns, name)


def refuse(name: str, findings: Sequence[Finding]) -> None:
    """Accept rows, as a version of a dataset, with which nothing is wrong.

    Raises:
        Invalid: there are findings; the hint fits the first that says how the contract would be widened.
    """
    if not findings:
        return
    what = f"{len(findings)} finding{'s' if len(findings) > 1 else ''}"
    edits = {
        "range": "range = [LOW, HIGH]",
        "category": 'codes = ["CODE", ...]',
        "nulls": "null_share = SHARE",
    }
    widened = next((found for found in findings if found.rule in edits), None)
    hint = "Mend the file."
    if widened is not None:
        hint = (
            "Mend the file; or, if the contract is what is wrong, widen it in interlock.toml:"
            f" [data.{name}.columns] {widened.column} = {{ {edits[widened.rule]} }}."
        )
    raise Invalid(
        f"The rows break the contract of dataset {name!r} ({what}); nothing was ingested.",
        about="dataset_version",
        hint=hint,
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
            faulty &= column.cast(pl.Int64 if rule.kind == "integer" else pl.Float64, strict=False).is_null()
        first = repr(column.filter(faulty)[0])[:_VALUE_SHOWN] if faulty.any() else str(column.dtype)
        return [_finding("type", f"{name} holds {first} where {rule.kind} is wanted", name, faulty)]
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

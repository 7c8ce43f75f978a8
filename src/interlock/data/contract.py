"""Contracts: what a table must look like, inferred from one that does and edited by those who know better."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.errors import Finding, Invalid
from interlock.data.profile import Kind, Profile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NUMBERS: Final = frozenset({"integer", "float"})
_NEAR: Final = 10


class ColumnRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one column must look like.

    Attributes:
        name: the column.
        kind: its logical type.
        minimum: no number may be smaller, unless None.
        maximum: no number may be larger, unless None.
        categories: the values that are allowed; empty: any.
        null_share: the largest share (0-1) of rows without a value.
        unique: no value may be there twice.
    """

    name: str
    kind: Kind
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    null_share: float = 0.0
    unique: bool = False


class Contract(msgspec.Struct, frozen=True):
    """What a table must look like; `optional` columns may be missing."""

    columns: tuple[ColumnRule, ...]
    optional: tuple[str, ...] = ()

    def rule(self, name: str) -> ColumnRule | None:
        """Return the rule of a column, or None."""
        return next((rule for rule in self.columns if rule.name == name), None)


class ColumnEdit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an owner knows of a column, in `[data.NAME.columns]` of interlock.toml.

    Attributes:
        range: smallest and largest number.
        codes: the allowed values: "0..24" for whole numbers, or a list.
        null_share: the largest share (0-1) of rows without a value.
    """

    range: tuple[float, float] | None = None
    codes: str | tuple[str, ...] = ()
    null_share: float | None = None

    def values(self) -> tuple[str, ...]:
        """Return the allowed values, "0..24" spelled out.

        Raises:
            Invalid: the text is no such range.
        """
        if not isinstance(self.codes, str):
            return self.codes
        low, dots, high = self.codes.partition("..")
        if not dots or not low.strip().isdigit() or not high.strip().isdigit() or int(low) > int(high):
            raise Invalid(f"{self.codes!r} is no range of codes; write for example '0..24'.", about="contract")
        return tuple(str(code) for code in range(int(low), int(high) + 1))


def infer(profile: Profile, *, free: tuple[str, ...] = (), unique: str = "") -> Contract:
    """Return the contract that a profiled table fulfils: types, ranges, categories, nulls.

    Args:
        profile: the table's profile.
        free: columns whose values grow with time (ids, years) and so get no range.
        unique: the column that names the row, or "".
    """
    rules = []
    for column in profile.columns:
        bounded = column.name not in free and column.kind in {"integer", "float"}
        share = column.nulls / profile.rows
        categories: tuple[str, ...] = ()
        if column.kind == "category" and column.name not in free and column.distinct <= len(column.top):
            categories = tuple(sorted(value for value, _ in column.top))
        rules.append(
            ColumnRule(
                column.name,
                column.kind,
                column.minimum if bounded else None,
                column.maximum if bounded else None,
                categories,
                round(min(1.0, share * 1.5 + 0.01), 4) if column.nulls else 0.0,
                column.name == unique,
            )
        )
    return Contract(tuple(rules))


def edited(contract: Contract, edits: Mapping[str, ColumnEdit], dataset: str = "NAME") -> Contract:
    """Return a contract with what the owner knows put over what was inferred.

    Args:
        contract: what was inferred.
        edits: by column.
        dataset: whose it is, for errors.

    Raises:
        Invalid: an edit names a column that is not there, or says what a column of its kind cannot be; `findings` has
            each.
    """
    known = {rule.name: rule for rule in contract.columns}
    findings = []
    for name, edit in edits.items():
        wrong = (
            _misfit(known[name], edit) if name in known else f"is not there; did you mean {nearest(name, [*known])}?"
        )
        if wrong:
            findings.append(Finding("edit", f"column {name!r} {wrong}", name))
        else:
            known[name] = _over(known[name], edit)
    if findings:
        raise Invalid(
            f"What is said of columns of dataset {dataset!r} does not fit them: {findings[0].message}",
            about="contract",
            hint=f"Mend [data.{dataset}.columns] in interlock.toml; nothing was stored.",
            findings=findings,
            dataset=dataset,
        )
    return msgspec.structs.replace(contract, columns=tuple(known.values()))


def nearest(name: str, columns: Sequence[str]) -> str:
    """Return the columns that a misspelt name may mean, as a question lists them."""
    near = difflib.get_close_matches(name, columns, n=3, cutoff=0.5) or columns[:_NEAR]
    return " or ".join(map(repr, near))


def _over(rule: ColumnRule, edit: ColumnEdit) -> ColumnRule:
    if edit.range is not None:
        rule = msgspec.structs.replace(rule, minimum=edit.range[0], maximum=edit.range[1])
    if edit.codes:
        rule = msgspec.structs.replace(rule, categories=tuple(sorted(edit.values())))
    if edit.null_share is not None:
        rule = msgspec.structs.replace(rule, null_share=edit.null_share)
    return rule


def _misfit(rule: ColumnRule, edit: ColumnEdit) -> str:
    """Return what an edit says that a column of its kind cannot be, or ""."""
    if edit.range is not None and rule.kind not in _NUMBERS:
        return f"holds {rule.kind}, so it has no `range`; `codes` may list its values."
    if edit.range is not None and not edit.range[0] <= edit.range[1]:
        return f"gets the range {list(edit.range)}; the smallest number comes first."
    if edit.null_share is not None and not 0 <= edit.null_share <= 1:
        return f"gets the null_share {edit.null_share:g}; a share is from 0 to 1."
    codes = edit.values()
    if codes and rule.kind in {"float", "instant"}:
        return f"holds {rule.kind}, so it has no `codes`" + ("; write a `range`." if rule.kind == "float" else ".")
    strange = [code for code in codes if not _can_be(code, rule.kind)]
    return f"holds {rule.kind}, so {strange[0]!r} cannot be one of its `codes`." if strange else ""


def _can_be(code: str, kind: Kind) -> bool:
    if kind == "integer":
        return code.removeprefix("-").isdecimal() and str(int(code)) == code
    return kind != "boolean" or code in {"true", "false"}

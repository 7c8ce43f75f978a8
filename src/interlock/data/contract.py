"""Contracts: what a table must look like, inferred from one that does and edited by those who know better."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from interlock.core.errors import Invalid, NotFound
from interlock.data.profile import Kind, Profile

if TYPE_CHECKING:
    from collections.abc import Mapping


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


def edited(contract: Contract, edits: Mapping[str, ColumnEdit]) -> Contract:
    """Return a contract with what the owner knows put over what was inferred.

    Raises:
        NotFound: an edit names a column that the contract does not have.
        Invalid: an edit makes no sense.
    """
    known = {rule.name: rule for rule in contract.columns}
    for name, edit in edits.items():
        if name not in known:
            raise NotFound.named("column", name, known, hint="It is named in the contract's edits.")
        rule = known[name]
        if edit.range is not None:
            rule = msgspec.structs.replace(rule, minimum=edit.range[0], maximum=edit.range[1])
        if edit.codes:
            rule = msgspec.structs.replace(rule, categories=tuple(sorted(edit.values())))
        if edit.null_share is not None:
            rule = msgspec.structs.replace(rule, null_share=edit.null_share)
        known[name] = rule
    return msgspec.structs.replace(contract, columns=tuple(known.values()))

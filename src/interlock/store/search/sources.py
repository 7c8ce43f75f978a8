"""Where the fields of an entity rest: how a room tells the search about its tables.

`Sources` maps each family of an entity to one of these:

- a mapping from names to `Column`, for fixed fields of the thing's own row (a name may also have `Rows`, or a `Within`,
  of its own);
- `Pairs`, for key-value rows that belong to it: params, tags, metrics;
- `Rows`, for several rows that belong to it: datasets, spans; a comparison matches when any row does;
- `Within`, for rows that belong to such a row: attributes of spans, params of a model's versions.

All SQL in them is the room's own and never a caller's; placeholders are `:name`, their values in `values`. The
planner takes the names `rows` and `s0`, `s1` ... for itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from interlock.core.errors import Invalid

if TYPE_CHECKING:
    from interlock.store.search.syntax import Field


class Column(msgspec.Struct, frozen=True):
    """A value in the thing's own row.

    Attributes:
        sql: an expression over its table; a subquery in parentheses will do too.
        nullable: whether it can be NULL. A comparison never matches NULL, NOT of one always does.
        number: whether it is a number.
        scale: how many of the column's units one unit of the user's is: 1000 where users say milliseconds and the
            column holds microseconds. Users see whole units, cut off, so `= 5` matches 5000 to 5999; orders
            go by the finer ones.
        indexed: whether an index of the table finds its values, within a partition or without.
        ordered: whether indexes give the table's rows by this column and then by the ties of the entity, so that it
            pays to seek where a page begins by all of them. Such a column is never NULL.
        order: what to order by instead, where text of digits is ordered as numbers, say.
    """

    sql: str
    nullable: bool = False
    number: bool = False
    scale: int = 1
    indexed: bool = False
    ordered: bool = False
    order: Column | None = None


class Pairs(msgspec.Struct, frozen=True, kw_only=True):
    """Key-value rows that belong to a thing. Without the key, no comparison matches; `IS NULL` does.

    Attributes:
        table: where they are.
        owner: its columns that name the thing, and what they equal: `{"run": "runs.id"}`.
        key: the column of the key.
        value: the column of the value, or an expression in parentheses.
        number: whether values are numbers, where NULL stands for NaN: only `!=` matches that. Else they are text, never
            NULL, and only wholly numeric texts match a comparison with a number.
        numeric: for texts, another column that holds the value as a number where it is one.
        where: a further condition on the rows; columns in it have their table in front.
        values: the values of its placeholders.
        newest: the order in which the first row has the value, where a key can have several (`at DESC`); comparisons
            then match when any of them does.
        indexed: whether a key has one row a thing and there is an index on (partition if any, key, value), by which the
            planner may walk.
        partition: the column that equals the target's partition, such as `experiment`.
        defaults: the values of keys that are not there.
    """

    table: str
    owner: Mapping[str, str]
    key: str
    value: str
    number: bool = False
    numeric: str = ""
    where: str = ""
    values: Mapping[str, Any] = msgspec.field(default_factory=dict)
    newest: str = ""
    indexed: bool = False
    partition: str = ""
    defaults: Mapping[str, str] = msgspec.field(default_factory=dict)


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that belong to a thing, of which one must match.

    Attributes:
        table: where they are.
        owner: its columns that name the thing, and what they equal.
        columns: the fields, as expressions over the table; several sources may share one table.
        where: a further condition on the rows.
        values: the values of its placeholders.
        together: whether comparisons that are joined by AND must match in the same row.
    """

    table: str
    owner: Mapping[str, str]
    columns: Mapping[str, Column]
    where: str = ""
    values: Mapping[str, Any] = msgspec.field(default_factory=dict)
    together: bool = False


class Within(msgspec.Struct, frozen=True):
    """Rows that belong to one of the rows of a thing."""

    rows: Rows
    inner: Pairs | Rows


Source = Column | Pairs | Rows | Within
Sources = Mapping[str, Mapping[str, Column | Rows | Within] | Pairs | Rows | Within]


class Sql(msgspec.Struct, frozen=True):
    """An SQL expression or statement and the values of its placeholders."""

    text: str
    values: dict[str, Any]


class Binder:
    """Hands out placeholders whose names do not clash.

    Args:
        prefix: what the names begin with.
    """

    def __init__(self, prefix: str = "s") -> None:
        self.prefix = prefix
        self.values: dict[str, Any] = {}

    def bind(self, value: Any) -> str:
        """Return the placeholder for a value."""
        name = f"{self.prefix}{len(self.values)}"
        self.values[name] = value
        return f":{name}"


def source_of(field: Field, sources: Sources) -> Source:
    """Return where a field rests.

    Raises:
        Invalid: it rests nowhere here.
    """
    family = sources.get(field.family)
    found = family.get(field.key) if isinstance(family, Mapping) else family
    inner = found.inner if isinstance(found, Within) else found
    if found is None or (isinstance(inner, Rows) and field.key not in inner.columns):
        raise Invalid(f"{field.family}.{field.key} cannot be searched here.", about="search", field=field.key)
    return found


def qualified(pairs: Pairs, column: str) -> str:
    """Return a column of key-value rows with its table in front; other expressions as they are."""
    return f"{pairs.table}.{column}" if column.isidentifier() else column


def belonging(source: Pairs | Rows) -> str:
    """Return the condition that rows belong to the thing, with the further one if there is any."""
    conditions = [f"{source.table}.{column} = {owner}" for column, owner in source.owner.items()]
    if source.where:
        conditions.append(f"({source.where})")
    return " AND ".join(conditions)

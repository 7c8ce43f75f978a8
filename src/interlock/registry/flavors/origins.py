"""Of which input column each column is made that a fitted step of scikit-learn gives."""

from __future__ import annotations

from typing import Any, Final

_ONE_TO_ONE: Final = frozenset(
    {
        *("StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler", "SimpleImputer", "PowerTransformer"),
        *("OrdinalEncoder", "QuantileTransformer"),
    }
)


def origins(step: Any, width: int) -> list[int] | None:
    """Return the place of the input for each column that a step gives; None where one is made of several.

    Args:
        step: a fitted step.
        width: how many columns it takes.
    """
    kind = type(step).__name__
    if step == "passthrough" or (kind == "FunctionTransformer" and step.func is None):
        return list(range(width))
    if kind in _ONE_TO_ONE:
        return None if getattr(step, "add_indicator", False) else list(range(width))
    if kind == "OneHotEncoder":
        return [place for place in range(width) for _ in range(_indicators(step, place))]
    if kind == "Pipeline":
        return _of_pipeline(step, width)
    return _of_table(step, width) if kind == "ColumnTransformer" else None


def _indicators(encoder: Any, place: int) -> int:
    """Return how many columns a one-hot encoder makes of one: one a category, less the dropped, the rare as one."""
    count = len(encoder.categories_[place])
    rare = getattr(encoder, "infrequent_categories_", None)
    if rare is not None and rare[place] is not None:
        count += 1 - len(rare[place])
    return count - int(encoder.drop_idx_ is not None and encoder.drop_idx_[place] is not None)


def _of_pipeline(pipeline: Any, width: int) -> list[int] | None:
    places = list(range(width))
    for _, step in pipeline.steps:
        made = origins(step, len(places))
        if made is None:
            return None
        places = [places[place] for place in made]
    return places


def _of_table(table: Any, width: int) -> list[int] | None:
    names = [str(name) for name in getattr(table, "feature_names_in_", ())]
    found: list[int] = [-1] * max((part.stop for part in table.output_indices_.values()), default=0)
    for name, step, columns in table.transformers_:
        part = table.output_indices_.get(name)
        if part is None or step == "drop":
            continue
        taken = _taken(columns, names, width)
        made = None if taken is None else origins(step, len(taken))
        if taken is None or made is None or part.stop - part.start != len(made):
            return None
        found[part] = [taken[place] for place in made]
    return None if -1 in found else found


def _taken(columns: Any, names: list[str], width: int) -> list[int] | None:
    """Return the places of the columns that a part of a table takes; None where they are said in another way."""
    if isinstance(columns, slice):
        ends = (columns.start, columns.stop)
        return None if any(isinstance(end, str) for end in ends) else list(range(width))[columns]
    listed = [columns] if isinstance(columns, str | int) else list(columns)
    found = []
    for one in listed:
        if isinstance(one, str) and one in names:
            found.append(names.index(one))
        elif isinstance(one, int) and not isinstance(one, bool):
            found.append(one % width)
        else:
            return None
    return found

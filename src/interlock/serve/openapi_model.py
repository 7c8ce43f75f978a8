"""What models take and give, as schemas; and examples of rows that are about nobody.

An example is no row of anybody who is in the data. A number is the mean of the golden rows, rounded to a tenth of their
span, or the value that all of them have; where there are few of them it is 1. A text is a category, which is what came
again and again in training (registry/flavors/ranges.py); where none are recorded it is `text`.
"""

from __future__ import annotations

import math
import re
from statistics import fmean
from typing import TYPE_CHECKING, Final

from interlock.serve.columns import TAKES
from interlock.serve.oip_common import offered
from interlock.serve.openapi_parts import Schema, array, closed
from interlock.serve.openapi_scene import Output, Scene, Signature

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from interlock.core.bundles import Column
    from interlock.serve.engine import Engine
    from interlock.serve.revision import Revision, View

_FEW: Final = 5  # values whose mean would tell too much of one of them
_WHOLE: Final = 2**63
_TEXT: Final = "text"
_TYPES: Final[dict[str, Schema]] = {
    "integer": {"type": "integer", "minimum": -_WHOLE, "maximum": _WHOLE - 1},
    "float": {"type": "number"},
    "string": {"type": "string"},
    "boolean": {"type": "boolean"},
}
_STRANGE: Final = re.compile(r"[^A-Za-z0-9._-]")


def scene_of(engine: Engine) -> Scene:
    """Return what the descriptions of a server are written over.

    Args:
        engine: the server's first engine.
    """
    revisions = served(engine)
    default = next((revision for _, revision in revisions), None)
    scene = Scene(default.deployment if default is not None else engine.name)
    scene.first = _added(scene, default.whole, default) if default is not None else None
    names: set[str] = set()
    versions: set[str] = set()
    for alias, revision in revisions:
        names |= {alias} - {""}
        for (name, version), view in revision.views.items():
            names |= set() if version else {name}
            versions |= {version} - {""}
            _added(scene, view, revision)
    scene.names, scene.versions = sorted(names), sorted(versions)
    return scene


def _added(scene: Scene, view: View, revision: Revision) -> Signature:
    """Return the signature of a view; one that is known is not made twice."""
    taken = {signature.key for signature in scene.signatures}
    key = _STRANGE.sub("_", view.routes[0].name) or "model"
    while key in taken:
        key += "_"
    found = _signature(key, view, strict=revision.serving.out_of_range == "block")
    for known in scene.signatures:
        if known.what == found.what:
            return known
    scene.signatures.append(found)
    return found


def served(engine: Engine) -> list[tuple[str, Revision]]:
    """Return what is served, and what the server calls it where that is nothing its revision knows."""
    return [(one.alias, one.revision) for one in engine.all() if one.revision is not None]


def _signature(key: str, view: View, *, strict: bool) -> Signature:
    bundles = [live.model.bundle for live in view.routes]
    values, row = {}, {}
    for column in view.columns:
        ranges = [bundle.ranges[column.name] for bundle in bundles if column.name in bundle.ranges]
        categories = list(ranges[0].categories) if ranges else []
        values[column.name] = _value(column, categories, strict=strict and len(bundles) == 1)
        golden = (one.get(column.name) for live in view.routes for one in live.model.golden.rows)
        row[column.name] = _example(column, categories, golden)
    outputs = tuple(Output(one.name, one.datatype, len(one.shape)) for one in offered(view))
    if all(bundle.task == "regression" for bundle in bundles):
        return Signature(key, view.columns, values, row, view.target, {"type": "number"}, None, outputs)
    classes = list(dict.fromkeys(label for bundle in bundles for label in bundle.classes))
    sure = not any(live.guard.gives_garbage for live in view.routes)
    chance = {"type": "number", **({"minimum": 0, "maximum": 1} if sure else {})}
    return Signature(key, view.columns, values, row, view.target, {"enum": classes}, chance, outputs)


def _value(column: Column, categories: Sequence[str], *, strict: bool) -> Schema:
    """Return the schema of a column's value; others than the known categories are answered unless it is strict."""
    schema: Schema = {**_TYPES[column.type], "description": TAKES[column.type]}
    missing = column.nulls is not False if column.type == "float" else column.type == "string" and bool(column.nulls)
    if categories:
        schema["enum" if strict else "examples"] = [*categories, *([""] if strict and missing else [])]
    if missing:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"].append(None)
    return schema


def _example(column: Column, categories: Sequence[str], golden: Iterable[object]) -> object:
    if column.type == "string":
        return categories[0] if categories else _TEXT
    if column.type == "boolean":
        return True
    known = [float(v) for v in golden if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)]
    found = typical(known)
    return int(found) if column.type == "integer" else found


def typical(values: Sequence[float]) -> float:
    """Return a number that is like some others; 1.0 where they are few.

    It is none of them where they differ, and tells each where they are all the same: then it is that value.
    """
    if len(values) < _FEW:
        return 1.0
    mean, span = fmean(values), max(values) - min(values)
    if not 0 < span < math.inf or not math.isfinite(mean):
        return 1.0 if span else values[0]
    digits = -math.floor(math.log10(span / 10))
    return round(mean, digits)


def row_of(scene: Scene, signature: Signature) -> Schema:
    """Return the schema of a row as an object."""
    row = closed(signature.values, extra=True)
    text = "A row; members that are no columns of the model are left out."
    return scene.put(f"Row_{signature.key}", {"description": text, **row})


def answers_of(scene: Scene, signature: Signature) -> Schema:
    """Return the schema of the list of predictions."""
    chance = {"probability": signature.chance} if signature.chance is not None else {}
    text = {"type": "string", "description": "the row's key in the prediction log; labels name it"}
    one: Mapping[str, Schema] = {signature.target: signature.label, **chance, "prediction_id": text}
    return array(scene.put(f"Prediction_{signature.key}", closed(one)))

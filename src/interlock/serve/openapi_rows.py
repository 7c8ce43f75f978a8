"""How rows go in and predictions come out where rows are objects: MLflow's, SageMaker's, Vertex AI's, explanations."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from interlock.serve.deadlines import MOST_MS
from interlock.serve.http import LONGEST_ID
from interlock.serve.metadata import LONGEST_SUBJECT
from interlock.serve.openapi_model import answers_of, row_of
from interlock.serve.openapi_parts import Operation, Schema, any_of, array, asked, closed, media, reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from interlock.serve.openapi_scene import Scene, Signature

PARQUET: Final = "application/vnd.apache.parquet"
ABOUT: Final = (
    asked("Interlock-Subject", "Whom all rows are about.", "header", maxLength=LONGEST_SUBJECT, examples=["person-1"]),
    asked("Interlock-Occurred-At", "When their cases happened, ISO 8601.", "header", format="date-time"),
    {
        **asked("Interlock-Timeout-Ms", "How long an answer is worth waiting for.", "header"),
        "schema": {"type": "integer", "minimum": 1, "maximum": MOST_MS},
    },
    asked(
        "X-Request-Id",
        f"The request's id, which comes back; one of more than {LONGEST_ID} characters does not.",
        "header",
    ),
)
"""Headers that requests for predictions may have."""
SAYS: Final = {
    name: reference(name, "headers")
    for name in ("interlock-model", "interlock-revision", "interlock-configuration", "interlock-warning")
}
"""Headers that predictions have."""
MODEL: Final = asked("model", "Which of the server's models is meant; else the first.")
_SPLIT: Final = "All columns by name, and one list a row in their order."
_LINES: Final = "One list a row, in the order of the columns."
_NUMBERS: Final = frozenset({"integer", "float"})
_LISTS: Final = "One list a column; or one value a column, for one row."


def invocation(params: Any, *, named: bool = False) -> Callable[[Scene], Operation]:
    """Return what describes a way in of MLflow's form.

    Args:
        params: the type of what may stand beside the data.
        named: whether the path names a model.
    """

    def describe(scene: Scene) -> Operation:
        scene.of(params, shut=True)
        build = partial(_body, scene, beside={"params": reference(params.__name__)})
        meant = scene.signatures if named else [scene.first] if scene.first else []
        takes = media(any_of([build(one) for one in meant]), examples=_examples(scene, meant))
        if meant:
            head = ",".join(meant[0].row)
            takes |= media({"type": "string", "description": f"CSV whose first line is {head}"}, "text/csv")
            takes |= media({"description": "a Parquet file"}, PARQUET)
        answer = any_of([_answer(scene, one) for one in meant])
        return Operation("Predict rows.", media(answer), takes, asks=ABOUT if named else (MODEL, *ABOUT), says=SAYS)

    return describe


def vertex(params: Any) -> Callable[[Scene], Operation]:
    """Return what describes Vertex AI's predict route; `params` is the type of its parameters."""

    def describe(scene: Scene) -> Operation:
        scene.of(params, shut=True)
        parameters = {"anyOf": [reference(params.__name__), {"type": "null"}]}
        if (first := scene.first) is None:
            body, answer, examples = {"type": "object"}, {"type": "object"}, {}
        else:
            row = [first.values[column.name] for column in first.columns]
            kinds = [
                array(row_of(scene, first), 1),
                array(_listed(row), 1),
                *([array(row[0], 1)] if len(row) == 1 else []),
            ]
            body = closed({"instances": any_of(kinds), "parameters": parameters}, optional=["parameters"])
            answer = closed(
                {"predictions": answers_of(scene, first), "deployedModelId": {"type": "string"}},
                optional=["deployedModelId"],
            )
            examples = {"one row": {"value": {"instances": [first.row]}}}
        return Operation("Predict instances.", media(answer), media(body, examples=examples), asks=ABOUT, says=SAYS)

    return describe


def explained(told: Any) -> Callable[[Scene], Operation]:
    """Return what describes `POST /explain`; `told` is the type of its answer."""

    def describe(scene: Scene) -> Operation:
        body = any_of([_body(scene, one, name="Explain") for one in scene.signatures])
        takes = media(body, examples=_examples(scene, scene.signatures))
        text = "Say what each column adds to the answers of at most 100 rows."
        return Operation(text, media(scene.of(told)), takes, asks=(MODEL, ABOUT[0]), refuses=(403, 501))

    return describe


def _listed(values: list[Schema]) -> Schema:
    """Return the schema of a row as a list in the order of the columns."""
    return {"type": "array", "prefixItems": values, "items": False, "minItems": len(values)}


def _body(scene: Scene, signature: Signature, *, beside: Schema | None = None, name: str = "Rows") -> Schema:
    """Return the schema of a body that has rows in one of four forms."""
    row = row_of(scene, signature)
    names = list(signature.values)
    lists = closed({column: array(value, 1) for column, value in signature.values.items()}, extra=True)
    split = closed(
        {
            "columns": {"const": names},
            "data": array(_listed(list(signature.values.values())), 1),
            "index": {"type": ["array", "null"]},
        },
        optional=["index"],
    )
    forms = {
        "dataframe_records": array(row, 1),
        "dataframe_split": {"description": _SPLIT, **split},
        "instances": array(row, 1),
        "inputs": {"description": _LISTS, "anyOf": [lists, row, array(row, 1)]},
    }
    if name != "Explain" and _NUMBERS.issuperset(column.type for column in signature.columns):
        lines = {"description": _LINES, **array(_listed(list(signature.values.values())), 1)}
        forms["instances"] = any_of([forms["instances"], lines])
        forms["inputs"]["anyOf"].append(lines)
    if name == "Explain":
        forms["inputs"] = {"description": "One list a column.", **lists}
        split["properties"]["index"] = {}  # it is not looked at
    found = [closed({form: schema, **(beside or {})}, optional=list(beside or ())) for form, schema in forms.items()]
    for form, one in zip(forms, found, strict=True):
        one["title"] = form
    return scene.put(f"{name}_{signature.key}", {"oneOf": found})


def _answer(scene: Scene, signature: Signature) -> Schema:
    answer = closed({"predictions": answers_of(scene, signature)})
    return scene.put(f"Predictions_{signature.key}", answer)


def _examples(scene: Scene, signatures: Iterable[Signature]) -> Schema:
    """Return references to examples of rows, each kept once."""
    found = {}
    for signature in signatures:
        name = f"records_{signature.key}"
        scene.examples[name] = {
            "summary": f"One row for {signature.key}; it is about nobody.",
            "value": {"dataframe_records": [signature.row]},
        }
        found[name] = reference(name, "examples")
    return found

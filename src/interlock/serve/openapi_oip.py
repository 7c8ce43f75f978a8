"""The Open Inference Protocol in an OpenAPI description: tensors by the model's columns, the repository's answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from interlock.serve.openapi_pages import page
from interlock.serve.openapi_parts import BYTES, Operation, Schema, any_of, array, closed, like, media, reference
from interlock.serve.openapi_rows import ABOUT, SAYS

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.core.bundles import Column
    from interlock.serve.openapi_scene import Scene, Signature

_INTEGERS: Final = [f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)]
# What a column may be sent as in JSON; the first is what the model's metadata say.
_DATATYPES: Final = {
    "integer": ["INT64", *(name for name in _INTEGERS if name != "INT64")],
    "float": ["FP64", "FP32", *_INTEGERS],
    "boolean": ["BOOL"],
    "string": ["BYTES"],
}
_TEXT: Final[Schema] = {"type": "string"}
_ABOUT: Final = ("subject", "occurred_at")
_PARAMETERS: Final[Schema] = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
_STATISTICS: Final = {
    "name": "",
    "version": "",
    "last_inference": 0,
    "inference_count": 0,
    "execution_count": 0,
    "inference_stats": {"success": {"count": 0, "ns": 0}, "fail": {"count": 0, "ns": 0}},
}


SERVER: Final = page("What the server speaks.", {"name": "", "version": "", "extensions": [""]})
LIVE: Final = page("Whether the server answers at all.", {"live": True})
READY: Final = page("Whether all models give sound answers.", {"ready": True}, unready=True)
MODELS: Final = page("The names that callers may use.", {"models": [""]})
MODEL_READY: Final = page("Whether a model gives sound answers.", {"name": "", "ready": True}, unready=True)


def statistics(_: Scene) -> Operation:
    """Return the description of counters."""
    return Operation("Counters of models.", media(like({"model_stats": [_STATISTICS]})))


def metadata(scene: Scene) -> Operation:
    """Return the description of a model's metadata."""
    tensor = closed({"name": _TEXT, "datatype": _TEXT, "shape": array({"type": "integer"})}, extra=True)
    members = like({"name": "", "versions": [""], "platform": ""})["properties"]
    members |= {"inputs": array(tensor), "outputs": array(tensor)}
    return Operation("What a model takes and gives.", media(scene.put("ModelMetadata", closed(members))))


def index(change: Any) -> Callable[[Scene], Operation]:
    """Return what describes the repository's list of models; `change` is the type of its body."""

    def describe(scene: Scene) -> Operation:
        found = like([{"name": "", "version": "", "state": "", "reason": ""}])
        return Operation("The models of the server.", media(found), media(scene.of(change)), True, refuses=(503,))

    return describe


def repository(change: Any, summary: str) -> Callable[[Scene], Operation]:
    """Return what describes a change of the repository; the arguments are the type of its body, and what it does."""

    def describe(scene: Scene) -> Operation:
        return Operation(summary, {}, media(scene.of(change)), True, refuses=(403, 409, 507), free=True)

    return describe


def infer(scene: Scene) -> Operation:
    """Return the description of a request for predictions."""
    takes = media(any_of([_request(scene, one) for one in scene.signatures]), examples=_examples(scene))
    binary = {"description": "JSON and binary tensors behind it, as its Inference-Header-Content-Length parts them."}
    takes |= media(binary, BYTES)
    answers = {**media(any_of([_answer(scene, one) for one in scene.signatures])), **media(binary, BYTES)}
    return Operation("Predict rows, one tensor a column.", answers, takes, asks=ABOUT, says=SAYS)


def _request(scene: Scene, signature: Signature) -> Schema:
    tensors = [_tensor(column, signature.values[column.name]) for column in signature.columns]
    taken = {column.name for column in signature.columns}
    tensors += [_named(name, ["BYTES"], {"type": "string"}) for name in _ABOUT if name not in taken]
    wanted = closed(
        {"name": {"enum": [output.name for output in signature.outputs]}, "parameters": _PARAMETERS},
        optional=["parameters"],
    )
    members = {
        "id": {"type": ["string", "null"]},
        "parameters": _PARAMETERS,
        "inputs": {
            **array({"anyOf": tensors}, len(signature.columns)),
            "description": "Each column once; all as long.",
        },
        "outputs": {"anyOf": [array(wanted), {"type": "null"}]},
    }
    body = closed(members, optional=["id", "parameters", "outputs"], extra=True)
    return scene.put(f"Infer_{signature.key}", body)


def _tensor(column: Column, value: Schema) -> Schema:
    kind = value["type"][0] if isinstance(value["type"], list) else value["type"]
    return _named(
        column.name, _DATATYPES[column.type], {**{k: v for k, v in value.items() if k != "enum"}, "type": kind}
    )


def _named(name: str, datatypes: list[str], value: Schema) -> Schema:
    """Return the schema of a tensor of one column, all of whose elements stand in a list, or a list each."""
    shape: Schema = {
        "type": "array",
        "prefixItems": [{"type": "integer", "minimum": 1}, {"const": 1}],
        "items": False,
        "minItems": 1,
    }
    members: Schema = {
        "name": {"const": name},
        "datatype": {"enum": datatypes},
        "shape": shape,
        "parameters": _PARAMETERS,
        "data": {"anyOf": [array(value, 1), array({**array(value, 1), "maxItems": 1}, 1)]},
    }
    return closed(members, optional=["parameters"], extra=True)


def _answer(scene: Scene, signature: Signature) -> Schema:
    known = {signature.target: signature.label}
    tensors = []
    for output in signature.outputs:
        value = known.get(output.name) or signature.chance or {}
        value = value if output.datatype == "FP64" or output.name in known else _TEXT
        members = {"name": {"const": output.name}, "datatype": {"const": output.datatype}}
        members |= {"shape": _sizes(output.rank), "parameters": _PARAMETERS, "data": array(value)}
        tensors.append(closed(members, optional=["parameters", "data"]))
    outputs = array({"anyOf": tensors})
    members = {"model_name": _TEXT, "id": _TEXT, "model_version": _TEXT, "outputs": outputs}
    return scene.put(f"Inferred_{signature.key}", closed(members, optional=["model_version"]))


def _sizes(count: int) -> Schema:
    return {**array({"type": "integer"}, count), "maxItems": count}


def _examples(scene: Scene) -> Schema:
    found = {}
    for signature in scene.signatures:
        name = f"tensors_{signature.key}"
        inputs = [
            {"name": c.name, "shape": [1], "datatype": _DATATYPES[c.type][0], "data": [signature.row[c.name]]}
            for c in signature.columns
        ]
        summary = f"One row for {signature.key}; it is about nobody."
        scene.examples[name] = {"summary": summary, "value": {"inputs": inputs}}
        found[name] = reference(name, "examples")
    return found

"""ONNX: a protocol buffer without a magic number, so the whole model is parsed before it is called one.

Where onnx is installed, its parser and its checker have the last word; where it is not, our walk over every part does,
and says that operators were not checked. Weights in other files are refused: those would be files that a model names.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, BinaryIO, Final

from interlock.registry.formats.protobuf import Schema, fields, walk
from interlock.registry.formats.verdict import Broken, Verdict, fail, read_all

_TEXTS: Final = {1: "", 2: ""}
# onnx.proto of ONNX 1.23; a field that is not here is one that no version of ours knows.
SCHEMA: Final[Schema] = {
    "Model": {
        **dict.fromkeys((1, 2, 3, 4, 5, 6), ""),
        7: "Graph",
        8: "OperatorSet",
        14: "Entry",
        20: "Training",
        25: "Function",
        26: "Device",
    },
    "OperatorSet": _TEXTS,
    "Entry": _TEXTS,
    "Device": {1: "", 2: "", 3: ""},
    "Training": {1: "Graph", 2: "Graph", 3: "Entry", 4: "Entry"},
    "Graph": {
        1: "Node",
        2: "",
        5: "Tensor",
        10: "",
        11: "ValueInfo",
        12: "ValueInfo",
        13: "ValueInfo",
        14: "Annotation",
        15: "SparseTensor",
        16: "Entry",
    },
    "Annotation": {1: "", 2: "Entry"},
    "Node": {**dict.fromkeys((1, 2, 3, 4, 6, 7, 8), ""), 5: "Attribute", 9: "Entry", 10: "NodeDevice"},
    "NodeDevice": {1: "", 2: "Sharding", 3: ""},
    "Sharding": {1: "", 2: "", 3: "IntList", 4: "ShardedDim"},
    "IntList": _TEXTS,
    "ShardedDim": {1: "", 2: "SimpleSharding"},
    "SimpleSharding": {1: "", 2: "", 3: ""},
    "Attribute": {
        **dict.fromkeys((1, 2, 3, 4, 7, 8, 9, 13, 20, 21), ""),
        5: "Tensor",
        6: "Graph",
        10: "Tensor",
        11: "Graph",
        14: "Type",
        15: "Type",
        22: "SparseTensor",
        23: "SparseTensor",
    },
    "ValueInfo": {1: "", 2: "Type", 3: "", 4: "Entry"},
    "Tensor": {
        **dict.fromkeys((1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14), ""),
        3: "Segment",
        13: "Entry",
        16: "Entry",
    },
    "Segment": _TEXTS,
    "SparseTensor": {1: "Tensor", 2: "Tensor", 3: ""},
    "Type": {1: "TensorType", 4: "Sequence", 5: "Map", 6: "", 7: "Opaque", 8: "TensorType", 9: "Sequence"},
    "TensorType": {1: "", 2: "Shape"},
    "Sequence": {1: "Type"},
    "Map": {1: "", 2: "Type"},
    "Opaque": _TEXTS,
    "Shape": {1: "Dimension"},
    "Dimension": {1: "", 2: "", 3: ""},
    "Function": {
        **dict.fromkeys((1, 4, 5, 6, 8, 10, 13), ""),
        7: "Node",
        9: "OperatorSet",
        11: "Attribute",
        12: "ValueInfo",
        14: "Entry",
    },
}
_GRAPH, _OPSET, _IR = 7, 8, 1
_STANDARD: Final = frozenset(
    {"", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview.training", "ai.onnx.preview", "com.microsoft"}
)


def begins(data: bytes) -> bool:
    """Return whether bytes may be an ONNX model: the top of a protocol buffer with its version, operators and graph."""
    if data[:1] != b"\x08":
        return False
    try:
        seen = {number for number, _, _ in fields(memoryview(data))}
    except Broken:
        return False
    return {_IR, _GRAPH, _OPSET} <= seen <= SCHEMA["Model"].keys()


def read(source: BinaryIO, size: int) -> Verdict:
    """Return the verdict on a file that may be an ONNX model.

    Raises:
        Broken: it is none as a whole, or its weights lie in other files.

    Cost: without onnx some microseconds a part, which are as many as a forest has nodes.
    """
    data = read_all(source, size)
    if find_spec("onnx") is not None:
        return _checked(data)
    found: dict[str, list[object]] = {"Graph.1": [], "Tensor.13": [], "Tensor.14": [], "OperatorSet.1": []}
    walk(memoryview(data), "Model", SCHEMA, found)
    if found["Tensor.13"] or any(found["Tensor.14"]):
        fail("its weights lie in other files, which are not followed")
    domains = {bytes(name).decode(errors="replace") for name in found["OperatorSet.1"]}  # type: ignore[call-overload]
    told = f"ONNX: {len(found['Graph.1'])} nodes{_own(domains)}"
    return Verdict("onnx", f"{told}; every part was parsed, operators were not checked (onnx is not installed)")


def _checked(data: bytes) -> Verdict:
    import onnx

    try:
        model = onnx.load_model_from_string(data)
        if _leads_out(model):
            fail("its weights lie in other files, which are not followed")
        onnx.checker.check_model(model)
    except Broken:
        raise
    except Exception as error:  # noqa: BLE001 - border to onnx, whose errors have no common class
        fail(f"onnx refuses it: {' '.join(str(error).split())[:300]}")
    opsets = ", ".join(f"{found.domain or 'ai.onnx'} {found.version}" for found in model.opset_import)
    own = _own({found.domain for found in model.opset_import})
    return Verdict(
        "onnx", f"ONNX: {len(model.graph.node)} nodes, operators {opsets}{own}; checked by onnx {onnx.__version__}"
    )


def _leads_out(message: Any) -> bool:
    """Return whether a part of a model, wherever it stands, keeps its values in another file."""
    waiting = [message]
    while waiting:
        found = waiting.pop()
        for field, value in found.ListFields():
            if field.message_type is not None:
                waiting += [value] if hasattr(value, "ListFields") else value
            elif field.name == "data_location" and value:
                return True
        if found.DESCRIPTOR.name == "TensorProto" and found.external_data:
            return True
    return False


def _own(domains: set[str]) -> str:
    strange = sorted(domains - _STANDARD)
    return f", with operators of {', '.join(strange)}, which need a library" if strange else ""

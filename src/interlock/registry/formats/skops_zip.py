"""Skops: a zip of arrays with a schema that names the types to make. Only types of our own list count as loadable.

The list is ours and shorter than the one of skops: estimators of scikit-learn with their trees and losses, plain
values, arrays. What calls something while it is loaded (methods, partials, reduced objects, operators) is not on it.
"""

from __future__ import annotations

import ast
import re
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.registry.formats.verdict import Verdict, fail, json_of

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator

SCHEMA: Final = "schema.json"
_LONGEST_SCHEMA: Final = 256 << 20
_PLAIN: Final = frozenset(
    f"builtins.{name}"
    for name in (
        "dict",
        "list",
        "tuple",
        "set",
        "str",
        "int",
        "float",
        "bool",
        "bytes",
        "bytearray",
        "slice",
        "NoneType",
    )
) | {"collections.defaultdict", "collections.OrderedDict"}
_ARRAYS: Final = re.compile(
    r"numpy\.(ndarray|bool_?|str_|bytes_|(u?int|float|complex)\d+|longlong|ulonglong|intc|uintc|matrix|dtype"
    r"|ma\.(core\.)?MaskedArray|random\.(mtrand\.RandomState|_generator\.Generator|_?[a-z0-9]*\.?(MT19937|PCG64|Philox)))\Z"
    r"|numpy\.dtypes\.\w+DType\Z|scipy\.sparse\._?\w+\.(csr|csc|coo|bsr|dia|dok|lil)_(matrix|array)\Z"
)
# Scikit-learn's own classes: those that people build models of, and what these are made of inside.
_SKLEARN: Final = re.compile(
    r"sklearn\.(calibration|cluster|compose|covariance|cross_decomposition|decomposition|discriminant_analysis|dummy"
    r"|ensemble|feature_extraction|feature_selection|gaussian_process|impute|isotonic|kernel_approximation|kernel_ridge"
    r"|linear_model|manifold|mixture|multiclass|multioutput|naive_bayes|neighbors|neural_network|pipeline|preprocessing"
    r"|random_projection|semi_supervised|svm|tree|_loss)(\.\w+)*\.[A-Z_]\w*\Z"
)
_FUNCTIONS: Final = re.compile(
    r"numpy\.(abs|absolute|exp|expm1|log|log10|log1p|log2|sqrt|square|cbrt|sin|cos|tan|tanh|sign|floor|ceil|reciprocal)\Z"
    r"|scipy\.special\.(expit|logit)\Z|scipy\.special\._(special_)?ufuncs\.(expit|logit)\Z"
)
_MAKERS: Final = {
    **dict.fromkeys(("DictNode", "DefaultDictNode", "ListNode", "SetNode", "TupleNode", "JsonNode"), "plain"),
    **dict.fromkeys(("BytesNode", "BytearrayNode", "SliceNode"), "plain"),
    **dict.fromkeys(("NdArrayNode", "MaskedArrayNode", "SparseMatrixNode", "DTypeNode"), "array"),
    **dict.fromkeys(("RandomStateNode", "RandomGeneratorNode"), "array"),
    **dict.fromkeys(("ObjectNode", "TreeNode", "LossNode"), "sklearn"),
    "FunctionNode": "function",
    "TypeNode": "type",
    "CachedNode": "cached",
}


def read(archive: zipfile.ZipFile) -> Verdict:
    """Return the verdict on a zip archive that has a schema.

    Raises:
        Broken: the schema and the files do not fit together.
    """
    names = set(archive.namelist())
    if archive.getinfo(SCHEMA).file_size > _LONGEST_SCHEMA:
        fail("its schema is too long to be read")
    schema = json_of(archive.read(SCHEMA), dict[str, Any], "its schema describes no object")
    if "__loader__" not in schema or "protocol" not in schema:
        fail("its schema describes no object")
    strange: dict[str, None] = {}
    files: set[str] = set()
    types: set[str] = set()
    for node in _nodes(schema):
        name = f"{node.get('__module__')}.{node.get('__class__')}"
        types.add(name)
        if not _allowed(name, str(node.get("__loader__"))):
            strange.setdefault(f"{name} ({node.get('__loader__')})")
        if isinstance(node.get("file"), str):
            files.add(node["file"])
    if files | {SCHEMA} != names:
        fail(f"its schema and its files differ: {', '.join(sorted(files ^ (names - {SCHEMA}))[:3])}")
    for name in sorted(files):
        if name.endswith(".npy"):
            _check_array(archive, name)
    if (wrong := archive.testzip()) is not None:
        fail(f"{wrong} has changed")
    if strange:
        return Verdict("opaque", f"skops with types that are not on our list: {', '.join(list(strange)[:5])}")
    top = f"{schema.get('__module__')}.{schema.get('__class__')}"
    return Verdict(
        "skops",
        f"skops: {top} of scikit-learn {schema.get('_skops_sklearn', '')}".strip()
        + f", {len(types)} types, all on our list",
        _features(schema),
    )


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if "__loader__" in item:
                yield item
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _features(schema: Any) -> tuple[str, ...]:
    """Return the names of the columns that the outermost estimator which has any was fitted on."""
    waiting = deque([schema])
    while waiting:
        item = waiting.popleft()
        if isinstance(item, list):
            waiting += item
        elif isinstance(item, dict):
            named = item.get("feature_names_in_")
            listed = named.get("content") if isinstance(named, dict) else None
            if isinstance(listed, list):
                return tuple(name for node in listed if (name := _text(node)))
            waiting += item.values()
    return ()


def _text(node: Any) -> str:
    """Return the text that a node stands for; "" for one of another kind."""
    content = node.get("content") if isinstance(node, dict) and node.get("__loader__") == "JsonNode" else None
    try:
        found = msgspec.json.decode(content) if isinstance(content, str) else ""
    except (msgspec.MsgspecError, RecursionError):
        return ""
    return found if isinstance(found, str) else ""


def _allowed(name: str, loader: str) -> bool:
    kind = _MAKERS.get(loader)
    if kind == "plain":
        return name in _PLAIN or bool(_ARRAYS.match(name))
    if kind == "array":
        return bool(_ARRAYS.match(name))
    if kind == "sklearn":
        return bool(_SKLEARN.match(name))
    if kind == "function":
        return bool(_FUNCTIONS.match(name))
    if kind == "type":
        return name in _PLAIN or bool(_ARRAYS.match(name)) or bool(_SKLEARN.match(name))
    return kind == "cached"


def _check_array(archive: zipfile.ZipFile, name: str) -> None:
    """Accept an array of plain values; one of objects would be a pickle."""
    with archive.open(name) as source:
        head = source.read(12)
        if head[:6] != b"\x93NUMPY" or len(head) < 12 or head[6] not in {1, 2, 3}:
            fail(f"{name} is no array")
        wide = head[6] > 1
        length = struct.unpack("<I", head[8:12])[0] if wide else struct.unpack("<H", head[8:10])[0]
        text = (b"" if wide else head[10:12]) + source.read(min(length, 1 << 20) - (0 if wide else 2))
    try:
        described = ast.literal_eval(text.decode("latin-1").strip())
        kind = str(described["descr"])
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError):
        fail(f"{name} has no readable header")
    if "O" in kind:
        fail(f"{name} holds objects, which only a pickle can")

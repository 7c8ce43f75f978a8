"""The original estimator as a skops file: no code runs when it is read, and equal estimators have equal bytes.

skops names arrays by their address in memory and stamps them with the time; both change from call to call. Here the
same content is written again with running numbers and one date, in the order in which the schema mentions it.
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCHEMA: Final = "schema.json"
_DATE: Final = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip archive can say


def to_skops(estimator: object) -> bytes:
    """Return the bytes of a skops file of an estimator.

    Cost: one copy of the estimator in memory; the file is not compressed, so that its bytes do not depend on zlib.
    """
    import skops.io

    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(estimator))) as source:
        schema = json.loads(source.read(_SCHEMA))
        names = _renumber(schema)
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for old, new in names.items():
                archive.writestr(zipfile.ZipInfo(new, _DATE), source.read(old))
            text = json.dumps(schema, separators=(",", ":"))
            archive.writestr(zipfile.ZipInfo(_SCHEMA, _DATE), text)
    return target.getvalue()


def untrusted_types(data: bytes) -> tuple[str, ...]:
    """Return the types in a skops file that skops does not load unless the reader grants them by name."""
    import skops.io

    return tuple(sorted(skops.io.get_untrusted_types(data=data)))


def _renumber(schema: dict[str, Any]) -> dict[str, str]:
    """Replace ids and file names in a schema by running numbers; return the new name of each file."""
    numbers: dict[object, int] = {}
    files: dict[str, str] = {}
    for node in _nodes(schema):
        if isinstance(node.get("__id__"), int):
            # Whether two equal plain values are one object in memory is chance; they need not be shared when read.
            key: object = len(numbers) if node.get("is_json") else ("id", node["__id__"])
            node["__id__"] = numbers.setdefault(key, len(numbers) + 1)
        if isinstance(node.get("file"), str):
            suffix = node["file"].rpartition(".")[2]
            node["file"] = files.setdefault(node["file"], f"{len(files)}.{suffix}")
    return files


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _nodes(item)

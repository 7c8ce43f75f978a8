"""The environment that a version's own files name, where its run recorded none: MLflow's lists of requirements.

Only lines of the form `name==version` are taken, and the Python of python_env.yaml, by its one line; no YAML is read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from interlock.core.canonical import canonical

if TYPE_CHECKING:
    from interlock.core.ports import ObjectStore
    from interlock.store.manifests import Manifest

REQUIREMENTS: Final = "requirements.txt"
PYTHON: Final = "python_env.yaml"
_LONGEST: Final = 1 << 20
_PIN: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[\w, .-]*\])?\s*==\s*([\w.+!-]+)\s*(?:;.*|#.*)?")
_VERSION: Final = re.compile(r"^python:[ ]+[\"']?(\d+\.\d+(?:\.\d+)?)[\"']?[ ]*$", re.MULTILINE)


def recorded_in(objects: ObjectStore, manifest: Manifest) -> bytes:
    """Return the record of the environment that a version's files name, as runs record theirs; b"" for none.

    Args:
        objects: where the files rest.
        manifest: the files.
    """
    found = {entry.path: entry.digest for entry in manifest.files}
    texts = {}
    for path in (REQUIREMENTS, PYTHON):
        size = objects.size(found[path]) if path in found else None
        texts[path] = (
            objects.get(found[path]).decode("utf-8", "replace") if size is not None and size < _LONGEST else ""
        )
    pins = (_PIN.fullmatch(line.strip()) for line in texts[REQUIREMENTS].splitlines())
    packages = {re.sub(r"[-_.]+", "-", pin[1]).lower(): pin[2] for pin in pins if pin}
    python = _VERSION.search(texts[PYTHON])
    if not packages or python is None:
        return b""
    told = f"as {REQUIREMENTS} says"
    record = {"python": python[1], "implementation": "CPython", "system": told, "cores": 0, "packages": packages}
    return canonical(record)

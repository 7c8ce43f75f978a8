"""What a container platform says to the program in it: where to listen, and where the model is.

SageMaker, Vertex AI and Azure ML are known by their variables; an image of ours by its folder /opt/ml/model. It listens
on all addresses, and its platform checks who asks; so whatever name it is called by is answered.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from interlock.core.errors import GateClosed, Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

REASON: Final = "INTERLOCK_UNAPPROVED"
KEY: Final = "INTERLOCK_TRUSTED_KEY"
_BASE: Final = "/opt/ml"
_PORT: Final = 8080
_MEMORY: Final = {"limit": Path("/sys/fs/cgroup/memory.max"), "all": Path("/proc/meminfo")}
_YES: Final = frozenset({"1", "true", "yes"})


class Container(NamedTuple):
    """Where we run.

    Attributes:
        platform: whose container it is.
        port: where it listens.
        model: the folder of the model, or "" where models are loaded later.
        roots: folders below which they may be.
    """

    platform: str
    port: int
    model: str
    roots: tuple[Path, ...] = ()


def container(variables: Mapping[str, str] | None = None, *, named: bool = False) -> Container | None:
    """Return the container that this process runs in, or None.

    Args:
        variables: the environment; None takes the process's own.
        named: whether models were named; then only a port that the platform sets makes it one.

    Raises:
        Invalid: a variable is none that can be followed.
    """
    given = os.environ if variables is None else variables
    base = Path(given.get("SAGEMAKER_BASE_DIR", _BASE))
    own = str((base / "model").absolute()) if (base / "model").is_dir() else ""
    if "AIP_HTTP_PORT" in given or (not named and "AIP_STORAGE_URI" in given):
        return Container("Vertex AI", _port(given, "AIP_HTTP_PORT"), "" if named else _stored(given, own))
    if not named and "AZUREML_MODEL_DIR" in given:
        return Container("Azure ML", _PORT, str(Path(given["AZUREML_MODEL_DIR"]).absolute()))
    if "SAGEMAKER_BIND_TO_PORT" in given or (not named and any(name.startswith("SAGEMAKER_") for name in given)):
        port = _port(given, "SAGEMAKER_BIND_TO_PORT")
        if given.get("SAGEMAKER_MULTI_MODEL", "").lower() in _YES:
            return Container("SageMaker", port, "", (base,))
        return Container("SageMaker", port, str((base / "model").absolute()))
    return Container("no platform", _PORT, own) if own and not named else None


def memory_bound(files: Mapping[str, Path] | None = None) -> int:
    """Return how much memory a container that loads models may have: nine tenths of what it was given, 0 if unknown.

    Args:
        files: where the kernel says it, `limit` of the container and `all` of the machine; None takes the usual places.
    """
    found = []
    for name, path in (_MEMORY if files is None else files).items():
        with contextlib.suppress(OSError, ValueError, StopIteration):
            text = path.read_text(encoding="utf-8")
            if name == "all":
                text = str(
                    1024 * int(next(line for line in text.splitlines() if line.startswith("MemTotal")).split()[1])
                )
            found.append(int(text))  # a container without a limit has a word there
    return min(found) * 9 // 10 if found else 0


def reason(variables: Mapping[str, str] | None = None) -> str:
    """Return why what nobody approved may be shown, as whoever runs the container said it; or ""."""
    return (os.environ if variables is None else variables).get(REASON, "").strip()


def admit(folder: Path, digest: str, variables: Mapping[str, str] | None = None) -> None:
    """Accept a folder whose files the trusted workspace vouches for.

    Args:
        folder: the files, and `model.approval.txt` among them.
        digest: of the manifest of the files as they were read.
        variables: the environment; None takes the process's own.

    Raises:
        GateClosed: nobody is trusted, or there is no note.
        Invalid: the note is not by the trusted key, or is about other files.
    """
    from interlock.registry.vouching import APPROVAL_FILE, check_vouched

    key = (os.environ if variables is None else variables).get(KEY, "").strip()
    note = folder / APPROVAL_FILE
    if not key or not note.is_file():
        raise GateClosed(
            f"The folder comes without {APPROVAL_FILE}." if key else "No key is trusted to approve models.",
            about="server",
            hint=f"`interlock export container` writes such folders; set {KEY} to the workspace's ledger.vkey, or"
            f" {REASON} to the reason why this model may answer unapproved.",
        )
    if key.startswith(("/", "./", "../", "~")):
        key = _text(Path(key).expanduser())
    check_vouched(_text(note), key, digest)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise Invalid(f"{path.name!r} cannot be read.", about="file") from None


def _port(given: Mapping[str, str], name: str) -> int:
    text = given.get(name) or str(_PORT)
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise Invalid(f"{name} is no port.", about="server", hint=f"Set it to a number such as {_PORT}.")
    return int(text)


def _stored(given: Mapping[str, str], own: str) -> str:
    """Return the folder that AIP_STORAGE_URI names, or, where it names none of this machine, the image's own.

    Raises:
        Invalid: it names none on this machine.
    """
    place = given.get("AIP_STORAGE_URI", "").removeprefix("file://")
    if not place.startswith("/"):
        if own:
            return own
        raise Invalid(
            "AIP_STORAGE_URI names no folder of this machine." if place else "AIP_STORAGE_URI names no model.",
            about="server",
            hint=f"Nothing is fetched from a bucket here: put the model into the image, at {_BASE}/model, or name its"
            " folder: `interlock serve /model`.",
        )
    return place

"""What a container platform says to the program in it: where to listen, and where the model is.

SageMaker, Vertex AI and Azure ML are known by their variables, SageMaker also by its folder. Such a container listens on
all addresses, and its platform checks who asks; so whatever name it is called by is answered.
"""

from __future__ import annotations

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
_AZURE_PORT: Final = 5001
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
    if "AIP_HTTP_PORT" in given or (not named and "AIP_STORAGE_URI" in given):
        return Container("Vertex AI", _port(given, "AIP_HTTP_PORT"), "" if named else _stored(given))
    base = Path(given.get("SAGEMAKER_BASE_DIR", _BASE))
    if "SAGEMAKER_BIND_TO_PORT" in given or (not named and _is_sagemaker(given, base)):
        port = _port(given, "SAGEMAKER_BIND_TO_PORT")
        if given.get("SAGEMAKER_MULTI_MODEL", "").lower() in _YES:
            return Container("SageMaker", port, "", (base,))
        return Container("SageMaker", port, str((base / "model").absolute()))
    if not named and "AZUREML_MODEL_DIR" in given:
        return Container("Azure ML", _AZURE_PORT, str(Path(given["AZUREML_MODEL_DIR"]).absolute()))
    return None


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
    if "+" not in key:
        key = _text(Path(key))
    check_vouched(_text(note), key, digest)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise Invalid(f"{path.name!r} cannot be read.", about="file") from None


def _is_sagemaker(given: Mapping[str, str], base: Path) -> bool:
    return (base / "model").is_dir() or any(name.startswith("SAGEMAKER_") for name in given)


def _port(given: Mapping[str, str], name: str) -> int:
    text = given.get(name) or str(_PORT)
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise Invalid(f"{name} is no port.", about="server", hint=f"Set it to a number such as {_PORT}.")
    return int(text)


def _stored(given: Mapping[str, str]) -> str:
    """Return the folder that AIP_STORAGE_URI names.

    Raises:
        Invalid: it names none on this machine.
    """
    place = given.get("AIP_STORAGE_URI", "").removeprefix("file://")
    if not place.startswith("/"):
        raise Invalid(
            "AIP_STORAGE_URI names no folder of this machine." if place else "AIP_STORAGE_URI names no model.",
            about="server",
            hint="Nothing is fetched from a bucket here: put the model into the image and name its folder,"
            " `interlock serve /model`.",
        )
    return place

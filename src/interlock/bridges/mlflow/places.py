"""Where the files of an MLflow store are: places on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

from interlock.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator


class LocalPlaces:
    """Reads files by the addresses that a store gives them.

    Args:
        base: what relative paths begin at.
        proxied: the folder that the store's server kept proxied files in (`--artifacts-destination`), or None.
    """

    def __init__(self, base: Path, proxied: Path | None = None) -> None:
        self._base = base
        self._proxied = proxied

    def files(self, place: str) -> Iterator[tuple[str, BinaryIO]]:
        """Yield the files below a place by relative path, opened; links that leave it are not followed.

        Raises:
            Invalid: the place is on no disk of this machine.
        """
        root = self._folder(place)
        if not root.is_dir():
            return
        inside = root.resolve()
        for folder, _, names in sorted(os.walk(root)):
            for name in sorted(names):
                path = Path(folder, name)
                if path.resolve().is_relative_to(inside) and path.is_file():
                    with path.open("rb") as file:
                        yield path.relative_to(root).as_posix(), file

    def _folder(self, place: str) -> Path:
        parts = urlsplit(place)
        if parts.scheme == "mlflow-artifacts":
            if self._proxied is None:
                raise Invalid(
                    f"{place} was kept by the store's server.",
                    about="import",
                    hint="Say where: --artifacts FOLDER, the server's --artifacts-destination (./mlartifacts of old).",
                )
            return self._proxied / unquote(parts.path).lstrip("/")
        if parts.scheme == "file":
            return Path(unquote(parts.path))
        if parts.scheme and len(parts.scheme) > 1:
            raise Invalid(
                f"{place} is on no disk of this machine.",
                about="import",
                hint="Import from the running server instead, whose address reads it for us.",
            )
        return self._base / unquote(place)
